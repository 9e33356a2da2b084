//! The controllers of this machine: StatefulSets by the pure model, claims, names, and what nobody owns any more.

use std::collections::BTreeMap;
use std::fs;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Service};
use quorate_model::{Change, Rules};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::blueprint::address;
use crate::node::{CLUSTER_DOMAIN, Node, is_owned_by};
use crate::state_dir::{Durability, replace_file};
use crate::store::{ObjectKey, StoreError};

/// The annotation that says where a claim's data lies.
pub(crate) const FOLDER: &str = "quorate.dev/folder";

/// One round of everything. What it changes calls for another round, until nothing does.
pub(crate) fn control(node: &Node) {
    for set in node.store.list("statefulsets", None) {
        if let Err(error) = sync_set(node, &set) {
            node.notify_once(format!(
                "StatefulSet {}: {error}",
                set["metadata"]["name"].as_str().unwrap_or_default()
            ));
        }
    }
    for (key, uid) in node.store.orphans() {
        // Conflict and not found: it changed under our hands, and the next round sees it as it is.
        let _ = node.store.delete(&key, Some(&uid));
    }
    finish_claims(node);
    if let Err(error) = publish_names(node) {
        node.notify_once(format!("the members' table of names: {error}"));
    }
}

fn sync_set(node: &Node, object: &Value) -> anyhow::Result<()> {
    let set: StatefulSet = serde_json::from_value(object.clone())?;
    let (namespace, name, uid) = identity(object);
    adopt(node, namespace, &set)?;
    let owned = |plural: &str| {
        node.store
            .list(plural, Some(namespace))
            .into_iter()
            .filter(|object| is_owned_by(object, uid))
            .collect()
    };
    let revisions: Vec<ControllerRevision> = typed(owned("controllerrevisions"));
    let pods: BTreeMap<String, Pod> = named(owned("pods"));
    let claims: BTreeMap<String, PersistentVolumeClaim> =
        named(node.store.list("persistentvolumeclaims", Some(namespace)));
    let outcome = quorate_model::sync(
        Rules::default(),
        &set,
        &revisions,
        &pods,
        &claims,
        Timestamp::now(),
    )?;
    keep_revisions(node, namespace, &revisions, &outcome.revisions)?;
    for change in outcome.changes {
        match carry_out(node, namespace, change) {
            // The next round sees the object as it is.
            Err(error) if error.downcast_ref::<StoreError>().is_some_and(is_race) => {}
            other => other?,
        }
    }
    let status = serde_json::to_value(outcome.status)?;
    let key = ObjectKey::new("statefulsets", namespace, name);
    match node
        .store
        .edit(&key, Some(uid), None, |set| set["status"] = status)
    {
        Err(error) if !is_race(&error) => Err(error.into()),
        _ => Ok(()),
    }
}

