//! A RaftCluster on a real Kubernetes, with clients on it throughout: everything that `quorate up` does, by the same
//! decisions, and what only a cluster can do to it.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use quorate_api::cases::{By, Case};
use quorate_world::{Load, certificates, signal};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::audit::{only_the_operator_writes, rights_are_the_least};
use crate::cluster::{Cluster, cluster as controlled, run, turn, wait, xtask};
use crate::demo::{Demo, Member, curl, kill_operators, leading_operator, wait_ended};
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
    a_node_is_cut_off_and_healed(&demo, &load)?;
    a_node_is_killed_and_restored(&demo, &load)?;
    it_scales_while_operators_are_killed(&demo, &load)?;
    a_paused_operator_is_succeeded(&demo, &load)?;
    it_is_upgraded_and_a_bad_image_stops_at_one(&demo, &load)?;
    volumes_grow(&demo, &load)?;
    a_volume_is_lost(&demo, &load)?;
    drift_is_put_back(&demo, &load)?;
    demo.wait_ready()?;
    load.finish(&demo.endpoints()?)?;

    what_keeps_pods_from_running_is_told(&cluster, folder.path())?;
    a_group_with_certificates_takes_its_claims_along(&cluster, folder.path())?;
    it_goes_and_leaves_its_claims(&demo)?;
    rights_are_the_least(&cluster)?;
    only_the_operator_writes(&cluster, "demo", &[BY_HAND, COLLECTOR])
}

