//! The long tier, by name: `cargo test --release --locked --workspace --test kubernetes -- --ignored --nocapture NAME`, as
//! root, after `.ci/e2e` has built. Measurements stand in `figures` and `many`.

use anyhow::Result;

use crate::cluster::{Running, skipped, turn};
use crate::install::{Tier, definitions_are_installed, the_operator_is_installed};
use crate::interrupted::every_request_is_hit;
use crate::raft_cluster::RaftCluster;
use crate::tenants::{Tenant, nodes_are_cut_off_killed_and_drained};

/// With all bad images, and three operators killed in each scenario.
#[test]
#[ignore = "the long tier"]
fn a_raft_cluster_lives_through_what_a_cluster_does_to_it() -> Result<()> {
    let _turn = turn();
    let cluster = Running::up()?;
    definitions_are_installed(&cluster)?;
    the_operator_is_installed(&cluster, Tier::Soak)?;
    let demo: Box<dyn Tenant> = Box::new(RaftCluster::begin(&cluster)?);
    if !skipped("a node is cut off, killed and drained") {
        nodes_are_cut_off_killed_and_drained(&[&*demo])?;
    }
    demo.suffer(Tier::Soak)?;
    demo.end()
}

/// Whichever of its requests is hit, and by whichever fault.
#[test]
#[ignore = "the long tier"]
fn an_interrupted_operator_ends_in_the_same_state() -> Result<()> {
    let _turn = turn();
    let cluster = Running::up()?;
    definitions_are_installed(&cluster)?;
    every_request_is_hit(&cluster)
}