/// Pods that a StatefulSet of the same name left.
fn adopt(node: &Node, namespace: &str, set: &StatefulSet) -> Result<(), StoreError> {
    let mut free = node.store.list("pods", Some(namespace));
    free.retain(|pod| {
        let owners = pod["metadata"]["ownerReferences"].as_array();
        let mut owners = owners.into_iter().flatten();
        !owners.any(|owner| owner["controller"] == true)
    });
    for (name, mut pod) in named::<Pod>(free) {
        if quorate_model::adopt(set, &mut pod) {
            let key = ObjectKey::new("pods", namespace, &name);
            let owners = json!(pod.metadata.owner_references);
            let adopted = node
                .store
                .edit(&key, pod.metadata.uid.as_deref(), None, |pod| {
                    pod["metadata"]["ownerReferences"] = owners;
                });
            match adopted {
                Err(error) if !is_race(&error) => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Takes a StatefulSet away and leaves its pods to whoever owns them beside it.
pub(crate) fn orphan_set(
    node: &Node,
    namespace: &str,
    name: &str,
    uid: &str,
) -> Result<(), StoreError> {
    for pod in node.store.list("pods", Some(namespace)) {
        if is_owned_by(&pod, uid) {
            let key = ObjectKey::of("pods", &pod)?;
            node.store.edit(&key, None, None, |pod| {
                if let Some(owners) = pod["metadata"]["ownerReferences"].as_array_mut() {
                    owners.retain(|owner| owner["uid"] != uid);
                }
            })?;
        }
    }
    // Its revisions are collected with it; the next one's have the same names, which come from the template.
    let key = ObjectKey::new("statefulsets", namespace, name);
    node.store.remove(&key, Some(uid)).map(drop)
}

fn is_race(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Exists(_) | StoreError::NotFound(_) | StoreError::Conflict(_)
    )
}

/// Every revision is kept before a pod is made from it.
fn keep_revisions(
    node: &Node,
    namespace: &str,
    old: &[ControllerRevision],
    new: &[ControllerRevision],
) -> anyhow::Result<()> {
    let find = |revisions: &[ControllerRevision], name: &Option<String>| {
        revisions.iter().find(|r| &r.metadata.name == name).cloned()
    };
    for revision in new {
        match find(old, &revision.metadata.name) {
            None => drop(
                node.store
                    .create("controllerrevisions", serde_json::to_value(revision)?)?,
            ),
            Some(old) if old != *revision => drop(
                node.store
                    .replace("controllerrevisions", serde_json::to_value(revision)?)?,
            ),
            Some(_) => {}
        }
    }
    for gone in old
        .iter()
        .filter(|revision| find(new, &revision.metadata.name).is_none())
    {
        let name = gone.metadata.name.as_deref().unwrap_or_default();
        node.store.remove(
            &ObjectKey::new("controllerrevisions", namespace, name),
            gone.metadata.uid.as_deref(),
        )?;
    }
    Ok(())
}

fn carry_out(node: &Node, namespace: &str, change: Change) -> anyhow::Result<()> {
    match change {
        Change::CreateClaim(claim) => {
            let mut claim = serde_json::to_value(claim)?;
            let name = claim["metadata"]["name"].as_str().unwrap_or_default();
            claim["metadata"]["annotations"][FOLDER] = json!(node.dir.volume(namespace, name));
            claim["status"] = json!({ "phase": "Bound" });
            node.store.create("persistentvolumeclaims", claim)?;
        }
        Change::UpdateClaim(claim) => drop(
            node.store
                .replace("persistentvolumeclaims", serde_json::to_value(claim)?)?,
        ),
        Change::CreatePod(pod) => {
            let mut pod = serde_json::to_value(pod)?;
            let address = node.assign_address(
                namespace,
                pod["metadata"]["name"].as_str().unwrap_or_default(),
            )?;
            pod["status"] = json!({ "phase": "Pending", "podIP": address, "podIPs": [{ "ip": address }], "hostIP": "127.0.0.1" });
            node.store.create("pods", pod)?;
        }
        Change::DeletePod { name, uid } => node
            .store
            .delete(&ObjectKey::new("pods", namespace, &name), Some(&uid))?,
    }
    Ok(())
}

/// Claims go when no pod uses them any more: first the data, then the object, so that a claim that is gone has left
/// nothing behind.
fn finish_claims(node: &Node) {
    let claims = node.store.list("persistentvolumeclaims", None);
    let going: Vec<_> = claims
        .iter()
        .filter(|claim| !claim["metadata"]["deletionTimestamp"].is_null())
        .collect();
    if going.is_empty() {
        return;
    }
    let pods = node.store.list("pods", None);
    for claim in going {
        let (namespace, name, uid) = identity(claim);
        let used = pods
            .iter()
            .filter(|pod| pod["metadata"]["namespace"] == namespace)
            .any(|pod| {
                let volumes = pod["spec"]["volumes"].as_array();
                volumes
                    .into_iter()
                    .flatten()
                    .any(|volume| volume["persistentVolumeClaim"]["claimName"] == name)
            });
        if used {
            continue;
        }
        let folder = node.dir.volume(namespace, name);
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                node.notify_once(format!(
                    "claim {name}: cannot remove {}: {error}; remove it yourself",
                    folder.display()
                ));
            }
            _ => drop(node.store.remove(
                &ObjectKey::new("persistentvolumeclaims", namespace, name),
                Some(uid),
            )),
        }
    }
}

/// `IP NAME` lines for the pods behind each headless Service, as the cluster's DNS would answer.
fn publish_names(node: &Node) -> anyhow::Result<()> {
    let pods: Vec<Pod> = node.store.list_as("pods", None);
    let mut names = BTreeMap::new();
    for service in node.store.list_as::<Service>("services", None) {
        names.extend(names_of(&service, &pods));
    }
    if node.hosts.replace(names.clone()) {
        let lines: String = names
            .iter()
            .map(|(name, address)| format!("{address} {name}\n"))
            .collect();
        replace_file(
            &node.dir.hosts_file(),
            lines.as_bytes(),
            Durability::Process,
        )?;
    }
    Ok(())
}

fn names_of(service: &Service, pods: &[Pod]) -> Vec<(String, std::net::Ipv4Addr)> {
    let Some(spec) = service
        .spec
        .as_ref()
        .filter(|spec| spec.cluster_ip.as_deref() == Some("None"))
    else {
        return Vec::new();
    };
    let (Some(name), Some(namespace), Some(selector)) = (
        &service.metadata.name,
        &service.metadata.namespace,
        &spec.selector,
    ) else {
        return Vec::new();
    };
    let domain = format!("{name}.{namespace}.svc.{CLUSTER_DOMAIN}");
    let all = spec.publish_not_ready_addresses == Some(true);
    let behind = pods.iter().filter(|pod| {
        let labels = pod.metadata.labels.as_ref();
        let selected = selector
            .iter()
            .all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value));
        selected
            && pod.metadata.namespace.as_ref() == Some(namespace)
            && (all || quorate_model::is_ready(pod))
    });
    let named = behind.filter(|pod| {
        pod.spec
            .as_ref()
            .is_some_and(|spec| spec.subdomain.as_ref() == Some(name))
    });
    named
        .filter_map(|pod| {
            Some((
                format!("{}.{domain}", pod.spec.as_ref()?.hostname.as_deref()?),
                address(pod)?,
            ))
        })
        .collect()
}

fn identity(object: &Value) -> (&str, &str, &str) {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    (text("namespace"), text("name"), text("uid"))
}

fn typed<T: DeserializeOwned>(objects: Vec<Value>) -> Vec<T> {
    objects
        .into_iter()
        .filter_map(|object| serde_json::from_value(object).ok())
        .collect()
}

/// Typed objects by name.
pub(crate) fn named<T: DeserializeOwned>(objects: Vec<Value>) -> BTreeMap<String, T> {
    let name = |object: &Value| {
        object["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    objects
        .into_iter()
        .filter_map(|object| Some((name(&object), serde_json::from_value(object).ok()?)))
        .collect()
}
