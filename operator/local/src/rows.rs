//! The members as one table, whatever their kind.

use quorate_wire::{MemberState, MemberStatus, SummaryPair};
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
    /// What it says of itself, in its kind's words; of one that takes no part, why.
    pub summary: Vec<SummaryPair>,
    /// How often its process was started again.
    pub restarts: i64,
    /// Where clients reach it: its address, with the port where its pod names one.
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
        rows.extend(pods.iter().map(|pod| {
            let status = status_of(node, namespace, pod);
            row(&label, pod, status.as_ref())
        }));
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

fn row(resource: &str, pod: &Value, status: Option<&MemberStatus>) -> MemberRow {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let container = &pod["status"]["containerStatuses"][0];
    MemberRow {
        resource: resource.to_owned(),
        namespace: text(&pod["metadata"]["namespace"]),
        pod: text(&pod["metadata"]["name"]),
        state: state(pod).to_owned(),
        ready: container["ready"] == true,
        summary: summary(status),
        restarts: container["restartCount"].as_i64().unwrap_or(0),
        address: address(pod),
        pid: text(&pod["metadata"]["annotations"][crate::report::PID_ANNOTATION]),
        version: status
            .map(|status| status.version.clone())
            .unwrap_or_default(),
    }
}

fn address(pod: &Value) -> String {
    let address = pod["status"]["podIP"].as_str().unwrap_or_default();
    let ports = pod["spec"]["containers"][0]["ports"].as_array();
    let mut ports = ports.into_iter().flatten();
    match ports.find(|port| port["name"] == "client") {
        Some(port) if !address.is_empty() => format!("{address}:{}", port["containerPort"]),
        _ => address.to_owned(),
    }
}

/// A resource, and how it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceRow {
    /// `SINGULAR/NAME`.
    pub resource: String,
    /// Its namespace.
    pub namespace: String,
    /// Whether it is as its file says.
    pub ready: bool,
    /// Why, in a word.
    pub reason: String,
    /// Why, in words.
    pub message: String,
}

/// Every resource, with its condition `Ready`.
#[must_use]
pub fn resource_rows(node: &Node) -> Vec<ResourceRow> {
    let resources = node.resources();
    resources
        .iter()
        .map(|(sort, resource)| resource_row(&sort.singular, resource))
        .collect()
}

fn resource_row(singular: &str, resource: &Value) -> ResourceRow {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let conditions = resource["status"]["conditions"].as_array();
    let ready = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "Ready")
        .unwrap_or(&Value::Null);
    ResourceRow {
        resource: format!("{singular}/{}", text(&resource["metadata"]["name"])),
        namespace: text(&resource["metadata"]["namespace"]),
        ready: ready["status"] == "True",
        reason: text(&ready["reason"]),
        message: text(&ready["message"]),
    }
}

fn state(pod: &Value) -> &str {
    match pod["metadata"]["deletionTimestamp"].is_null() {
        true => pod["status"]["reason"].as_str().unwrap_or("Pending"),
        false => "Terminating",
    }
}

fn summary(status: Option<&MemberStatus>) -> Vec<SummaryPair> {
    match status {
        None => Vec::new(),
        Some(status) if status.state != MemberState::Running => {
            vec![SummaryPair::steady("role", format!("{:?}", status.state))]
        }
        Some(status) => status.summary.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_member_is_shown_in_its_own_words_or_with_what_keeps_it_from_taking_part() {
        let status = |state: &str| -> MemberStatus {
            serde_json::from_value(json!({
                "schema": "s", "kind": "K", "name": "a-0", "version": "1", "featureLevel": 1, "cluster": "c",
                "incarnation": "i", "state": state, "ready": true, "insecure": true,
                "summary": [{ "name": "shards", "value": "7" }],
            }))
            .unwrap()
        };
        let pod = json!({ "metadata": { "name": "a-1" }, "status": { "reason": "Running", "containerStatuses": [{ "restartCount": 2, "ready": true }] } });
        let shown = |status: Option<&MemberStatus>| row("k/a", &pod, status).summary;
        let running = shown(Some(&status("Running")));
        assert_eq!(running, [SummaryPair::steady("shards", 7)]);
        let damaged = shown(Some(&status("Damaged")));
        assert_eq!(damaged, [SummaryPair::steady("role", "Damaged")]);
        assert_eq!(shown(None), []);
        assert_eq!(row("k/a", &pod, None).restarts, 2);
    }

    #[test]
    fn an_address_has_the_port_for_clients() {
        let pod = |address: &str| json!({ "status": { "podIP": address }, "spec": { "containers": [{ "ports": [{ "name": "peer", "containerPort": 1 }, { "name": "client", "containerPort": 7070 }] }] } });
        assert_eq!(address(&pod("127.0.0.2")), "127.0.0.2:7070");
        assert_eq!(address(&pod("")), "");
        assert_eq!(
            address(&json!({ "status": { "podIP": "127.0.0.2" } })),
            "127.0.0.2"
        );
    }

    #[test]
    fn a_resource_is_shown_with_the_reason_of_its_readiness() {
        let ready =
            json!({ "type": "Ready", "status": "False", "reason": "NoLeader", "message": "m" });
        let object = json!({ "metadata": { "name": "a", "namespace": "n" }, "status": { "conditions": [{ "type": "Degraded" }, ready] } });
        let shown = resource_row("k", &object);
        assert_eq!(
            (shown.resource.as_str(), shown.ready, shown.reason.as_str()),
            ("k/a", false, "NoLeader")
        );
        assert!(!resource_row("k", &json!({})).ready);
    }
}
