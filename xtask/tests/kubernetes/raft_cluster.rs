//! A RaftCluster on a real Kubernetes, with clients on it throughout: everything that `quorate up` does, by the same
//! decisions, and what only a cluster can do to it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use quorate_world::{Load, signal};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::certificates::an_authority_is_replaced_under_load;
use crate::cluster::{Cluster, load_image, skipped, wait};
use crate::demo::{
    Demo, curl, kill_operators, leading_operator, lease_holder, metrics, process_of,
};
use crate::drift::drift_is_put_back;
use crate::install::{Tier, path};
use crate::mistakes::what_keeps_pods_from_running_is_told;
use crate::pods::Member;
use crate::tenants::{Inject, Tenant};
use crate::together::{stage, together};
use crate::upgrades::images_are_replaced;
use crate::volumes::{a_volume_is_lost_while_operators_are_killed, volumes_grow};

/// Where its resources live.
pub const NAMESPACE: &str = "raftcluster";
const KEYS: usize = 1000;

/// The example, with clients on it.
pub struct RaftCluster {
    pub demo: Demo,
    load: Load,
}

impl RaftCluster {
    /// Once it serves.
    pub fn begin(cluster: &Cluster) -> Result<Self> {
        let demo = Demo {
            cluster: cluster.make(NAMESPACE)?,
            name: "demo",
        };
        the_example_serves(&demo)?;
        a_pod_reads_by_dns_name(&demo)?;
        let load = demo.load()?;
        Ok(Self { demo, load })
    }

