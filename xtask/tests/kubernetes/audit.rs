//! What the API server's audit log says: of the operator that it was denied nothing, that it uses every right it has, and
//! that nobody else writes its objects; of evictions how they were answered.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::install::SYSTEM;

const OPERATOR: &str = "system:serviceaccount:quorate-system:quorate-operator";

const NAME: &str = "quorate-operator";

/// One right: group, resource with its subresource, verb.
type Right = (String, String, String);

/// The entries with this word: most of the log is about other things, and it is long.
fn entries(cluster: &Cluster, word: &str) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(cluster.audit_log()?)?;
    let lines = text.lines().filter(|line| line.contains(word));
    let entries = lines.map(serde_json::from_str::<Value>);
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
    let mut entries = entries(cluster, "eviction")?;
    entries.retain(|entry| {
        let asked = &entry["objectRef"];
        asked["subresource"] == "eviction"
            && asked["namespace"] == cluster.namespace
            && asked["name"] == pod
    });
    let codes = entries.iter();
    Ok(codes
        .filter_map(|entry| entry["responseStatus"]["code"].as_i64())
        .collect())
}

/// What is written in a namespace, but for leases and events: looked at again and again.
pub struct Writes {
    log: PathBuf,
    namespace: String,
    read: u64,
}

impl Writes {
    /// From now on.
    pub fn begin(log: &Path, namespace: &str) -> Result<Self> {
        Ok(Self {
            log: log.to_owned(),
            namespace: namespace.to_owned(),
            read: std::fs::metadata(log)?.len(),
        })
    }

    /// How many there were since the last look.
    pub fn more(&mut self) -> Result<usize> {
        let mut file = std::fs::File::open(&self.log)?;
        file.seek(SeekFrom::Start(self.read))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let whole = text.iter().rposition(|byte| *byte == b'\n');
        text.truncate(whole.map_or(0, |end| end + 1));
        self.read += text.len() as u64;
        let entries = text.split(|byte| *byte == b'\n');
        let entries = entries.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
        Ok(entries
            .filter(|entry| entry["objectRef"]["namespace"] == self.namespace && mutates(entry))
            .count())
    }
}

/// Whether this changes something: leases are renewed by the clock, and by events nothing is decided.
fn mutates(entry: &Value) -> bool {
    let verb = entry["verb"].as_str().unwrap_or_default();
    let resource = entry["objectRef"]["resource"].as_str().unwrap_or_default();
    !["get", "list", "watch"].contains(&verb) && !["leases", "events"].contains(&resource)
}

/// How many mutating requests each client with this word in its name made, but for those of leases and events, by the name
/// that it gave itself.
pub fn mutations_by_agent(cluster: &Cluster, word: &str) -> Result<BTreeMap<String, usize>> {
    let mut counts = BTreeMap::new();
    for entry in entries(cluster, word)? {
        if !mutates(&entry) {
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
    let entries = entries(cluster, OPERATOR)?;
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
    let mut rights = granted(&cluster.get(&["clusterrole", NAME])?);
    rights.extend(granted(&cluster.within(SYSTEM).get(&["role", NAME])?));
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
    for entry in entries(cluster, instance)? {
        let at = |field: &str| entry["objectRef"][field].as_str().unwrap_or_default();
        let name = at("name");
        let is_here = at("namespace") == cluster.namespace;
        let is_owned = is_here && kinds.contains(&at("resource")) && at("subresource").is_empty();
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
