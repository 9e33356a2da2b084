//! What the API server's audit log says: of the operator that it was denied nothing, that it uses every right it has, and
//! that nobody else writes its objects; of evictions how they were answered.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::cluster::Cluster;

const OPERATOR: &str = "system:serviceaccount:quorate-system:quorate-operator";

/// One right: group, resource with its subresource, verb.
type Right = (String, String, String);

fn entries(cluster: &Cluster) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(cluster.state()?.join("audit.log"))?;
    let entries = text.lines().map(serde_json::from_str::<Value>);
    // The last line may be half written.
    let entries = entries.filter_map(Result::ok);
    Ok(entries
        .filter(|entry| entry["stage"] == "ResponseComplete" || entry["stage"] == "ResponseStarted")
        .collect())
}

fn right(entry: &Value) -> Right {
    let at = |field: &str| entry["objectRef"][field].as_str().unwrap_or_default();
    let resource = match at("subresource") {
        "" => at("resource").to_owned(),
        sub => format!("{}/{sub}", at("resource")),
    };
    let verb = entry["verb"].as_str().unwrap_or_default();
    (at("apiGroup").to_owned(), resource, verb.to_owned())
}

/// The rights in a role.
fn granted(role: &Value) -> BTreeSet<Right> {
    let list = |value: &Value| -> Vec<String> {
        let items = value.as_array().into_iter().flatten();
        items
            .filter_map(|item| Some(item.as_str()?.to_owned()))
            .collect()
    };
    let mut rights = BTreeSet::new();
    for rule in role["rules"].as_array().into_iter().flatten() {
        for group in list(&rule["apiGroups"]) {
            for resource in list(&rule["resources"]) {
                for verb in list(&rule["verbs"]) {
                    rights.insert((group.clone(), resource.clone(), verb));
                }
            }
        }
    }
    rights
}

/// What was answered to those who asked for a pod's eviction, as codes of HTTP in order.
pub fn evictions(cluster: &Cluster, pod: &str) -> Result<Vec<i64>> {
    let mut entries = entries(cluster)?;
    entries.retain(|entry| {
        let asked = &entry["objectRef"];
        asked["subresource"] == "eviction" && asked["name"] == pod
    });
    let codes = entries.iter();
    Ok(codes
        .filter_map(|entry| entry["responseStatus"]["code"].as_i64())
        .collect())
}

/// How many mutating requests each client made, but for those of leases and events, by the name that it gave itself.
pub fn mutations_by_agent(cluster: &Cluster) -> Result<BTreeMap<String, usize>> {
    let mut counts = BTreeMap::new();
    for entry in entries(cluster)? {
        let verb = entry["verb"].as_str().unwrap_or_default();
        let is_read = ["get", "list", "watch"].contains(&verb);
        let resource = entry["objectRef"]["resource"].as_str().unwrap_or_default();
        if is_read || ["leases", "events"].contains(&resource) {
            continue;
        }
        if let Some(agent) = entry["userAgent"].as_str() {
            *counts.entry(agent.to_owned()).or_default() += 1;
        }
    }
    Ok(counts)
}

/// The operator was denied nothing, and uses all that it may.
pub fn rights_are_the_least(cluster: &Cluster) -> Result<()> {
    let entries = entries(cluster)?;
    let of_operator = || {
        entries
            .iter()
            .filter(|entry| entry["user"]["username"] == OPERATOR)
    };
    let denied: Vec<_> = of_operator()
        // By its rights: what a quota or a storage class refuses was allowed before.
        .filter(|entry| entry["annotations"]["authorization.k8s.io/decision"] == "forbid")
        .map(right)
        .collect();
    ensure!(denied.is_empty(), "the operator was denied {denied:?}");

    let used: BTreeSet<_> = of_operator().map(right).collect();
    let mut rights = granted(&cluster.get(&["clusterrole", "quorate-operator"])?);
    rights.extend(granted(&cluster.get(&[
        "-n",
        "quorate-system",
        "role",
        "quorate-operator",
    ])?));
    let unused: Vec<_> = rights.difference(&used).collect();
    ensure!(unused.is_empty(), "the operator never used {unused:?}");
    println!("{} rights, all used, none missing", rights.len());
    Ok(())
}

/// Nobody but the operator makes or changes what it owns, but for those that `others` names.
pub fn only_the_operator_writes(cluster: &Cluster, instance: &str, others: &[&str]) -> Result<()> {
    let kinds = [
        "statefulsets",
        "configmaps",
        "services",
        "serviceaccounts",
        "networkpolicies",
        "poddisruptionbudgets",
    ];
    let mut written = 0;
    for entry in entries(cluster)? {
        let at = |field: &str| entry["objectRef"][field].as_str().unwrap_or_default();
        let name = at("name");
        let is_owned = kinds.contains(&at("resource")) && at("subresource").is_empty();
        let is_its = name == instance || name.starts_with(&format!("{instance}-"));
        let verb = entry["verb"].as_str().unwrap_or_default();
        if !is_owned || !is_its || !["create", "update", "patch", "delete"].contains(&verb) {
            continue;
        }
        let user = entry["user"]["username"].as_str().context("a user")?;
        ensure!(
            user == OPERATOR || others.contains(&user),
            "{user} wrote: {verb} {} {name}",
            at("resource")
        );
        written += usize::from(user == OPERATOR);
    }
    ensure!(written > 0, "the audit log shows no write of the operator");
    Ok(())
}