    /// Answers the longest time without writes.
    pub fn the_leader_is_deleted(&self) -> Result<Duration> {
        let demo = &self.demo;
        let leader = demo.leader()?;
        let old = demo.members()?[&leader].uid.clone();
        let without = demo.window(&self.load, "the leader's pod deleted", || {
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
        Ok(without)
    }

    /// Judges what clients saw; it lives on.
    pub fn judge(self) -> Result<Demo> {
        self.demo.wait_ready()?;
        self.load.finish(&self.demo.endpoints()?)?;
        Ok(self.demo)
    }
}

impl Tenant for RaftCluster {
    fn cluster(&self) -> &Cluster {
        &self.demo.cluster
    }

    fn pods(&self) -> Result<BTreeMap<String, Member>> {
        self.demo.members()
    }

    fn identities(&self) -> Result<BTreeMap<String, String>> {
        self.demo.identities()
    }

    fn dearest(&self) -> Result<Option<String>> {
        self.demo.leader().map(Some)
    }

    fn wait_ready(&self) -> Result<()> {
        self.demo.wait_ready()
    }

    fn window(&self, fault: &str, inject: Inject<'_>) -> Result<Duration> {
        self.demo.window(&self.load, fault, inject)
    }

    fn program(&self) -> Option<&'static str> {
        Some("quorate-raft-cluster")
    }

    /// The others elect a leader only after the old one was silent: this one saw its successor since it made it.
    fn left_in_order(&self, log: &str) -> bool {
        let handed_over = log.split("leadership is handed over").nth(1);
        handed_over.is_some_and(|after| after.contains("role=Follower"))
    }

    fn suffer(&self, tier: Tier) -> Result<()> {
        let (demo, load) = (&self.demo, &self.load);
        stage("the leader is deleted", || self.the_leader_is_deleted())?;
        together(vec![
            (
                "members and volumes",
                Box::new(|| {
                    it_scales_while_operators_are_killed(demo, load, tier)?;
                    if !skipped("volumes grow: not every class lets them") {
                        volumes_grow(demo, load, tier)?;
                    }
                    a_volume_is_lost_while_operators_are_killed(demo, load, tier)
                }),
            ),
            (
                "images",
                Box::new(|| images_are_replaced(&demo.cluster, tier)),
            ),
            (
                "mistakes",
                Box::new(|| what_keeps_pods_from_running_is_told(&demo.cluster)),
            ),
            (
                "certificates",
                Box::new(|| an_authority_is_replaced_under_load(&demo.cluster)),
            ),
        ])?;
        // Who works is known, and what was counted: no operator is killed meanwhile.
        stage("scaled to three", || scaled_to_three(demo, load))?;
        stage("drift", || drift_is_put_back(demo, load))
    }

    fn end(self: Box<Self>) -> Result<()> {
        it_goes_and_leaves_its_claims(&self.judge()?)
    }
}

/// The example in the namespace of its kind.
fn example(demo: &Demo) -> Result<Value> {
    let text = std::fs::read_to_string(path("examples/raft-cluster.yaml"))?;
    let mut example: Value = serde_saphyr::from_str(&text)?;
    example["metadata"]["name"] = json!(demo.name);
    example["metadata"]["namespace"] = json!(demo.cluster.namespace);
    Ok(example)
}

/// In a namespace that admits nothing but the restricted profile.
fn the_example_serves(demo: &Demo) -> Result<()> {
    let applied = Instant::now();
    demo.cluster.apply(&example(demo)?)?;
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
fn a_pod_reads_by_dns_name(demo: &Demo) -> Result<()> {
    let image = "quorate.local/curl:1";
    let curl = "quorate-raft-cluster=/usr/bin/curl";
    load_image(&["--tag", image, "--bin", curl])?;
    let name = format!("{}-rcl-client.{NAMESPACE}", demo.name);
    let url = format!("http://{name}.svc.cluster.local:7070/kv/bulk-1");
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
    demo.cluster.apply(&pod)?;
    wait("a pod reads by DNS name", || {
        let said = demo.cluster.kubectl(&["logs", "reader"])?;
        Ok((said == "value").then_some(()))
    })
}

fn it_scales_while_operators_are_killed(demo: &Demo, load: &Load, tier: Tier) -> Result<()> {
    let mut earlier = None;
    for members in [5, 3, 5] {
        let fault = format!("scaled to {members}, operators killed");
        demo.window(load, &fault, || {
            demo.scale(members)?;
            kill_operators(demo, tier.kills())?;
            demo.wait_ready()
        })?;
        let identities = demo.identities()?;
        ensure!(identities.len() == members as usize, "{identities:?}");
        if members == 5 {
            let newest = [&identities["demo-rcl-3"], &identities["demo-rcl-4"]].map(Clone::clone);
            if let Some(earlier) = earlier.replace(newest.clone()) {
                let is_new = newest.iter().all(|id| !earlier.contains(id));
                ensure!(is_new, "an identity was used twice: {earlier:?} {newest:?}");
            }
        }
    }
    Ok(())
}

fn scaled_to_three(demo: &Demo, load: &Load) -> Result<()> {
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
fn a_paused_operator_is_succeeded(demo: &Demo, load: &Load) -> Result<()> {
    demo.window(load, "scaled to 3, the operator paused", || {
        let (paused, pid) = leading_operator(&demo.cluster)?;
        signal(pid, Signal::STOP)?;
        demo.scale(3)?;
        // Not until the group is Ready: a kubelet ends what it cannot probe for 20 s.
        wait("another operator leads", || {
            Ok((lease_holder(&demo.cluster)? != paused).then_some(()))
        })?;
        signal(pid, Signal::CONT)?;
        wait("the operator that was paused waits", || {
            let metrics = metrics(&demo.cluster, &paused)?;
            Ok(metrics.contains("quorate_operator_leads 0").then_some(()))
        })?;
        demo.wait_ready()?;
        ensure!(lease_holder(&demo.cluster)? != paused, "{paused} leads");
        ensure!(process_of(&paused)? == Some(pid), "{paused} has ended");
        Ok(())
    })?;
    Ok(())
}

fn it_goes_and_leaves_its_claims(demo: &Demo) -> Result<()> {
    demo.cluster
        .kubectl(&["delete", "raftcluster", demo.name])?;
    let label = demo.selector();
    let all = [
        "statefulsets",
        "pods",
        "services",
        "configmaps",
        "serviceaccounts",
        "networkpolicies",
        "poddisruptionbudgets",
    ];
    wait("nothing is left but claims", || {
        let left = demo.cluster.items(&all, &label)?;
        Ok((left == json!([])).then_some(()))
    })?;
    let claims = demo.cluster.get(&["pvc", "-l", &label])?;
    let kept = claims["items"].as_array().map_or(0, Vec::len);
    ensure!(
        kept == 5,
        "the policy keeps the claims of all ordinals that ever were: {kept}"
    );
    Ok(())
}
