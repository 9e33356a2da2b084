//! A RaftCluster on a real Kubernetes, with clients on it throughout: everything that `quorate up` does, by the same
//! decisions, and what only a cluster can do to it.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use quorate_api::cases::{By, Case};
use quorate_world::{Load, signal};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::audit::{only_the_operator_writes, rights_are_the_least};
use crate::certificates::an_authority_is_replaced_under_load;
use crate::cluster::{Cluster, load_image, skipped, turn, wait};
use crate::demo::{
    Demo, curl, kill_operators, leading_operator, lease_holder, metrics, process_of,
};
use crate::drain::a_drain_waits_for_the_member_that_lags;
use crate::install::{
    all_is_uninstalled, definitions_are_installed, path, the_operator_is_installed,
};
use crate::losses::{
    a_node_is_cut_off_and_healed, a_node_is_killed_and_restored,
    a_volume_is_lost_while_operators_are_killed, the_leader_is_deleted,
};
use crate::upgrades::{bad_images_stop_at_one, it_is_upgraded_while_operators_are_killed};
use crate::volumes::volumes_grow;

const KEYS: usize = 1000;
/// kubectl's own user, for what the test does by hand.
const BY_HAND: &str = "admin";
const COLLECTOR: &str = "system:serviceaccount:kube-system:generic-garbage-collector";

#[test]
fn a_raft_cluster_lives_through_what_a_cluster_does_to_it() -> Result<()> {
    let _turn = turn();
    let folder = tempfile::tempdir()?;
    let cluster = Cluster::up("default")?;
    definitions_are_installed(&cluster)?;
    the_api_server_judges_as_the_tables_say(&cluster, folder.path())?;
    the_operator_is_installed(&cluster)?;
    let demo = Demo {
        cluster: &cluster,
        name: "demo",
    };
    the_example_serves(&demo)?;
    a_pod_reads_by_dns_name(&demo, folder.path())?;

    let load = demo.load()?;
    the_leader_is_deleted(&demo, &load)?;
    if !skipped("a node is cut off, killed and drained") {
        a_node_is_cut_off_and_healed(&demo, &load)?;
        a_node_is_killed_and_restored(&demo, &load)?;
        a_drain_waits_for_the_member_that_lags(&demo, &load)?;
    }
    it_scales_while_operators_are_killed(&demo, &load)?;
    scaled_to_three(&demo, &load)?;
    it_is_upgraded_while_operators_are_killed(&demo, &load)?;
    bad_images_stop_at_one(&demo, &load)?;
    if !skipped("volumes grow: not every class lets them") {
        volumes_grow(&demo, &load)?;
    }
    a_volume_is_lost_while_operators_are_killed(&demo, &load)?;
    drift_is_put_back(&demo, &load)?;
    demo.wait_ready()?;
    load.finish(&demo.endpoints()?)?;

    what_keeps_pods_from_running_is_told(&cluster, folder.path())?;
    an_authority_is_replaced_under_load(&cluster, folder.path())?;
    it_goes_and_leaves_its_claims(&demo)?;
    if !skipped("the audit log is read") {
        rights_are_the_least(&cluster)?;
        only_the_operator_writes(&cluster, "demo", &[BY_HAND, COLLECTOR])?;
    }
    all_is_uninstalled(&cluster)
}

/// Every CEL rule and every immutable field, on the real API server.
fn the_api_server_judges_as_the_tables_say(cluster: &Cluster, folder: &Path) -> Result<()> {
    let cases: Vec<Case> = serde_saphyr::from_str(quorate_api::raft_cluster::CASES)?;
    let file = folder.join("case.json");
    let file = file.to_str().context("a path in UTF-8")?;
    let mut faults = Vec::new();
    for case in &cases {
        let write =
            |spec: &Value| std::fs::write(file, case.resource("RaftCluster", spec).to_string());
        if let Some(old) = &case.old {
            write(old)?;
            cluster.kubectl(&["create", "-f", file])?;
        }
        write(&case.spec)?;
        let verb = if case.old.is_some() {
            "replace"
        } else {
            "create"
        };
        let refusal =
            cluster.refusal(&[verb, "--validate=strict", "--dry-run=server", "-f", file])?;
        let as_told = match &case.error {
            Some(error) if case.by == By::Rule => refusal.contains(error.as_str()),
            Some(_) if case.by == By::Schema => !refusal.is_empty(),
            _ => refusal.is_empty(),
        };
        if !as_told {
            faults.push(format!("{}: the API server says: `{refusal}`", case.case));
        }
        if case.old.is_some() {
            cluster.kubectl(&["delete", "raftcluster", "--all"])?;
        }
    }
    ensure!(faults.is_empty(), "{faults:#?}");
    println!("{} cases were judged by the API server", cases.len());
    Ok(())
}

