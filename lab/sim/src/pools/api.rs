//! The API server, as far as a resource with several StatefulSets needs it.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use quorate_engine::Failure;
use quorate_model::{Change, Rules, is_terminating, ordinal, sync};
use quorate_plan::Object;
use serde_json::{Value, json};

#[derive(Clone, Debug, Default)]
pub(super) struct Api {
    serial: u64,
    pub rules: Rules,
    /// Null once it is gone.
    pub resource: Value,
    /// Every other object that the resource owns, by kind and name.
    pub objects: BTreeMap<(&'static str, String), Object>,
    pub sets: BTreeMap<String, StatefulSet>,
    revisions: BTreeMap<String, Vec<ControllerRevision>>,
    pub pods: BTreeMap<String, Pod>,
    pub claims: BTreeMap<String, PersistentVolumeClaim>,
}

/// The StatefulSet in a pod's name.
pub(super) fn set_of(pod: &str) -> &str {
    pod.rsplit_once('-').map_or(pod, |(set, _)| set)
}

impl Api {
    fn serial(&mut self) -> String {
        self.serial += 1;
        self.serial.to_string()
    }

    /// A user's edit, or the first spec.
    pub fn edit_spec(&mut self, spec: Value) {
        let version = self.serial();
        let generation = self.generation() + 1;
        self.resource["spec"] = spec;
        self.resource["metadata"]["generation"] = json!(generation);
        self.resource["metadata"]["resourceVersion"] = json!(version);
    }

    pub fn generation(&self) -> i64 {
        let generation = self.resource["metadata"]["generation"].as_i64();
        generation.unwrap_or(0)
    }

    pub fn set_status(&mut self, status: Value) -> String {
        let version = self.serial();
        self.resource["status"] = status;
        self.resource["metadata"]["resourceVersion"] = json!(version);
        version
    }

    /// Whether nothing would be written.
    pub fn is_applied(&self, wanted: &Object) -> bool {
        let Object::StatefulSet(set) = wanted else {
            let key = (wanted.kind(), wanted.name().to_owned());
            return self.objects.get(&key) == Some(wanted);
        };
        let living = self.sets.get(wanted.name());
        living.is_some_and(|living| is_as(living, set))
    }

    /// Only where it is still what was seen.
    pub fn apply(
        &mut self,
        wanted: StatefulSet,
        seen: Option<&str>,
        now: Timestamp,
    ) -> Result<StatefulSet, Failure> {
        let name = wanted.metadata.name.clone().unwrap_or_default();
        let version = self.serial();
        let living = self.sets.get(&name);
        if living.and_then(|set| set.metadata.resource_version.as_deref()) != seen {
            return Err(Failure::Conflict(name));
        }
        let mut made = wanted;
        let (metadata, generation) = match living {
            Some(living) => {
                let changed = living.spec != made.spec;
                if is_as(living, &made) {
                    return Ok(living.clone());
                }
                made.status.clone_from(&living.status);
                let generation = living.metadata.generation.unwrap_or(0) + i64::from(changed);
                (living.metadata.clone(), generation)
            }
            None => {
                let fresh = ObjectMeta {
                    uid: Some(format!("set-{version}")),
                    creation_timestamp: Some(Time(now)),
                    ..made.metadata.clone()
                };
                (fresh, 1)
            }
        };
        made.metadata = ObjectMeta {
            annotations: made.metadata.annotations,
            labels: made.metadata.labels,
            generation: Some(generation),
            resource_version: Some(version),
            ..metadata
        };
        self.sets.insert(name, made.clone());
        Ok(made)
    }

