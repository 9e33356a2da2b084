//! A pod, a node or a volume is lost, and clients do not mind.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use quorate_world::Load;

use crate::cluster::{cluster as controlled, run, wait};
use crate::demo::{Demo, Member, kill_operators};

pub fn the_leader_is_deleted(demo: &Demo<'_>, load: &Load) -> Result<Duration> {
    let leader = demo.leader()?;
    let old = demo.members()?[&leader].uid.clone();
    let without = demo.window(load, "the leader's pod deleted", || {
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

/// A cable pulled: the container runs on.
pub fn a_node_is_cut_off_and_healed(demo: &Demo<'_>, load: &Load) -> Result<()> {
    let fault = "the leader's node cut off and healed";
    let ([before, after], _) = the_leaders_node_goes_and_returns(demo, load, fault, "cut", "heal")?;
    ensure!(after.container == before.container, "{before:?} {after:?}");
    Ok(())
}

/// A power cut.
pub fn a_node_is_killed_and_restored(demo: &Demo<'_>, load: &Load) -> Result<Duration> {
    let fault = "the leader's node killed and restored";
    let ([before, after], without) =
        the_leaders_node_goes_and_returns(demo, load, fault, "kill", "restore")?;
    ensure!(after.container != before.container, "{before:?} {after:?}");
    Ok(without)
}

/// The member that led, before and after; and the longest time without writes.
fn the_leaders_node_goes_and_returns(
    demo: &Demo<'_>,
    load: &Load,
    fault: &str,
    harm: &str,
    mend: &str,
) -> Result<([Member; 2], Duration)> {
    let before = demo.members()?[&demo.leader()?].clone();
    let without = demo.window(load, fault, || {
        run(controlled(&[harm, &before.node]))?;
        demo.cluster.wait_node(&before.node, "Unknown")?;
        run(controlled(&[mend, &before.node]))?;
        demo.cluster.wait_node(&before.node, "True")
    })?;
    demo.wait_ready()?;
    let after = demo.members()?[&before.pod].clone();
    Ok(([before, after], without))
}

/// The claim and its volume are gone: the member comes back as another one.
pub fn a_volume_is_lost_while_operators_are_killed(demo: &Demo<'_>, load: &Load) -> Result<()> {
    let leader = demo.leader()?;
    let before = demo.identities()?;
    let victim = before
        .keys()
        .find(|name| **name != leader)
        .context("a follower")?;
    let fault = "a follower's volume lost, the operator killed three times";
    demo.window(load, fault, || {
        let claim = format!("data-{victim}");
        demo.cluster
            .kubectl(&["delete", "pvc", &claim, "--wait=false"])?;
        demo.cluster
            .kubectl(&["delete", "pod", victim, "--wait=false"])?;
        kill_operators(demo)?;
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
