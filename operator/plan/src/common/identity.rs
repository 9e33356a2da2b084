//! Whose an object is: names, labels and the owner reference.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use kube::core::Resource;
use serde_json::{Value, json};

use super::check::Faults;
use crate::pool::{KindNames, PoolName};

/// Label of claims and pods: the UID of the resource that they were made for. An earlier resource of the same name left
/// the others behind.
pub const OWNER_UID: &str = "quorate.dev/owner-uid";

/// Annotation of pods: a digest of the members' configuration file, so that a change of it is a new revision.
pub const CONFIG_HASH: &str = "quorate.dev/config-hash";

/// Label of objects: the kind of the resource, as `raft-cluster`.
pub const APP: &str = "app.kubernetes.io/name";

/// Label of objects: the resource's name. Two resources of different kinds may have the same.
pub const INSTANCE: &str = "app.kubernetes.io/instance";

/// What the StatefulSet of a pool is called.
pub(crate) fn set_name(resource: &str, kind: KindNames, pool: PoolName) -> String {
    let tags = [kind.tag, pool.tag].into_iter();
    tags.filter(|tag| !tag.is_empty())
        .fold(resource.to_owned(), |name, tag| format!("{name}-{tag}"))
}

/// The resource that objects are made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    api_version: String,
    kind: String,
    names: KindNames,
    name: String,
    namespace: String,
    uid: String,
}

impl Identity {
    /// Checks the metadata of a resource.
    pub(crate) fn checked<K: Resource<DynamicType = ()>>(
        names: KindNames,
        meta: &ObjectMeta,
        faults: &mut Faults,
    ) -> Self {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let (name, uid) = (text(&meta.name), text(&meta.uid));
        faults.metadata("metadata", meta);
        if uid.is_empty() {
            faults.add(
                "metadata.uid",
                "is missing: the host gives one to a resource before it works on it",
            );
        }
        Self {
            api_version: K::api_version(&()).into_owned(),
            kind: K::kind(&()).into_owned(),
            names,
            name,
            namespace: meta.namespace.clone().unwrap_or_else(|| "default".into()),
            uid,
        }
    }

    /// The StatefulSet of a pool.
    pub(crate) fn set(&self, pool: PoolName) -> String {
        set_name(&self.name, self.names, pool)
    }

    /// The resource's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it and its objects live.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The UID, by which members know their cluster.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// What selects the pods of a pool, for all time: a StatefulSet cannot change its selector.
    pub fn selector(&self, component: &str) -> BTreeMap<String, String> {
        [
            (APP, self.names.app),
            (INSTANCE, &self.name),
            ("app.kubernetes.io/component", component),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
    }

    /// What selects the pods of all pools.
    pub(crate) fn all(&self) -> BTreeMap<String, String> {
        [(APP, self.names.app), (INSTANCE, &self.name)]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    }

    /// The labels of an object: those that select, and who manages it.
    pub(crate) fn labels(&self, component: &str) -> BTreeMap<String, String> {
        let mut labels = self.selector(component);
        labels.insert("app.kubernetes.io/managed-by".into(), "quorate".into());
        labels
    }

    /// The metadata of an object of this name.
    pub(crate) fn meta(&self, name: String, component: &str) -> ObjectMeta {
        ObjectMeta {
            name: Some(name),
            namespace: Some(self.namespace.clone()),
            labels: Some(self.labels(component)),
            owner_references: Some(vec![self.owner_reference()]),
            ..ObjectMeta::default()
        }
    }

    /// What makes an object go when the resource goes.
    pub fn owner_reference(&self) -> OwnerReference {
        OwnerReference {
            api_version: self.api_version.clone(),
            kind: self.kind.clone(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }
    }
}

/// What makes an object go when this resource goes, of whatever kind it is.
pub fn owner_reference(resource: &Value) -> Value {
    json!({
        "apiVersion": resource["apiVersion"],
        "kind": resource["kind"],
        "name": resource["metadata"]["name"],
        "uid": resource["metadata"]["uid"],
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// The same for a pod, which has a controller beside the resource.
pub fn co_owner_reference(resource: &Value) -> Value {
    let mut owner = owner_reference(resource);
    owner["controller"] = json!(false);
    owner["blockOwnerDeletion"] = json!(false);
    owner
}

/// Whether a pod is one of the resource with the UID `owner`, whose StatefulSets are these: by its label, with which it
/// stays known when another hand takes its StatefulSet away; or by an owner, when another hand took the label.
pub fn is_pod_of(pod: &Pod, owner: &str, sets: &BTreeMap<String, StatefulSet>) -> bool {
    let labels = pod.metadata.labels.as_ref();
    let is_marked = labels
        .and_then(|labels| labels.get(OWNER_UID))
        .is_some_and(|uid| uid == owner);
    let sets = sets.values().filter_map(|set| set.metadata.uid.as_deref());
    let owners: Vec<&str> = sets.chain([owner]).collect();
    let mut named = pod.metadata.owner_references.iter().flatten();
    is_marked || named.any(|named| owners.contains(&named.uid.as_str()))
}

/// A selector by labels alone.
pub(crate) fn matching(labels: BTreeMap<String, String>) -> LabelSelector {
    LabelSelector {
        match_labels: Some(labels),
        match_expressions: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_known_by_its_label_or_by_an_owner() {
        let pod = |uid: &str, owner: &str| -> Pod {
            let owner = json!({ "apiVersion": "v1", "kind": "K", "name": "n", "uid": owner });
            let metadata = json!({ "labels": { OWNER_UID: uid }, "ownerReferences": [owner] });
            serde_json::from_value(json!({ "metadata": metadata })).unwrap()
        };
        let set = json!({ "metadata": { "uid": "set" } });
        let sets = [("demo".to_owned(), serde_json::from_value(set).unwrap())].into();
        for (uid, owner, is_ours) in [
            ("demo", "gone", true),
            ("other", "set", true),
            ("other", "demo", true),
            ("other", "gone", false),
        ] {
            let found = is_pod_of(&pod(uid, owner), "demo", &sets);
            assert_eq!(found, is_ours, "{uid} {owner}");
        }
    }
}
