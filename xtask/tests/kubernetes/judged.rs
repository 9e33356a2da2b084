//! The tables of rules, on the real API server.

use anyhow::{Context, Result, ensure};
use quorate_api::cases::{By, Case};
use serde_json::Value;

use crate::cluster::Cluster;

const KIND: &str = "raftcluster";

/// Every CEL rule and every immutable field.
pub fn the_api_server_judges_as_the_tables_say(cluster: &Cluster) -> Result<()> {
    // The cases' own namespace.
    let cluster = &cluster.within("default");
    let cases: Vec<Case> = serde_saphyr::from_str(quorate_api::raft_cluster::CASES)?;
    let mut faults = Vec::new();
    for case in &cases {
        let refusal = judged(cluster, case).with_context(|| case.case.clone())?;
        let refusal = refusal.unwrap_or_default();
        let as_told = match &case.error {
            Some(error) if case.by == By::Rule => refusal.contains(error.as_str()),
            Some(_) if case.by == By::Schema => !refusal.is_empty(),
            _ => refusal.is_empty(),
        };
        if !as_told {
            faults.push(format!("{}: the API server says: `{refusal}`", case.case));
        }
    }
    ensure!(faults.is_empty(), "{faults:#?}");
    println!("{} cases were judged by the API server", cases.len());
    Ok(())
}

fn judged(cluster: &Cluster, case: &Case) -> Result<Option<String>> {
    let object = |spec: &Value| case.resource("RaftCluster", spec);
    let mut new = object(&case.spec);
    let Some(old) = &case.old else {
        return cluster.refusal(KIND, None, true, &new);
    };
    let old = object(old);
    let name = old["metadata"]["name"].as_str().context("a name")?;
    let refusal = cluster.refusal(KIND, None, false, &old)?;
    ensure!(refusal.is_none(), "the old one: {refusal:?}");
    let made = cluster.get(&[KIND, name])?;
    new["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"].clone();
    let refusal = cluster.refusal(KIND, Some(name), true, &new)?;
    cluster.kubectl(&["delete", KIND, name])?;
    Ok(refusal)
}
