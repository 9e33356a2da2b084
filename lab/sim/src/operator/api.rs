//! The API server, as far as one resource needs it: UIDs, resource versions, generations, ownership.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use quorate_engine::Failure;
use quorate_model::{Change, Rules, adopt, sync};
use quorate_plan::{OWNER_UID, Object};
use serde_json::{Value, json};

#[derive(Debug, Default)]
pub(super) struct Api {
    serial: u64,
    rules: Rules,
    pub resource: Option<Value>,
    pub set: Option<StatefulSet>,
    revisions: Vec<ControllerRevision>,
    pub pods: BTreeMap<String, Pod>,
    pub claims: BTreeMap<String, PersistentVolumeClaim>,
    objects: BTreeMap<(&'static str, String), Object>,
    /// UIDs of pods that a person took away from whoever owned them.
    freed: BTreeSet<String>,
    /// Something changed that the StatefulSet's controller has not looked at.
    pub touched: bool,
}

impl Api {
    pub fn new(rules: Rules) -> Self {
        Api {
            rules,
            ..Api::default()
        }
    }

    pub fn serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Makes the resource anew, under another UID than any before it.
    pub fn create_resource(&mut self, name: &str, spec: Value, now: Timestamp) {
        let (uid, version) = (format!("resource-{}", self.serial()), self.serial());
        self.resource = Some(json!({
            "apiVersion": "quorate.dev/v1alpha1",
            "kind": super::kind().names().kind,
            "metadata": {
                "name": name, "namespace": "default", "uid": uid, "generation": 1,
                "resourceVersion": version.to_string(), "creationTimestamp": now.to_string(),
            },
            "spec": spec,
        }));
    }

    pub fn resource_uid(&self) -> &str {
        self.resource
            .as_ref()
            .and_then(|resource| resource.pointer("/metadata/uid")?.as_str())
            .unwrap_or_default()
    }