/// In a namespace that admits nothing but the restricted profile.
fn the_example_serves(demo: &Demo<'_>) -> Result<()> {
    let restricted = "pod-security.kubernetes.io/enforce=restricted";
    demo.cluster
        .kubectl(&["label", "namespace", "default", restricted])?;
    let applied = Instant::now();
    let example = path("examples/raft-cluster.yaml");
    demo.cluster.kubectl(&["apply", "-f", example.as_str()])?;
    demo.wait_ready()?;
    println!(
        "Ready {:.1} s after it was applied",
        applied.elapsed().as_secs_f64()
    );
    let table = demo.cluster.kubectl(&["get", "raftclusters"])?;
    println!("{table}");
    let leader = demo.leader()?;
    for word in ["AsSpecified", "3", leader.as_str()] {
        ensure!(table.contains(word), "`kubectl get` does not show {word}");
    }
    let endpoints = demo.endpoints()?;
    ensure!(endpoints.len() == 3, "{endpoints:?}");
    let keys = |endpoint: &str| format!("{endpoint}/kv/bulk-[1-{KEYS}]");
    let codes = ["-o", "/dev/null", "-w", "%{http_code}\n"];
    let written = curl(
        &[
            &codes[..],
            &["-X", "PUT", "-d", "value", &keys(&endpoints[0])],
        ]
        .concat(),
    )?;
    ensure!(written.matches("201").count() == KEYS, "{written}");
    for endpoint in &endpoints {
        let read = curl(&[&codes[..], &[&keys(endpoint)]].concat())?;
        ensure!(read.matches("200").count() == KEYS, "{endpoint}: {read}");
    }
    Ok(())
}

/// The image of curl is ours too: that binary in the place of a member's.
fn a_pod_reads_by_dns_name(demo: &Demo<'_>, folder: &Path) -> Result<()> {
    let image = "quorate.local/curl:1";
    let curl = "quorate-raft-cluster=/usr/bin/curl";
    load_image(&["--tag", image, "--bin", curl])?;
    let url = "http://demo-client.default.svc.cluster.local:7070/kv/bulk-1";
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "reader" },
        "spec": {
            "restartPolicy": "Never",
            "securityContext": { "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } },
            "containers": [{
                "name": "curl", "image": image, "imagePullPolicy": "Never",
                "command": ["quorate-raft-cluster", "-sS", "--max-time", "10", url],
                "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
            }],
        },
    });
    demo.cluster.apply(folder, &pod)?;
    wait("a pod reads by DNS name", || {
        let said = demo.cluster.kubectl(&["logs", "reader"])?;
        Ok((said == "value").then_some(()))
    })
}

fn it_scales_while_operators_are_killed(demo: &Demo<'_>, load: &Load) -> Result<()> {
    let mut earlier = None;
    for members in [5, 3, 5] {
        let fault = format!("scaled to {members}, the operator killed three times");
        demo.window(load, &fault, || {
            demo.scale(members)?;
            kill_operators(demo)?;
            demo.wait_ready()
        })?;
        let identities = demo.identities()?;
        ensure!(identities.len() == members as usize, "{identities:?}");
        if members == 5 {
            let newest = [&identities["demo-3"], &identities["demo-4"]].map(Clone::clone);
            if let Some(earlier) = earlier.replace(newest.clone()) {
                let is_new = newest.iter().all(|id| !earlier.contains(id));
                ensure!(is_new, "an identity was used twice: {earlier:?} {newest:?}");
            }
        }
    }
    Ok(())
}

fn scaled_to_three(demo: &Demo<'_>, load: &Load) -> Result<()> {
    if !skipped("an operator is paused") {
        return a_paused_operator_is_succeeded(demo, load);
    }
    demo.window(load, "scaled to 3", || {
        demo.scale(3)?;
        demo.wait_ready()
    })?;
    Ok(())
}

