//! Members killed, stopped and cut off.

use anyhow::{Result, ensure};
use quorate_world::{Cut, signal};
use rustix::process::Signal;

use super::cluster::{Cluster, DEADLINE, KIND, Spec};

#[test]
fn the_leader_is_killed_five_times() -> Result<()> {
    let mut cluster = Cluster::start("kills", &Spec::default(), &[])?;
    for n in 1..=5 {
        let leader = cluster.leader()?;
        cluster.window(&format!("leader killed ({n})"), |cluster| {
            signal(leader.pid, Signal::KILL)?;
            cluster.wait_restarted(std::slice::from_ref(&leader))?;
            cluster.wait_ready(DEADLINE)
        })?;
    }
    cluster.finish()
}

#[test]
fn a_follower_then_the_leader_is_stopped_and_goes_on() -> Result<()> {
    let mut cluster = Cluster::start("stops", &Spec::default(), &[])?;
    for who in ["follower", "leader"] {
        let member = match who {
            "leader" => cluster.leader()?,
            _ => cluster.follower()?,
        };
        cluster.window(&format!("{who} stopped"), |cluster| {
            signal(member.pid, Signal::STOP)?;
            cluster.wait_served()?;
            signal(member.pid, Signal::CONT)?;
            cluster.wait_ready(DEADLINE)
        })?;
        let pid = cluster.members()?[&member.name].pid;
        ensure!(
            pid == member.pid,
            "{} resumed as {pid}, not {}",
            member.name,
            member.pid
        );
    }
    cluster.finish()
}

#[test]
fn the_leader_is_cut_off_and_healed() -> Result<()> {
    let mut cluster = Cluster::start("cuts", &Spec::default(), &[])?;
    let leader = cluster.leader()?;
    let others = cluster.addresses_but(&leader)?;
    cluster.window("leader cut off", |cluster| {
        let cut = Cut::between(leader.address, &others)?;
        cluster.up.wait("another leads", DEADLINE, || {
            let resource = cluster.up.get(KIND, &cluster.name)?;
            let now = resource["status"]["leader"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            Ok(!now.is_empty() && now != leader.name)
        })?;
        cluster.wait_served()?;
        cut.heal()?;
        cluster.wait_ready(DEADLINE)
    })?;
    ensure!(
        cluster.members()?[&leader.name].pid == leader.pid,
        "a cut-off member is not restarted"
    );
    cluster.finish()
}
