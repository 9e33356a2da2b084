//! A host just large enough to see the model's rounds through, and scripted traces for it.
#![allow(clippy::unwrap_used)]

mod trace;

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::jiff::Timestamp;
#[cfg(test)]
use serde_json::json;

use crate::{Change, Rules, sync};

pub use trace::{Edit, Replay, Step, TRACES, Trace, View, edit, is_ended, plain, status_of};

#[cfg(test)]
pub(crate) fn set(replicas: i32, image: &str) -> StatefulSet {
    serde_json::from_value(json!({
        "metadata": { "name": "web", "namespace": "default", "uid": "set", "generation": 1 },
        "spec": {
            "replicas": replicas,
            "serviceName": "web-peers",
            "podManagementPolicy": "Parallel",
            "selector": { "matchLabels": { "app": "web" } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": { "containers": [{ "name": "member", "image": image }] }
            },
            "volumeClaimTemplates": [{ "metadata": { "name": "data" } }]
        }
    }))
    .unwrap()
}

#[cfg(test)]
pub(crate) fn partition(mut set: StatefulSet, partition: i32) -> StatefulSet {
    set.spec.as_mut().unwrap().update_strategy = serde_json::from_value(
        json!({ "type": "RollingUpdate", "rollingUpdate": { "partition": partition } }),
    )
    .unwrap();
    set
}

/// The objects of one set, real or modelled.
#[derive(Clone, Debug)]
pub struct Objects {
    /// The set.
    pub set: StatefulSet,
    /// Its revisions.
    pub revisions: Vec<ControllerRevision>,
    /// Its pods by name.
    pub pods: BTreeMap<String, Pod>,
    /// Their claims by name.
    pub claims: BTreeMap<String, PersistentVolumeClaim>,
}

/// What the model says is carried out at once.
#[derive(Clone, Debug)]
pub struct World {
    rules: Rules,
    /// What there is.
    pub objects: Objects,
    /// In seconds; every pod became ready at 0.
    pub(crate) now: i64,
    uids: u32,
}

impl World {
    /// A set without a pod.
    pub fn new(rules: Rules, set: StatefulSet) -> Self {
        World {
            rules,
            objects: Objects {
                set,
                revisions: Vec::new(),
                pods: BTreeMap::new(),
                claims: BTreeMap::new(),
            },
            now: 0,
            uids: 0,
        }
    }

    #[cfg(test)]
    pub(crate) fn running(rules: Rules, set: StatefulSet) -> Self {
        let mut world = World::new(rules, set);
        world.settle();
        world
    }

    /// One round, its changes carried out at once; whether anything moved.
    pub fn round(&mut self) -> bool {
        let Objects {
            set,
            revisions,
            pods,
            claims,
        } = &mut self.objects;
        let now = Timestamp::from_second(self.now).unwrap();
        let outcome = sync(self.rules, set, revisions, pods, claims, now).unwrap();
        let moved = !outcome.changes.is_empty() || set.status.as_ref() != Some(&outcome.status);
        *revisions = outcome.revisions;
        set.status = Some(outcome.status);
        for change in outcome.changes {
            self.uids += 1;
            let uid = Some(self.uids.to_string());
            match change {
                Change::CreatePod(mut pod) => {
                    pod.metadata.uid = uid;
                    pods.insert(pod.metadata.name.clone().unwrap(), *pod);
                }
                Change::CreateClaim(mut claim) => {
                    claim.metadata.uid = uid;
                    claims.insert(claim.metadata.name.clone().unwrap(), claim);
                }
                Change::UpdateClaim(claim) => {
                    claims.insert(claim.metadata.name.clone().unwrap(), claim);
                }
                Change::DeletePod { name, uid } => {
                    let gone = pods.remove(&name).unwrap();
                    assert_eq!(gone.metadata.uid, Some(uid));
                }
            }
        }
        moved
    }
}

#[cfg(test)]
impl World {
    /// Rounds until nothing moves any more; every pod becomes ready in between.
    pub(crate) fn settle(&mut self) {
        for _ in 0..20 {
            self.round();
            self.make_ready();
        }
    }

    pub(crate) fn make_ready(&mut self) {
        for pod in self.objects.pods.values_mut() {
            pod.status = serde_json::from_value(
                json!({ "phase": "Running", "conditions": [
                    { "type": "Ready", "status": "True", "lastTransitionTime": "1970-01-01T00:00:00Z" }
                ] }),
            )
            .unwrap();
        }
    }

    pub(crate) fn make_unready(&mut self, pod: &str) {
        self.objects
            .pods
            .get_mut(pod)
            .unwrap()
            .status
            .as_mut()
            .unwrap()
            .conditions = None;
    }

    pub(crate) fn remove_pod(&mut self, pod: &str) {
        self.objects.pods.remove(pod).unwrap();
    }

    pub(crate) fn pod_uid(&self, pod: &str) -> String {
        self.objects.pods[pod].metadata.uid.clone().unwrap()
    }

    /// The image of each pod, `-` where there is none.
    pub(crate) fn images(&self) -> Vec<String> {
        (0..self.objects.set.spec.as_ref().unwrap().replicas.unwrap())
            .map(|ordinal| {
                let pod = self.objects.pods.get(&format!("web-{ordinal}"))?;
                pod.spec.as_ref()?.containers.first()?.image.clone()
            })
            .map(|image| image.unwrap_or_else(|| "-".into()))
            .collect()
    }
}
