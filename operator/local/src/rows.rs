//! The members as one table, whatever their kind.

use std::collections::BTreeMap;

use quorate_wire::{GroupStatus, MemberState, MemberStatus};
use serde_json::Value;

use crate::node::{Node, is_owned_by};
use crate::store::ObjectKey;

/// One member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberRow {
    /// The resource that it belongs to, as `SINGULAR/NAME`.
    pub resource: String,
    /// The namespace of both.
    pub namespace: String,
    /// Its pod.
    pub pod: String,
    /// What its process does, as `Running` or `CrashLoopBackOff`.
    pub state: String,
    /// Whether it serves.
    pub ready: bool,
    /// Its part in its group, or what keeps it from having one.
    pub role: String,
    /// Its term.
    pub term: Option<u64>,
    /// Its commit index.
    pub commit: Option<u64>,
    /// How many entries that some member knows to be committed it has yet to apply.
    pub lag: Option<u64>,
    /// How often its process was started again.
    pub restarts: i64,
    /// Its address.
    pub address: String,
    /// Its process.
    pub pid: String,
    /// The version of its binary.
    pub version: String,
}

/// Every member of every resource, by resource and name.
#[must_use]
pub fn member_rows(node: &Node) -> Vec<MemberRow> {
    let mut rows = Vec::new();
    for (resource, object) in node.resources() {
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        let label = format!(
            "{}/{}",
            resource.singular,
            object["metadata"]["name"].as_str().unwrap_or_default()
        );
        let owned = |plural: &str, uid: &str| -> Vec<Value> {
            node.store
                .list(plural, Some(namespace))
                .into_iter()
                .filter(|object| is_owned_by(object, uid))
                .collect()
        };
        let sets = owned("statefulsets", uid);
        let pods: Vec<Value> = sets
            .iter()
            .flat_map(|set| owned("pods", set["metadata"]["uid"].as_str().unwrap_or_default()))
            .collect();
        let answers: Vec<Option<MemberStatus>> = pods
            .iter()
            .map(|pod| status_of(node, namespace, pod))
            .collect();
        let committed = committed(&answers);
        rows.extend(
            pods.iter()
                .zip(&answers)
                .map(|(pod, status)| row(&label, pod, status.as_ref(), &committed)),
        );
    }
    rows
}

fn status_of(node: &Node, namespace: &str, pod: &Value) -> Option<MemberStatus> {
    let answer = node.members.answer(&ObjectKey::new(
        "pods",
        namespace,
        pod["metadata"]["name"].as_str()?,
    ))?;
    (pod["metadata"]["uid"] == answer.pod_uid.as_str())
        .then_some(answer)?
        .status
        .ok()
}

/// The highest commit index that any member knows, by group.
fn committed(answers: &[Option<MemberStatus>]) -> BTreeMap<u64, u64> {
    let mut highest = BTreeMap::new();
    for group in answers.iter().flatten().flat_map(|status| &status.groups) {
        let known = highest.entry(group.group).or_insert(0);
        *known = group.commit.max(*known);
    }
    highest
}

fn row(
    resource: &str,
    pod: &Value,
    status: Option<&MemberStatus>,
    committed: &BTreeMap<u64, u64>,
) -> MemberRow {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let container = &pod["status"]["containerStatuses"][0];
    let groups = status.map_or(&[][..], |status| &status.groups);
    let behind = |group: &GroupStatus| {
        committed
            .get(&group.group)
            .copied()
            .unwrap_or(0)
            .saturating_sub(group.applied)
    };
    MemberRow {
        resource: resource.to_owned(),
        namespace: text(&pod["metadata"]["namespace"]),
        pod: text(&pod["metadata"]["name"]),
        state: state(pod).to_owned(),
        ready: container["ready"] == true,
        role: role(status),
        term: groups.iter().map(|group| group.term).max(),
        commit: groups
            .iter()
            .map(|group| group.commit)
            .reduce(u64::saturating_add),
        lag: groups.iter().map(behind).reduce(u64::saturating_add),
        restarts: container["restartCount"].as_i64().unwrap_or(0),
        address: text(&pod["status"]["podIP"]),
        pid: text(&pod["metadata"]["annotations"][crate::report::PID_ANNOTATION]),
        version: status
            .map(|status| status.version.clone())
            .unwrap_or_default(),
    }
}

fn state(pod: &Value) -> &str {
    match pod["metadata"]["deletionTimestamp"].is_null() {
        true => pod["status"]["reason"].as_str().unwrap_or("Pending"),
        false => "Terminating",
    }
}

fn role(status: Option<&MemberStatus>) -> String {
    match status {
        None => "-".to_owned(),
        Some(status) if status.state != MemberState::Running => format!("{:?}", status.state),
        Some(status) => match status.groups.as_slice() {
            [] => "-".to_owned(),
            [group] => format!("{:?}", group.role),
            groups => {
                let led = groups
                    .iter()
                    .filter(|group| group.role == quorate_wire::Role::Leader)
                    .count();
                format!("leads {led} of {}", groups.len())
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status(groups: Value) -> MemberStatus {
        serde_json::from_value(json!({
            "schema": "s", "kind": "K", "name": "a-0", "version": "1", "featureLevel": 1, "cluster": "c", "incarnation": "i",
            "state": "Running", "ready": true, "insecure": true, "groups": groups,
        }))
        .unwrap()
    }

    fn group(number: u64, role: &str, commit: u64, applied: u64) -> Value {
        let configuration = json!({ "index": 1, "committed": true, "joint": false, "members": [] });
        json!({ "group": number, "role": role, "term": 3, "last": commit, "commit": commit, "applied": applied, "caughtUp": true, "configuration": configuration })
    }

    #[test]
    fn lag_counts_from_what_any_member_knows_to_be_committed() {
        let answers = [
            Some(status(json!([group(1, "Leader", 10, 10)]))),
            Some(status(json!([group(1, "Follower", 8, 7)]))),
            None,
        ];
        let committed = committed(&answers);
        let pod = json!({ "metadata": { "name": "a-1" }, "status": { "reason": "Running", "containerStatuses": [{ "restartCount": 2, "ready": true }] } });
        let follower = row("k/a", &pod, answers[1].as_ref(), &committed);
        assert_eq!(
            (
                follower.role.as_str(),
                follower.commit,
                follower.lag,
                follower.restarts
            ),
            ("Follower", Some(8), Some(3), 2)
        );
        let silent = row("k/a", &pod, None, &committed);
        assert_eq!((silent.role.as_str(), silent.lag), ("-", None));
    }

    #[test]
    fn a_member_of_many_groups_says_how_many_it_leads() {
        let many = status(json!([
            group(1, "Leader", 1, 1),
            group(2, "Follower", 1, 1)
        ]));
        assert_eq!(role(Some(&many)), "leads 1 of 2");
    }
}
