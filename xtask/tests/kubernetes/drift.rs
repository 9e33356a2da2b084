//! What other hands do to owned objects is put back.

use anyhow::{Result, ensure};
use quorate_world::Load;
use serde_json::json;

use crate::cluster::{Cluster, wait};
use crate::demo::{Demo, lease_holder, metrics};
use crate::install::SYSTEM;

pub fn drift_is_put_back(demo: &Demo, load: &Load) -> Result<()> {
    let cluster = &demo.cluster;
    demo.window(load, "owned objects edited and deleted", || {
        let old = cluster.get(&["service", "demo-rcl-client"])?;
        cluster.kubectl(&["delete", "service", "demo-rcl-client"])?;
        wait("the Service is back", || {
            let now = cluster.get(&["service", "demo-rcl-client"])?;
            Ok((now["metadata"]["uid"] != old["metadata"]["uid"]).then_some(()))
        })?;
        cluster.kubectl(&[
            "label",
            "configmap",
            "demo-rcl-config",
            "app.kubernetes.io/managed-by-",
        ])?;
        wait("the label is back", || {
            let now = cluster.get(&["configmap", "demo-rcl-config"])?;
            Ok(
                (now["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "quorate")
                    .then_some(()),
            )
        })?;
        edits_that_exclude_ours_are_taken_back(cluster)?;
        a_lost_owner_is_given_back(cluster)?;
        drift_is_counted(cluster, &[("deleted", "Service", 1)])?;
        drift_while_no_operator_works_is_found(demo)?;
        cluster.kubectl(&["scale", "statefulset", "demo-rcl", "--replicas=2"])?;
        wait("the StatefulSet is back", || {
            let now = cluster.get(&["statefulset", "demo-rcl"])?;
            Ok((now["spec"]["replicas"] == 3 && now["status"]["readyReplicas"] == 3).then_some(()))
        })
    })?;
    let events = cluster.kubectl(&["get", "events"])?;
    for words in [
        "NetworkPolicy demo-rcl was deleted",
        "PodDisruptionBudget demo-rcl was deleted",
        "Service demo-rcl-peers was edited",
        "Service demo-rcl-client was deleted",
        "ConfigMap demo-rcl-config was edited",
        "Service demo-rcl-client was edited",
        "PodDisruptionBudget demo-rcl was edited",
        "ServiceAccount demo-rcl was edited",
        "NetworkPolicy demo-rcl was edited",
        "StatefulSet demo-rcl was edited",
        "StatefulSet demo-rcl was deleted",
    ] {
        ensure!(events.contains(words), "no event says: {words}");
    }
    drift_is_counted(
        cluster,
        &[
            ("deleted", "NetworkPolicy", 1),
            ("deleted", "PodDisruptionBudget", 1),
            ("deleted", "StatefulSet", 1),
            ("edited", "Service", 2),
            ("edited", "ServiceAccount", 1),
        ],
    )
}

/// By the operator that works now.
fn drift_is_counted(cluster: &Cluster, counts: &[(&str, &str, u32)]) -> Result<()> {
    let metrics = metrics(cluster, &lease_holder(cluster)?)?;
    for (drift, object, count) in counts {
        let labels = format!("drift=\"{drift}\",object=\"{object}\"");
        let line = format!("quorate_operator_drift_total{{{labels}}} {count}\n");
        ensure!(metrics.contains(&line), "{line}{metrics}");
    }
    Ok(())
}

/// By what the last one left on the objects, and said in the status: also where that was taken away, and where the resource
/// wants something else by now.
fn drift_while_no_operator_works_is_found(demo: &Demo) -> Result<()> {
    let cluster = &demo.cluster;
    let system = cluster.within(SYSTEM);
    let scaled =
        |replicas: &str| system.kubectl(&["scale", "deployment", "quorate-operator", replicas]);
    let before = cluster.get(&["service", "demo-rcl-peers"])?["spec"].take();
    let managed = "app.kubernetes.io/managed-by";
    let unmarked = format!("{managed}-");
    scaled("--replicas=0")?;
    wait("no operator works", || {
        let pods = system.get(&["pods"])?;
        Ok((pods["items"] == json!([])).then_some(()))
    })?;
    cluster.kubectl(&["delete", "networkpolicy", "demo-rcl"])?;
    cluster.kubectl(&["delete", "poddisruptionbudget", "demo-rcl"])?;
    let edit = json!([{ "op": "replace", "path": "/spec/ports/0/port", "value": 80 }]).to_string();
    cluster.kubectl(&[
        "patch",
        "service",
        "demo-rcl-peers",
        "--type=json",
        "-p",
        &edit,
    ])?;
    cluster.kubectl(&["delete", "statefulset", "demo-rcl", "--cascade=orphan"])?;
    cluster.kubectl(&[
        "annotate",
        "serviceaccount",
        "demo-rcl",
        "quorate.dev/applied-",
    ])?;
    cluster.kubectl(&["label", "service", "demo-rcl-client", &unmarked])?;
    demo.patch(&json!({ "service": { "annotations": { "example.com/team": "a" } } }))?;
    scaled("--replicas=2")?;
    // The pods are known without their StatefulSet: nobody says that the group has lost its leader.
    let reason = "--for=jsonpath={.status.conditions[?(@.type==\"Ready\")].reason}=Repairing";
    cluster.kubectl(&["wait", "raftcluster/demo", reason, "--timeout=60s"])?;
    wait("what was done meanwhile is put back", || {
        cluster.get(&["networkpolicy", "demo-rcl"])?;
        cluster.get(&["statefulset", "demo-rcl"])?;
        let now = cluster.get(&["service", "demo-rcl-peers"])?["spec"].take();
        let mut client = cluster.get(&["service", "demo-rcl-client"])?;
        let client = client["metadata"].take();
        let is_back = client["labels"][managed] == "quorate";
        let is_new = client["annotations"]["example.com/team"] == "a";
        let account = cluster.get(&["serviceaccount", "demo-rcl"])?;
        let is_marked = account["metadata"]["annotations"]["quorate.dev/applied"].is_string();
        Ok((now == before && is_back && is_new && is_marked).then_some(()))
    })
}

/// Without it they would outlive the resource.
fn a_lost_owner_is_given_back(cluster: &Cluster) -> Result<()> {
    let orphaned = json!({ "metadata": { "ownerReferences": null } }).to_string();
    for kind in ["networkpolicy", "statefulset"] {
        cluster.kubectl(&["patch", kind, "demo-rcl", "--type=merge", "-p", &orphaned])?;
        wait(&format!("the {kind} has its owner again"), || {
            let now = cluster.get(&[kind, "demo-rcl"])?;
            let owner = &now["metadata"]["ownerReferences"][0]["kind"];
            Ok((*owner == "RaftCluster").then_some(()))
        })?;
    }
    Ok(())
}

/// Beside each of these an apply of ours is invalid: two ports of one name, two fields that exclude each other.
fn edits_that_exclude_ours_are_taken_back(cluster: &Cluster) -> Result<()> {
    let port = |path: &str| json!([{ "op": "replace", "path": path, "value": 80 }]);
    let container = "/spec/template/spec/containers/0/ports/0/containerPort";
    let budget = json!([
        { "op": "add", "path": "/spec/minAvailable", "value": 1 },
        { "op": "remove", "path": "/spec/maxUnavailable" },
    ]);
    for (kind, name, edit) in [
        ("service", "demo-rcl-client", port("/spec/ports/0/port")),
        ("poddisruptionbudget", "demo-rcl", budget),
        ("statefulset", "demo-rcl", port(container)),
    ] {
        let spec = || Ok::<_, anyhow::Error>(cluster.get(&[kind, name])?["spec"].take());
        let before = spec()?;
        let patch = ["patch", kind, name, "--type=json", "-p", &edit.to_string()];
        cluster.kubectl(&patch)?;
        wait(&format!("the {kind} is as it was"), || {
            Ok((spec()? == before).then_some(()))
        })?;
    }
    Ok(())
}
