//! Volumes that grow under a running group, or are lost.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use quorate_world::Load;
use serde_json::{Value, json};

use crate::cluster::wait;
use crate::demo::{Demo, kill_operators};
use crate::install::Tier;

/// The cluster's default.
const CLASS: &str = "quorate";

/// Where the class does not expand, the API server's own words are told. Where it does: claims first, then the
/// StatefulSet, around pods that notice nothing; with whichever operator works killed.
pub fn volumes_grow(demo: &Demo, load: &Load, tier: Tier) -> Result<()> {
    let before = demo.members()?;
    let first = before.keys().next().context("a member")?.clone();
    let set = demo.cluster.get(&["statefulset", &demo.set()])?;
    demo.window(load, "volumes grown, operators killed", || {
        expand(demo, false)?;
        demo.patch(&json!({ "storage": { "size": "12Gi" } }))?;
        println!(
            "{}",
            demo.wait_degraded("RequestDenied", &claim_of(&first))?
        );
        let table = demo.cluster.kubectl(&["get", "raftcluster", demo.name])?;
        ensure!(table.contains("RequestDenied"), "{table}");
        expand(demo, true)?;
        kill_operators(demo, tier.kills())?;
        wait("the StatefulSet was made anew at the size", || {
            let now = demo.cluster.get(&["statefulset", &demo.set()])?;
            let template = &now["spec"]["volumeClaimTemplates"][0]["spec"];
            ensure!(
                template["resources"]["requests"]["storage"] == "12Gi",
                "{template}"
            );
            Ok((now["metadata"]["uid"] != set["metadata"]["uid"]).then_some(()))
        })?;
        demo.wait_ready()
    })?;
    let sizes = sizes(demo)?;
    let grown = before
        .keys()
        .all(|pod| sizes.get(&claim_of(pod)).is_some_and(|size| size == "12Gi"));
    ensure!(grown, "{sizes:?}");
    let after = demo.members()?;
    ensure!(before == after, "pods were touched: {before:?} {after:?}");
    wait("the pods belong to the new StatefulSet alone", || {
        let pods = demo.cluster.get(&["pods", "-l", &demo.selector()])?;
        let mut pods = pods["items"].as_array().context("items")?.iter();
        let adopted = pods.all(|pod| {
            let owners = pod["metadata"]["ownerReferences"].as_array();
            let kinds = owners.into_iter().flatten().map(|owner| &owner["kind"]);
            kinds.eq(["StatefulSet"])
        });
        Ok(adopted.then_some(()))
    })
}

/// Says whether volumes of the default class can grow.
fn expand(demo: &Demo, allows: bool) -> Result<()> {
    let patch = json!({ "allowVolumeExpansion": allows }).to_string();
    let patched = ["patch", "storageclass", CLASS, "--type=merge", "-p", &patch];
    demo.cluster.kubectl(&patched).map(drop)
}

/// How large the claims' volumes are.
fn sizes(demo: &Demo) -> Result<BTreeMap<String, String>> {
    let claims = demo.cluster.get(&["pvc", "-l", &demo.selector()])?;
    let claims = claims["items"].as_array().context("items")?.iter();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(claims
        .map(|claim| {
            (
                text(&claim["metadata"]["name"]),
                text(&claim["status"]["capacity"]["storage"]),
            )
        })
        .collect())
}

/// The claim and its volume are gone: the member comes back as another one.
pub fn a_volume_is_lost_while_operators_are_killed(
    demo: &Demo,
    load: &Load,
    tier: Tier,
) -> Result<()> {
    let leader = demo.leader()?;
    let before = demo.identities()?;
    let victim = before
        .keys()
        .find(|name| **name != leader)
        .context("a follower")?;
    let fault = "a follower's volume lost, operators killed";
    demo.window(load, fault, || {
        let claim = claim_of(victim);
        demo.cluster
            .kubectl(&["delete", "pvc", &claim, "--wait=false"])?;
        demo.cluster
            .kubectl(&["delete", "pod", victim, "--wait=false"])?;
        kill_operators(demo, tier.kills())?;
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

fn claim_of(pod: &str) -> String {
    format!("data-{pod}")
}