/// Every CEL rule and every immutable field, on the real API server.
fn the_api_server_judges_as_the_tables_say(cluster: &Cluster, folder: &Path) -> Result<()> {
    cluster.kubectl(&["apply", "--server-side", "-f", path("crds").as_str()])?;
    cluster.kubectl(&[
        "wait",
        "--for=condition=Established",
        "crd/raftclusters.quorate.dev",
    ])?;
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

fn the_operator_is_installed(cluster: &Cluster) -> Result<()> {
    println!("{}", run(xtask(&["image", "--no-build"]))?);
    let manifest = path("examples/operator.yaml");
    let rollout = "deployment/quorate-operator";
    let inside =
        |arguments: &[&str]| cluster.kubectl(&[&["-n", "quorate-system"], arguments].concat());
    inside(&["apply", "-f", &manifest])?;
    inside(&["rollout", "status", rollout, "--timeout=60s"])?;
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
    run(xtask(&[
        "image",
        "--no-build",
        "--tag",
        image,
        "--bin",
        curl,
    ]))?;
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

fn the_leader_is_deleted(demo: &Demo<'_>, load: &Load) -> Result<()> {
    let leader = demo.leader()?;
    let old = demo.members()?[&leader].uid.clone();
    demo.window(load, "the leader's pod deleted", || {
        demo.cluster
            .kubectl(&["delete", "pod", &leader, "--wait=false"])?;
        wait("another pod", || {
            let members = demo.members()?;
            Ok(members
                .get(&leader)
                .is_some_and(|now| now.uid != old)
                .then_some(()))
        })
    })?;
    demo.wait_ready()?;
    Ok(())
}

/// A cable pulled: the container runs on.
fn a_node_is_cut_off_and_healed(demo: &Demo<'_>, load: &Load) -> Result<()> {
    let fault = "the leader's node cut off and healed";
    let [before, after] = the_leaders_node_goes_and_returns(demo, load, fault, "cut", "heal")?;
    ensure!(after.container == before.container, "{before:?} {after:?}");
    Ok(())
}

/// A power cut.
fn a_node_is_killed_and_restored(demo: &Demo<'_>, load: &Load) -> Result<()> {
    let fault = "the leader's node killed and restored";
    let [before, after] = the_leaders_node_goes_and_returns(demo, load, fault, "kill", "restore")?;
    ensure!(after.container != before.container, "{before:?} {after:?}");
    Ok(())
}

/// The member that led, before and after.
fn the_leaders_node_goes_and_returns(
    demo: &Demo<'_>,
    load: &Load,
    fault: &str,
    harm: &str,
    mend: &str,
) -> Result<[Member; 2]> {
    let before = demo.members()?[&demo.leader()?].clone();
    demo.window(load, fault, || {
        run(controlled(&[harm, &before.node]))?;
        demo.cluster.wait_node(&before.node, "Unknown")?;
        run(controlled(&[mend, &before.node]))?;
        demo.cluster.wait_node(&before.node, "True")
    })?;
    demo.wait_ready()?;
    let after = demo.members()?[&before.pod].clone();
    Ok([before, after])
}

fn it_scales_while_operators_are_killed(demo: &Demo<'_>, load: &Load) -> Result<()> {
    let mut earlier = None;
    for members in [5, 3, 5] {
        let fault = format!("scaled to {members}, the operator killed three times");
        demo.window(load, &fault, || {
            demo.scale(members)?;
            kill_operators(demo.cluster)?;
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

/// It wakes up after another has taken over, finds the lease lost, and ends.
fn a_paused_operator_is_succeeded(demo: &Demo<'_>, load: &Load) -> Result<()> {
    demo.window(load, "scaled to 3, the operator paused", || {
        let (paused, pid) = leading_operator(demo.cluster)?;
        signal(pid, Signal::STOP)?;
        demo.scale(3)?;
        demo.wait_ready()?;
        signal(pid, Signal::CONT)?;
        wait_ended(pid)?;
        ensure!(
            leading_operator(demo.cluster)?.0 != paused,
            "{paused} leads"
        );
        demo.wait_ready()
    })
}

fn it_is_upgraded_and_a_bad_image_stops_at_one(demo: &Demo<'_>, load: &Load) -> Result<()> {
    let variants = Path::new(env!("CARGO_BIN_EXE_quorate-xtask")).with_file_name("variants");
    let next = variants.join("next/quorate-raft-cluster");
    let binary = format!("quorate-raft-cluster={}", next.display());
    let image = "quorate.local/quorate:next";
    run(xtask(&[
        "image",
        "--no-build",
        "--tag",
        image,
        "--bin",
        &binary,
    ]))?;
    let begun = Instant::now();
    demo.window(load, "upgraded", || {
        demo.patch(&json!({ "image": image, "version": "0.2.0" }))?;
        demo.wait_ready()?;
        println!("upgraded in {:.1} s", begun.elapsed().as_secs_f64());
        Ok(())
    })?;
    ensure!(demo.resource()?["status"]["currentVersion"] == "0.2.0");

    let missing = "quorate.local/missing:1";
    demo.window(load, "an image that does not exist, and back", || {
        demo.patch(&json!({ "image": missing, "version": null }))?;
        let words = demo.wait_degraded("UpgradeStopped")?;
        println!("{words}");
        ensure!(words.contains("ImagePull"), "it must say why: {words}");
        let members = demo.members()?;
        let bad = members.values().filter(|member| member.image == missing);
        ensure!(bad.count() == 1, "{members:?}");
        demo.patch(&json!({ "image": image, "version": "0.2.0" }))?;
        demo.wait_ready()
    })?;
    Ok(())
}

/// The claim and its volume are gone: the member comes back as another one.
fn a_volume_is_lost(demo: &Demo<'_>, load: &Load) -> Result<()> {
    let leader = demo.leader()?;
    let before = demo.identities()?;
    let victim = before
        .keys()
        .find(|name| **name != leader)
        .context("a follower")?;
    demo.window(load, "a follower's volume lost", || {
        let claim = format!("data-{victim}");
        demo.cluster
            .kubectl(&["delete", "pvc", &claim, "--wait=false"])?;
        demo.cluster
            .kubectl(&["delete", "pod", victim, "--wait=false"])?;
        wait("another identity", || {
            let now = demo.identities()?;
            Ok(now
                .get(victim)
                .is_some_and(|id| !id.is_empty() && *id != before[victim])
                .then_some(()))
        })?;
        demo.wait_ready()
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
        cluster.kubectl(&["scale", "statefulset", "demo", "--replicas=2"])?;
        wait("the StatefulSet is back", || {
            let now = cluster.get(&["statefulset", "demo"])?;
            Ok((now["spec"]["replicas"] == 3 && now["status"]["readyReplicas"] == 3).then_some(()))
        })
    })?;
    let events = cluster.kubectl(&["get", "events"])?;
    for words in [
        "Service demo-client was deleted",
        "ConfigMap demo-config was edited",
    ] {
        ensure!(events.contains(words), "no event says: {words}");
    }
    let (operator, _) = leading_operator(cluster)?;
    let metrics = format!("/api/v1/namespaces/quorate-system/pods/{operator}:8080/proxy/metrics");
    let metrics = cluster.kubectl(&["get", "--raw", &metrics])?;
    let drift = "quorate_operator_drift_total{drift=\"deleted\",object=\"Service\"} 1";
    ensure!(metrics.contains(drift), "{metrics}");
    Ok(())
}

/// A quota that has no room for a pod, then a class that has no provisioner, and a group with certificates that runs.
fn what_keeps_pods_from_running_is_told(cluster: &Cluster, folder: &Path) -> Result<()> {
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "few" },
        "spec": { "hard": { "pods": "4" } },
    });
    let classless = json!({ "members": 1, "storage": { "storageClassName": "missing" } });
    let resource = |name: &str, spec: Value| {
        json!({
            "apiVersion": "quorate.dev/v1alpha1", "kind": "RaftCluster", "metadata": { "name": name }, "spec": spec,
        })
    };
    cluster.apply(folder, &quota)?;
    cluster.apply(folder, &resource("denied", json!({ "members": 3 })))?;
    let denied = Demo {
        cluster,
        name: "denied",
    };
    let words = denied.wait_degraded("PodDenied")?;
    ensure!(words.contains("exceeded quota: few"), "{words}");
    cluster.kubectl(&["delete", "resourcequota", "few"])?;
    cluster.kubectl(&["delete", "raftcluster", "denied"])?;
    cluster.apply(folder, &resource("classless", classless))?;
    let classless = Demo {
        cluster,
        name: "classless",
    };
    let words = classless.wait_degraded("ClaimUnbound")?;
    ensure!(words.contains("data-classless-0"), "{words}");
    cluster.kubectl(&["delete", "raftcluster", "classless"])?;
    Ok(())
}

/// Members trust one another, the operator and the clients by a Secret; and the policy deletes claims.
fn a_group_with_certificates_takes_its_claims_along(
    cluster: &Cluster,
    folder: &Path,
) -> Result<()> {
    let secret = certificates("certificates", "secure")?;
    let authority = folder.join("ca.crt");
    let pem = secret["stringData"]["ca.crt"]
        .as_str()
        .context("a certificate")?;
    std::fs::write(&authority, pem)?;
    cluster.apply(folder, &secret)?;
    let resource = json!({
        "apiVersion": "quorate.dev/v1alpha1", "kind": "RaftCluster", "metadata": { "name": "secure" },
        "spec": {
            "members": 3, "tls": { "secretName": "certificates" },
            "storage": { "retention": { "whenScaled": "Delete", "whenDeleted": "Delete" } },
        },
    });
    cluster.apply(folder, &resource)?;
    let secure = Demo {
        cluster,
        name: "secure",
    };
    secure.wait_ready()?;
    ensure!(secure.resource()?["status"]["insecure"] == false);
    let leader = secure.members()?[&secure.leader()?].address.clone();
    let ca = authority.to_str().context("a path in UTF-8")?;
    let to = format!("secure-client.default.svc:7070:{leader}:7070");
    let url = "https://secure-client.default.svc:7070/kv/a";
    let trusting = ["--cacert", ca, "--connect-to", &to];
    curl(&[&trusting[..], &["-f", "-X", "PUT", "-d", "hello", url]].concat())?;
    ensure!(curl(&[&trusting[..], &[url]].concat())? == "hello");

    secure.scale(1)?;
    secure.wait_ready()?;
    let claims = ["pvc", "-l", "app.kubernetes.io/instance=secure"];
    let kept = |left: usize| {
        wait(&format!("{left} claims are left"), || {
            let claims = cluster.get(&claims)?;
            Ok((claims["items"].as_array().map(Vec::len) == Some(left)).then_some(()))
        })
    };
    kept(1)?;
    cluster.kubectl(&["delete", "raftcluster", "secure"])?;
    kept(0)
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

/// A file of the repository.
fn path(name: &str) -> String {
    format!("{}/../{name}", env!("CARGO_MANIFEST_DIR"))
}