    /// One round of the controller for one StatefulSet: the pods that it deletes are left to the caller.
    ///
    /// # Errors
    /// When the builders make a set that the model does not follow.
    pub fn control(&mut self, name: &str, now: Timestamp) -> Result<Vec<String>, String> {
        let Some(set) = self.sets.get(name).cloned() else {
            return Ok(Vec::new());
        };
        let own = |pod: &str| ordinal(name, pod).is_some();
        let pods = self.pods.iter().filter(|(pod, _)| own(pod));
        let pods = pods
            .map(|(pod, object)| (pod.clone(), object.clone()))
            .collect();
        let revisions = self.revisions.entry(name.to_owned()).or_default();
        let outcome = sync(self.rules, &set, revisions, &pods, &self.claims, now)
            .map_err(|error| error.to_string())?;
        *revisions = outcome.revisions;
        let version = self.serial();
        if let Some(living) = self.sets.get_mut(name)
            && living.status.as_ref() != Some(&outcome.status)
        {
            living.status = Some(outcome.status);
            living.metadata.resource_version = Some(version);
        }
        let mut deleted = Vec::new();
        for change in outcome.changes {
            let uid = self.serial();
            let born = |metadata: &mut ObjectMeta, what: &str| {
                metadata.uid = Some(format!("{what}-{uid}"));
                metadata.creation_timestamp = Some(Time(now));
                metadata.name.clone().unwrap_or_default()
            };
            match change {
                Change::CreateClaim(mut claim) => {
                    let name = born(&mut claim.metadata, "claim");
                    self.claims.insert(name, claim);
                }
                Change::CreatePod(mut pod) => {
                    self.pods.insert(born(&mut pod.metadata, "pod"), *pod);
                }
                Change::DeletePod { name, .. } => deleted.push(name),
                Change::UpdateClaim(_) => {}
            }
        }
        Ok(deleted)
    }

    /// Begins the deletion of a pod; its kubelet takes it away.
    pub fn delete_pod(&mut self, name: &str, now: Timestamp) {
        if let Some(pod) = self.pods.get_mut(name) {
            pod.metadata.deletion_timestamp.get_or_insert(Time(now));
        }
    }

    /// Somebody deletes the resource.
    pub fn delete_resource(&mut self, now: Timestamp) {
        let version = self.serial();
        self.resource["metadata"]["deletionTimestamp"] = json!(Time(now));
        self.resource["metadata"]["resourceVersion"] = json!(version);
    }

    pub fn is_deleting(&self) -> bool {
        self.resource.is_null() || !self.resource["metadata"]["deletionTimestamp"].is_null()
    }

    /// What a resource that is being deleted owns goes, its pods by and by, and then the resource itself. The pods that are to
    /// stop.
    pub fn collect_garbage(&mut self, now: Timestamp) -> Vec<String> {
        let uid = self.resource["metadata"]["uid"].as_str();
        let uid = uid.unwrap_or_default().to_owned();
        self.objects.clear();
        self.sets.clear();
        self.revisions.clear();
        for claim in self.claims.values_mut() {
            let mut owners = claim.metadata.owner_references.iter().flatten();
            if owners.any(|owner| owner.uid == uid) {
                claim.metadata.deletion_timestamp.get_or_insert(Time(now));
            }
        }
        if self.pods.is_empty() {
            self.resource = Value::Null;
        }
        let stay = self.pods.iter().filter(|(_, pod)| !is_terminating(pod));
        stay.map(|(name, _)| name.clone()).collect()
    }

    /// Claims whose deletion was asked for go with their pods; their UIDs.
    pub fn release_claims(&mut self) -> Vec<String> {
        let pods = &self.pods;
        let gone = self.claims.extract_if(.., |name, claim| {
            let pod = name.strip_prefix("data-").unwrap_or_default();
            claim.metadata.deletion_timestamp.is_some() && !pods.contains_key(pod)
        });
        gone.filter_map(|(_, claim)| claim.metadata.uid).collect()
    }
}

/// Whether a living set is what is wanted, as far as anybody would write.
fn is_as(living: &StatefulSet, wanted: &StatefulSet) -> bool {
    let (is, shall) = (&living.metadata, &wanted.metadata);
    living.spec == wanted.spec && is.annotations == shall.annotations && is.labels == shall.labels
}
