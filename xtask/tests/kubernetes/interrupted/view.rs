//! What a namespace holds of the operator's making, without what differs between two runs of the same.

use std::collections::BTreeMap;

use anyhow::Result;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams};
use kube::{Api, Client};
use serde_json::{Map, Value, json};

const KINDS: [(&str, &str, &str); 8] = [
    ("quorate.dev", "v1alpha1", "RaftCluster"),
    ("apps", "v1", "StatefulSet"),
    ("policy", "v1", "PodDisruptionBudget"),
    ("networking.k8s.io", "v1", "NetworkPolicy"),
    ("", "v1", "Service"),
    ("", "v1", "ConfigMap"),
    ("", "v1", "ServiceAccount"),
    ("", "v1", "PersistentVolumeClaim"),
];

/// Times, versions, random names and addresses; who leads is as random. Which fields are whose differs harmlessly: the
/// apply that an object's creation is made into has its defaults too, until the next.
const PASSING: [&str; 23] = [
    "fieldsV1",
    "uid",
    "resourceVersion",
    "generation",
    "observedGeneration",
    "creationTimestamp",
    "deletionTimestamp",
    "time",
    "lastTransitionTime",
    "clusterIP",
    "clusterIPs",
    "volumeName",
    "quorate.dev/config-hash",
    "currentRevision",
    "updateRevision",
    "incarnation",
    "term",
    "matchIndex",
    "applied",
    "lag",
    "role",
    "leader",
    "client",
];

/// By kind and name.
pub type View = BTreeMap<String, Value>;

pub async fn view(client: &Client, namespace: &str) -> Result<View> {
    let mut objects = Vec::new();
    for (group, version, kind) in KINDS {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
        let mut params = ListParams::default();
        if kind != "RaftCluster" {
            params = params.labels("app.kubernetes.io/managed-by=quorate");
        }
        for object in api.list(&params).await? {
            let name = object.metadata.name.clone().unwrap_or_default();
            objects.push((format!("{kind} {name}"), serde_json::to_value(object)?));
        }
    }
    let named = objects.into_iter();
    Ok(named
        .map(|(name, object)| (name, normal(object, namespace)))
        .collect())
}

fn normal(value: Value, namespace: &str) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields
                .into_iter()
                .filter(|(key, _)| !PASSING.contains(&key.as_str()));
            let fields = kept.map(|(key, value)| {
                let value = match key.as_str() {
                    "managedFields" => sorted(normal(value, namespace)),
                    _ => normal(value, namespace),
                };
                (plain(&key, namespace), value)
            });
            Value::Object(fields.collect::<Map<_, _>>())
        }
        Value::Array(items) => {
            let items = items.into_iter().map(|item| normal(item, namespace));
            Value::Array(items.collect())
        }
        Value::String(text) => json!(plain(&text, namespace)),
        other => other,
    }
}

/// Managed fields stand in the order of their times.
fn sorted(value: Value) -> Value {
    let Value::Array(mut items) = value else {
        return value;
    };
    items.sort_by_key(Value::to_string);
    Value::Array(items)
}

/// Without the namespace's name, UIDs, digests and identities: hexadecimal digits in a row, or with dashes between.
fn plain(text: &str, namespace: &str) -> String {
    let text = text.replace(namespace, "NAMESPACE");
    let mut words = String::new();
    let mut run = String::new();
    for c in text.chars().map(Some).chain([None]) {
        if let Some(digit) = c.filter(|c| c.is_ascii_hexdigit() || *c == '-') {
            run.push(digit);
            continue;
        }
        words += if run.len() >= 8 { "#" } else { &run };
        run.clear();
        words.extend(c);
    }
    words
}

/// How two differ, object by object.
pub fn difference(expected: &View, found: &View) -> String {
    let mut names: Vec<_> = expected.keys().chain(found.keys()).collect();
    names.sort();
    names.dedup();
    let differing = names
        .into_iter()
        .filter(|name| expected.get(*name) != found.get(*name));
    let told = differing.map(|name| {
        let text = |view: &View| match view.get(name) {
            Some(object) => serde_json::to_string_pretty(object).unwrap_or_default(),
            None => String::new(),
        };
        let (before, after) = (text(expected), text(found));
        let diff = similar::TextDiff::from_lines(&before, &after);
        format!("{name}:\n{}", diff.unified_diff().context_radius(3))
    });
    told.collect::<Vec<_>>().join("\n")
}