    /// A user's edit.
    pub fn edit_spec(&mut self, spec: Value) {
        let version = self.serial().to_string();
        if let Some(resource) = &mut self.resource {
            resource["spec"] = spec;
            resource["metadata"]["generation"] =
                json!(resource["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
            resource["metadata"]["resourceVersion"] = json!(version);
        }
    }

    pub fn set_status(&mut self, status: Value) -> String {
        let version = self.serial().to_string();
        if let Some(resource) = &mut self.resource {
            resource["status"] = status;
            resource["metadata"]["resourceVersion"] = json!(version);
        }
        version
    }

    pub fn apply(
        &mut self,
        object: Object,
        seen: Option<(&str, &str)>,
        now: Timestamp,
    ) -> Result<Object, Failure> {
        match object {
            Object::StatefulSet(set) => self.apply_set(set, seen, now).map(Object::StatefulSet),
            other => {
                let key = (other.kind(), other.name().to_owned());
                if self.objects.get(&key) != Some(&other) {
                    self.objects.insert(key, other.clone());
                }
                Ok(other)
            }
        }
    }

    fn apply_set(
        &mut self,
        wanted: StatefulSet,
        seen: Option<(&str, &str)>,
        now: Timestamp,
    ) -> Result<StatefulSet, Failure> {
        let name = wanted.metadata.name.clone().unwrap_or_default();
        let (uid, version) = (format!("set-{}", self.serial()), self.serial().to_string());
        let Some(living) = &mut self.set else {
            if seen.is_some() {
                return Err(Failure::Conflict(name));
            }
            let mut made = wanted;
            made.metadata.uid = Some(uid);
            made.metadata.resource_version = Some(version);
            made.metadata.generation = Some(1);
            made.metadata.creation_timestamp = Some(Time(now));
            self.touched = true;
            self.revisions.clear();
            return Ok(self.set.insert(made).clone());
        };
        if living.metadata.owner_references != wanted.metadata.owner_references {
            return Err(Failure::Foreign(name));
        }
        let is = (
            living.metadata.uid.as_deref().unwrap_or_default(),
            living
                .metadata
                .resource_version
                .as_deref()
                .unwrap_or_default(),
        );
        if seen != Some(is) {
            return Err(Failure::Conflict(name));
        }
        if living.spec != wanted.spec || living.metadata.annotations != wanted.metadata.annotations
        {
            let generation =
                living.metadata.generation.unwrap_or(0) + i64::from(living.spec != wanted.spec);
            living.spec = wanted.spec;
            living.metadata.annotations = wanted.metadata.annotations;
            living.metadata.generation = Some(generation);
            living.metadata.resource_version = Some(version);
            self.touched = true;
        }
        Ok(living.clone())
    }

    /// Takes the StatefulSet away from its pods.
    pub fn orphan_set(&mut self, uid: &str) -> bool {
        let is_it = |set: &StatefulSet| set.metadata.uid.as_deref() == Some(uid);
        let found = self.set.take_if(|set| is_it(set)).is_some();
        for pod in self.pods.values_mut().filter(|_| found) {
            let owners = pod.metadata.owner_references.get_or_insert_default();
            owners.retain(|owner| owner.uid != uid);
        }
        found
    }

    /// The same by somebody else's hand.
    pub fn orphan_set_by_hand(&mut self, uid: &str) {
        self.orphan_set(uid);
        let free = self.pods.values().filter(|pod| is_free(&pod.metadata));
        let uids = free.filter_map(|pod| pod.metadata.uid.clone());
        self.freed.extend(uids);
        self.touched = true;
    }

    /// Raises what a claim requests; its capacity follows.
    pub fn grow_claim(&mut self, name: &str, uid: &str, size: &str) -> bool {
        let claim = self.claims.get_mut(name);
        let claim = claim.filter(|claim| claim.metadata.uid.as_deref() == Some(uid));
        let spec = claim.and_then(|claim| claim.spec.as_mut());
        let resources = spec.map(|spec| spec.resources.get_or_insert_default());
        let requests = resources.map(|resources| resources.requests.get_or_insert_default());
        self.touched |= requests.is_some();
        requests
            .map(|requests| requests.insert("storage".into(), Quantity(size.into())))
            .is_some()
    }

    /// Somebody else's hand on the StatefulSet.
    pub fn scale_set_by_hand(&mut self, replicas: i32) {
        let version = self.serial().to_string();
        if let Some(set) = &mut self.set
            && let Some(spec) = &mut set.spec
        {
            spec.replicas = Some(replicas);
            set.metadata.generation = set.metadata.generation.map(|generation| generation + 1);
            set.metadata.resource_version = Some(version);
            self.touched = true;
        }
    }

    /// One round of the StatefulSet's controller.
    ///
    /// # Errors
    /// When the builders make a set that the model does not follow.
    pub fn control(&mut self, now: Timestamp) -> Result<(), String> {
        let Some(set) = &self.set else { return Ok(()) };
        for pod in self.pods.values_mut() {
            adopt(set, pod);
        }
        for claim in self.claims.values_mut() {
            let status = claim.status.get_or_insert_default();
            status.phase = Some("Bound".into());
            let spec = claim.spec.as_ref();
            status.capacity = spec.and_then(|spec| spec.resources.as_ref()?.requests.clone());
        }
        let outcome = sync(
            self.rules,
            set,
            &self.revisions,
            &self.pods,
            &self.claims,
            now,
        )
        .map_err(|error| error.to_string())?;
        self.revisions = outcome.revisions;
        self.touched = !outcome.changes.is_empty();
        let version = self.serial().to_string();
        if let Some(set) = &mut self.set
            && set.status.as_ref() != Some(&outcome.status)
        {
            set.status = Some(outcome.status);
            set.metadata.resource_version = Some(version);
        }
        for change in outcome.changes {
            let uid = self.serial().to_string();
            let born = |metadata: &mut ObjectMeta, what: &str| {
                metadata.uid = Some(format!("{what}-{uid}"));
                metadata.creation_timestamp = Some(Time(now));
                metadata.name.clone().unwrap_or_default()
            };
            match change {
                Change::CreateClaim(mut claim) => {
                    self.claims
                        .insert(born(&mut claim.metadata, "claim"), claim);
                }
                Change::UpdateClaim(claim) => {
                    self.claims
                        .insert(claim.metadata.name.clone().unwrap_or_default(), claim);
                }
                Change::CreatePod(mut pod) => {
                    self.pods.insert(born(&mut pod.metadata, "pod"), *pod);
                }
                Change::DeletePod { name, uid } => {
                    self.delete_pod(&name, &uid, now);
                }
            }
        }
        Ok(())
    }

    /// Begins the deletion of a pod; its kubelet takes it away.
    pub fn delete_pod(&mut self, name: &str, uid: &str, now: Timestamp) -> bool {
        let pod = self
            .pods
            .get_mut(name)
            .filter(|pod| pod.metadata.uid.as_deref() == Some(uid));
        let Some(pod) = pod else { return false };
        pod.metadata.deletion_timestamp.get_or_insert(Time(now));
        self.touched = true;
        true
    }

    /// Begins the deletion of a claim; it goes when no pod mounts it any more.
    pub fn delete_claim(&mut self, name: &str, uid: &str, now: Timestamp) -> bool {
        let claim = self
            .claims
            .get_mut(name)
            .filter(|claim| claim.metadata.uid.as_deref() == Some(uid));
        let Some(claim) = claim else { return false };
        claim.metadata.deletion_timestamp.get_or_insert(Time(now));
        self.touched = true;
        true
    }

    /// Whether the resource had a StatefulSet before.
    pub fn has_own_claims(&self) -> bool {
        let uid = self.resource_uid();
        let labels = self.claims.values().map(|claim| &claim.metadata.labels);
        let mut labels = labels.flat_map(|labels| labels.iter().flatten());
        labels.any(|(key, value)| key == OWNER_UID && value == uid)
    }

    /// Everything that the resource owned goes with it; pods that a person took from their owner a person deletes.
    pub fn collect_garbage(&mut self, uid: &str, now: Timestamp) {
        let owned = |metadata: &ObjectMeta| {
            metadata
                .owner_references
                .iter()
                .flatten()
                .any(|owner| owner.uid == uid)
        };
        let set = self.set.take().and_then(|set| set.metadata.uid);
        let of_set = |metadata: &ObjectMeta| {
            let mut owners = metadata.owner_references.iter().flatten();
            owners.any(|owner| Some(&owner.uid) == set.as_ref())
        };
        self.objects.clear();
        self.revisions.clear();
        for pod in self.pods.values_mut() {
            let uid = pod.metadata.uid.as_ref();
            let is_freed =
                is_free(&pod.metadata) && uid.is_some_and(|uid| self.freed.contains(uid));
            if !is_freed && !of_set(&pod.metadata) && !owned(&pod.metadata) {
                continue;
            }
            pod.metadata.deletion_timestamp.get_or_insert(Time(now));
        }
        for claim in self
            .claims
            .values_mut()
            .filter(|claim| owned(&claim.metadata))
        {
            claim.metadata.deletion_timestamp.get_or_insert(Time(now));
        }
    }

    pub fn is_clean(&self) -> bool {
        self.set.is_none() && self.pods.is_empty() && self.objects.is_empty()
    }
}

fn is_free(metadata: &ObjectMeta) -> bool {
    let owners = metadata.owner_references.as_ref();
    owners.is_none_or(Vec::is_empty)
}
