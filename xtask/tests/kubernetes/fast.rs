//! What CI runs: one cluster serves every scenario, side by side in namespaces where they wait more than they work.

use anyhow::Result;

use crate::audit::{only_the_operator_writes, rights_are_the_least};
use crate::cluster::{Running, foreign, skipped, turn};
use crate::images::our_image_runs_on_every_node_and_has_no_shell;
use crate::install::{
    Tier, all_is_uninstalled, definitions_are_installed, the_operator_is_installed,
};
use crate::interrupted::requests_that_are_drawn_are_hit;
use crate::judged::the_api_server_judges_as_the_tables_say;
use crate::machine::{Machine, nothing_is_left, what_was_killed_half_way_up_can_be_taken_down};
use crate::raft_cluster::{self, RaftCluster};
use crate::tenants::{Tenant, nodes_are_cut_off_killed_and_drained};
use crate::together::{Scenario, stage, together};
use crate::traces::the_model_and_the_controller_come_to_the_same;
use crate::web::Web;

/// kubectl's own user, for what the test does by hand.
const BY_HAND: &str = "admin";
const COLLECTOR: &str = "system:serviceaccount:kube-system:generic-garbage-collector";

#[test]
fn one_cluster_serves_every_scenario() -> Result<()> {
    let _turn = turn();
    let before = Machine::look()?;
    let cluster = stage("the cluster starts", Running::up)?;
    let state = cluster.state()?.to_owned();
    definitions_are_installed(&cluster)?;
    let web = match skipped("a StatefulSet of the cluster's own") {
        true => None,
        false => Some(Web::make(&cluster)?),
    };
    stage("before an operator works", || {
        together(without_an_operator(&cluster, web.as_ref()))
    })?;
    stage("the operator is installed", || {
        the_operator_is_installed(&cluster, Tier::Fast)
    })?;

    // The kinds: each that follows has its example here, and shares the nodes' faults.
    let mut tenants: Vec<Box<dyn Tenant>> = vec![Box::new(stage("a RaftCluster serves", || {
        RaftCluster::begin(&cluster)
    })?)];
    let instances = [(raft_cluster::NAMESPACE, "demo")];
    tenants.extend(web.map(|web| Box::new(web) as Box<dyn Tenant>));
    if !skipped("a node is cut off, killed and drained") {
        let all: Vec<&dyn Tenant> = tenants.iter().map(|tenant| &**tenant).collect();
        nodes_are_cut_off_killed_and_drained(&all)?;
    }
    for tenant in &tenants {
        tenant.suffer(Tier::Fast)?;
    }
    for tenant in tenants {
        stage("judged and deleted", || tenant.end())?;
    }

    if !skipped("the audit log is read") {
        rights_are_the_least(&cluster)?;
        for (namespace, instance) in instances {
            let cluster = cluster.within(namespace);
            only_the_operator_writes(&cluster, instance, &[BY_HAND, COLLECTOR])?;
        }
    }
    all_is_uninstalled(&cluster, &[raft_cluster::NAMESPACE, "mistakes"])?;
    drop(cluster);
    if foreign().is_some() {
        return Ok(());
    }
    stage("the cluster goes", || {
        nothing_is_left(&state, &before)?;
        what_was_killed_half_way_up_can_be_taken_down(&state)?;
        nothing_is_left(&state, &before)
    })
}

/// Nobody but those that a scenario starts for itself works on resources.
fn without_an_operator<'a>(cluster: &'a Running, web: Option<&'a Web>) -> Vec<Scenario<'a>> {
    let mut scenarios: Vec<Scenario<'a>> = vec![
        (
            "rules",
            Box::new(move || the_api_server_judges_as_the_tables_say(cluster)),
        ),
        (
            "traces of the model",
            Box::new(move || the_model_and_the_controller_come_to_the_same(cluster)),
        ),
    ];
    if let Some(web) = web {
        scenarios.push((
            "a StatefulSet",
            Box::new(move || web.runs_in_every_zone_with_names_and_volumes()),
        ));
        scenarios.push((
            "the image",
            Box::new(move || our_image_runs_on_every_node_and_has_no_shell(cluster)),
        ));
    }
    scenarios.push((
        "interrupted operators",
        Box::new(move || requests_that_are_drawn_are_hit(cluster)),
    ));
    scenarios
}