/// It wakes up after another has taken over, finds the lease lost, and waits for it as it did in the beginning.
fn a_paused_operator_is_succeeded(demo: &Demo<'_>, load: &Load) -> Result<()> {
    demo.window(load, "scaled to 3, the operator paused", || {
        let (paused, pid) = leading_operator(demo.cluster)?;
        signal(pid, Signal::STOP)?;
        demo.scale(3)?;
        // Not until the group is Ready: a kubelet ends what it cannot probe for 20 s.
        wait("another operator leads", || {
            Ok((lease_holder(demo.cluster)? != paused).then_some(()))
        })?;
        signal(pid, Signal::CONT)?;
        wait("the operator that was paused waits", || {
            let metrics = metrics(demo.cluster, &paused)?;
            Ok(metrics.contains("quorate_operator_leads 0").then_some(()))
        })?;
        demo.wait_ready()?;
        ensure!(lease_holder(demo.cluster)? != paused, "{paused} leads");
        ensure!(process_of(&paused)? == Some(pid), "{paused} has ended");
        Ok(())
    })?;
    Ok(())
}

fn drift_is_put_back(demo: &Demo<'_>, load: &Load) -> Result<()> {
    let cluster = demo.cluster;
    demo.window(load, "owned objects edited and deleted", || {
        let old = cluster.get(&["service", "demo-client"])?;
        cluster.kubectl(&["delete", "service", "demo-client"])?;
        wait("the Service is back", || {
            let now = cluster.get(&["service", "demo-client"])?;
            Ok((now["metadata"]["uid"] != old["metadata"]["uid"]).then_some(()))
        })?;
        cluster.kubectl(&[
            "label",
            "configmap",
            "demo-config",
            "app.kubernetes.io/managed-by-",
        ])?;
        wait("the label is back", || {
            let now = cluster.get(&["configmap", "demo-config"])?;
            Ok(
                (now["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "quorate")
                    .then_some(()),
            )
        })?;
        edits_that_exclude_ours_are_taken_back(cluster)?;
        a_lost_owner_is_given_back(cluster)?;
        drift_is_counted(cluster, &[("deleted", "Service", 1)])?;
        drift_while_no_operator_works_is_found(demo)?;
        cluster.kubectl(&["scale", "statefulset", "demo", "--replicas=2"])?;
        wait("the StatefulSet is back", || {
            let now = cluster.get(&["statefulset", "demo"])?;
            Ok((now["spec"]["replicas"] == 3 && now["status"]["readyReplicas"] == 3).then_some(()))
        })
    })?;
    let events = cluster.kubectl(&["get", "events"])?;
    for words in [
        "NetworkPolicy demo was deleted",
        "PodDisruptionBudget demo was deleted",
        "Service demo-peers was edited",
        "Service demo-client was deleted",
        "ConfigMap demo-config was edited",
        "Service demo-client was edited",
        "PodDisruptionBudget demo was edited",
        "ServiceAccount demo was edited",
        "NetworkPolicy demo was edited",
        "StatefulSet demo was edited",
        "StatefulSet demo was deleted",
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
fn drift_while_no_operator_works_is_found(demo: &Demo<'_>) -> Result<()> {
    let cluster = demo.cluster;
    let system = ["-n", "quorate-system"];
    let scaled = |replicas: &str| {
        let scale = ["scale", "deployment", "quorate-operator", replicas];
        cluster.kubectl(&[&system[..], &scale].concat())
    };
    let before = cluster.get(&["service", "demo-peers"])?["spec"].take();
    let managed = "app.kubernetes.io/managed-by";
    let unmarked = format!("{managed}-");
    scaled("--replicas=0")?;
    wait("no operator works", || {
        let pods = cluster.get(&[&system[..], &["pods"]].concat())?;
        Ok((pods["items"] == json!([])).then_some(()))
    })?;
    cluster.kubectl(&["delete", "networkpolicy", "demo"])?;
    cluster.kubectl(&["delete", "poddisruptionbudget", "demo"])?;
    let edit = json!([{ "op": "replace", "path": "/spec/ports/0/port", "value": 80 }]).to_string();
    cluster.kubectl(&["patch", "service", "demo-peers", "--type=json", "-p", &edit])?;
    cluster.kubectl(&["delete", "statefulset", "demo", "--cascade=orphan"])?;
    cluster.kubectl(&["annotate", "serviceaccount", "demo", "quorate.dev/applied-"])?;
    cluster.kubectl(&["label", "service", "demo-client", &unmarked])?;
    demo.patch(&json!({ "service": { "annotations": { "example.com/team": "a" } } }))?;
    scaled("--replicas=2")?;
    // The pods are known without their StatefulSet: nobody says that the group has lost its leader.
    let reason = "--for=jsonpath={.status.conditions[?(@.type==\"Ready\")].reason}=Repairing";
    cluster.kubectl(&["wait", "raftcluster/demo", reason, "--timeout=60s"])?;
    wait("what was done meanwhile is put back", || {
        cluster.get(&["networkpolicy", "demo"])?;
        cluster.get(&["statefulset", "demo"])?;
        let now = cluster.get(&["service", "demo-peers"])?["spec"].take();
        let mut client = cluster.get(&["service", "demo-client"])?;
        let client = client["metadata"].take();
        let is_back = client["labels"][managed] == "quorate";
        let is_new = client["annotations"]["example.com/team"] == "a";
        let account = cluster.get(&["serviceaccount", "demo"])?;
        let is_marked = account["metadata"]["annotations"]["quorate.dev/applied"].is_string();
        Ok((now == before && is_back && is_new && is_marked).then_some(()))
    })
}

/// Without it they would outlive the resource.
fn a_lost_owner_is_given_back(cluster: &Cluster) -> Result<()> {
    let orphaned = json!({ "metadata": { "ownerReferences": null } }).to_string();
    for kind in ["networkpolicy", "statefulset"] {
        cluster.kubectl(&["patch", kind, "demo", "--type=merge", "-p", &orphaned])?;
        wait(&format!("the {kind} has its owner again"), || {
            let now = cluster.get(&[kind, "demo"])?;
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
        ("service", "demo-client", port("/spec/ports/0/port")),
        ("poddisruptionbudget", "demo", budget),
        ("statefulset", "demo", port(container)),
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

/// What a user may get wrong, each said in words, and the first of them at a glance.
fn what_keeps_pods_from_running_is_told(cluster: &Cluster, folder: &Path) -> Result<()> {
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "few" },
        "spec": { "hard": { "pods": "4" } },
    });
    let garbage = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "garbage" },
        "stringData": { "tls.crt": "none", "tls.key": "none", "ca.crt": "none" },
    });
    cluster.apply(folder, &quota)?;
    cluster.apply(folder, &garbage)?;
    let tls = |secret: &str| json!({ "members": 1, "tls": { "secretName": secret } });
    let classless = json!({ "members": 1, "storage": { "storageClassName": "missing" } });
    for (name, spec, reason, words) in [
        (
            "denied",
            json!({ "members": 3 }),
            "PodDenied",
            "exceeded quota: few",
        ),
        ("classless", classless, "ClaimUnbound", "data-classless-0"),
        (
            "secretless",
            tls("nowhere"),
            "BadCertificates",
            "there is no Secret `nowhere`",
        ),
        (
            "garbled",
            tls("garbage"),
            "PodNotStarting",
            "holds no certificate",
        ),
    ] {
        let resource = json!({
            "apiVersion": "quorate.dev/v1alpha1", "kind": "RaftCluster", "metadata": { "name": name }, "spec": spec,
        });
        cluster.apply(folder, &resource)?;
        let told = Demo { cluster, name }.wait_degraded(reason, words)?;
        println!("{name}: {told}");
        let table = cluster.kubectl(&["get", "raftcluster", name])?;
        ensure!(table.contains(reason), "{table}");
        cluster.kubectl(&["delete", "raftcluster", name])?;
        cluster.kubectl(&["delete", "resourcequota", "few", "--ignore-not-found"])?;
    }
    cluster.kubectl(&["delete", "secret", "garbage"]).map(drop)
}

fn it_goes_and_leaves_its_claims(demo: &Demo<'_>) -> Result<()> {
    demo.cluster.kubectl(&["delete", "raftcluster", "demo"])?;
    let all = "statefulsets,pods,services,configmaps,serviceaccounts,networkpolicies,poddisruptionbudgets";
    let label = "app.kubernetes.io/instance=demo";
    wait("nothing is left but claims", || {
        let left = demo.cluster.get(&[all, "-l", label])?;
        Ok((left["items"] == json!([])).then_some(()))
    })?;
    let claims = demo.cluster.get(&["pvc", "-l", label])?;
    let kept = claims["items"].as_array().map_or(0, Vec::len);
    ensure!(
        kept == 5,
        "the policy keeps the claims of all ordinals that ever were: {kept}"
    );
    Ok(())
}
