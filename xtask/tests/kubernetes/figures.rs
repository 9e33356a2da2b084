//! The time without writes over many runs, and writes per second beside the embedded host. It measures, so CI leaves
//! it out; as root, after `.ci/e2e` has built:
//! `cargo test --release --locked --workspace --test kubernetes -- --ignored --nocapture ten_runs`.

use std::time::Duration;

use anyhow::Result;

use crate::cluster::{Running, run, skipped, turn, xtask};
use crate::install::{Tier, definitions_are_installed, the_operator_is_installed};
use crate::raft_cluster::RaftCluster;
use crate::tenants::a_node_is_killed_and_restored;

const RUNS: usize = 10;

#[test]
#[ignore = "it measures, for about ten minutes"]
fn ten_runs_of_a_pods_deletion_and_a_nodes_loss() -> Result<()> {
    let _turn = turn();
    if skipped("nodes are killed") {
        return Ok(());
    }
    let cluster = Running::up()?;
    definitions_are_installed(&cluster)?;
    the_operator_is_installed(&cluster, Tier::Soak)?;
    let example = RaftCluster::begin(&cluster)?;
    let mut deleted = Vec::new();
    for _ in 0..RUNS {
        deleted.push(example.the_leader_is_deleted()?);
    }
    let mut lost = Vec::new();
    for _ in 0..RUNS {
        lost.push(a_node_is_killed_and_restored(&[&example])?);
    }
    let demo = example.judge()?;
    // On the cluster and beside it, with the same machine to share.
    let endpoints = demo.endpoints()?.join(",");
    let bench = "bench raft-cluster --seconds 5 --clients 1,100 --failovers 0";
    let bench: Vec<_> = bench.split(' ').collect();
    println!("through the cluster");
    let through = ["--endpoints", endpoints.as_str()];
    println!("{}", run(xtask(&[&bench[..], &through].concat()))?);
    println!("on the embedded host");
    println!("{}", run(xtask(&bench))?);
    tell("the leader's pod deleted", deleted);
    tell("the leader's node killed", lost);
    Ok(())
}

fn tell(fault: &str, mut times: Vec<Duration>) {
    times.sort();
    println!(
        "{RUNS} times {fault}: seconds without writes min {:.2}, median {:.2}, max {:.2}",
        times[0].as_secs_f64(),
        times[RUNS / 2].as_secs_f64(),
        times[RUNS - 1].as_secs_f64()
    );
}
