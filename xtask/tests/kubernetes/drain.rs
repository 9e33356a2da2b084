//! A node is drained as its administrator does it: the budget counts who is ready, and the leader hands over.

use anyhow::{Context, Result, ensure};
use quorate_world::{Load, signal};
use rustix::process::Signal;

use crate::audit::evictions;
use crate::cluster::wait;
use crate::demo::{Demo, process};

/// What the API server answers while the budget is spent.
const TOO_MANY_REQUESTS: i64 = 429;
const CREATED: i64 = 201;

/// Only one may be away: while a follower is not ready the leader's pod stays, and it goes when that one is back.
pub fn a_drain_waits_for_the_member_that_lags(demo: &Demo<'_>, load: &Load) -> Result<()> {
    let cluster = demo.cluster;
    let leader = demo.leader()?;
    let (before, identities) = (demo.members()?, demo.identities()?);
    let node = before[&leader].node.clone();
    let lagging = before
        .values()
        .find(|member| member.pod != leader && member.node != node);
    let lagging = lagging.context("a member on another node")?.pod.clone();
    let name = format!("QUORATE_NAME={lagging}");
    let pid = process("quorate-raft-cluster", &name)?.context("its process")?;
    let folder = tempfile::tempdir()?;
    let [drained, log] = ["drained", "log"].map(|name| folder.path().join(name));
    demo.window(load, "the leader's node drained while another lags", || {
        signal(pid, Signal::STOP)?;
        demo.wait_pod_ready(&lagging, false)?;
        let mut follow = cluster.spawn(&["logs", "--follow", &leader], &log)?;
        let drain = [
            "drain",
            &node,
            "--force",
            "--delete-emptydir-data",
            "--timeout=60s",
        ];
        let mut drain = cluster.spawn(&drain, &drained)?;
        let answers = || evictions(cluster, &leader);
        wait("the eviction is refused, and again", || {
            let refused = answers()?.iter().all(|code| *code == TOO_MANY_REQUESTS);
            ensure!(refused, "{:?}", answers()?);
            Ok((answers()?.len() >= 2).then_some(()))
        })?;
        ensure!(
            demo.members()?[&leader] == before[&leader],
            "{leader} stays"
        );

        signal(pid, Signal::CONT)?;
        let ended = wait("the node is drained", || Ok(drain.try_wait()?))?;
        let said = std::fs::read_to_string(&drained)?;
        ensure!(
            ended.success() && said.contains("disruption budget"),
            "{said}"
        );
        ensure!(answers()?.last() == Some(&CREATED), "{:?}", answers()?);
        follow.wait()?;
        let said = std::fs::read_to_string(&log)?;
        // The others elect one only after it was silent: it saw its successor since it made it.
        let handed_over = said.split("leadership is handed over").nth(1);
        let follows = handed_over.is_some_and(|after| after.contains("role=Follower"));
        ensure!(follows, "it did not live to see its successor: {said}");
        cluster.kubectl(&["uncordon", &node])?;
        demo.wait_ready()
    })?;
    let after = demo.members()?;
    ensure!(after[&leader].uid != before[&leader].uid, "another pod");
    ensure!(
        demo.identities()? == identities,
        "on the volume that it had"
    );
    Ok(())
}
