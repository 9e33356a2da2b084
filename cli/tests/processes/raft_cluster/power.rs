//! Power lost: all members die at once, and with them every byte that no fsync covered.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use quorate_world::{Crash, Member, condition, signal};
use rustix::process::Signal;

use super::cluster::{Cluster, DEADLINE, KIND, Spec, variant};

const POWER_LOST: &str = "all members killed, un-synced bytes lost";
const DAMAGED: &str = "MemberDamaged";
const CAPACITY_BYTES: u64 = 4 << 30;

/// A damaged member does not heal here, and nothing is gained by waiting on.
fn wait_ready_or_damaged(cluster: &Cluster) -> Result<()> {
    let mut damaged = false;
    cluster.up.wait("Ready, or damaged", DEADLINE, || {
        let resource = cluster.up.get(KIND, &cluster.name)?;
        let degraded = condition(&resource, "Degraded");
        damaged = degraded.is_some_and(|found| (found.0, found.1) == ("True", DAMAGED));
        let ready = condition(&resource, "Ready");
        Ok(damaged || ready.is_some_and(|found| found.0 == "True"))
    })?;
    ensure!(!damaged, "{DAMAGED}");
    Ok(())
}

fn lose_power(name: &str, binary: Option<&Path>) -> Result<()> {
    let spec = Spec {
        image: binary.map(|_| "quorate.local/unsynced:dev".to_owned()),
        ..Spec::default()
    };
    let image = binary.map(|path| format!("quorate.local/unsynced:dev={}", path.display()));
    let arguments: Vec<&str> = image.iter().flat_map(|i| ["--image", i.as_str()]).collect();
    let (mut cluster, disk) = Cluster::start_on_disk(name, &spec, &arguments, CAPACITY_BYTES)?;
    let result = (|| {
        for (n, crash) in [Crash::Lose, Crash::Tear(7)].into_iter().enumerate() {
            cluster.outage(&format!("{POWER_LOST} ({crash:?})"), |cluster| {
                let up = cluster.up.pid().context("up runs")?;
                let members: Vec<Member> = cluster.members()?.into_values().collect();
                let pids: Vec<i32> = members.iter().map(|m| m.pid).collect();
                // Nobody may start a member again between its death and the loss.
                signal(up, Signal::STOP)?;
                for pid in &pids {
                    signal(*pid, Signal::KILL)?;
                }
                cluster.wait_gone(&pids)?;
                let lost = disk.crash(crash);
                println!(
                    "{name}: power loss {}: {lost} bytes had not been synced",
                    n + 1
                );
                signal(up, Signal::CONT)?;
                cluster.wait_restarted(&members)?;
                wait_ready_or_damaged(cluster)
            })?;
        }
        Ok(())
    })();
    cluster.finish_after(result)
}

#[test]
fn acknowledged_writes_survive_the_loss_of_every_unsynced_byte() -> Result<()> {
    lose_power("power", None)
}

/// What the test above proves, it proves only if a build that does not sync fails it.
#[test]
fn a_build_that_does_not_sync_fails_the_same_test() -> Result<()> {
    let result = lose_power("unsynced", Some(&variant("unsynced")));
    let error = result
        .err()
        .context("a build that does not sync lost nothing")?;
    let why = format!("{error:#}");
    // By what it lost: acknowledged writes, or what it must find on its disk; a mere timeout proves nothing.
    ensure!(
        why.contains("not linearizable") || why.contains(DAMAGED),
        "failed for another reason: {why}"
    );
    println!("unsynced: failed as it must: {why:.300}");
    Ok(())
}
