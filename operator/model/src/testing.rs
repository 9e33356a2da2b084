//! A host just large enough to see the model's rounds through.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use crate::{Change, Rules, sync};

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

pub(crate) fn partition(mut set: StatefulSet, partition: i32) -> StatefulSet {
    set.spec.as_mut().unwrap().update_strategy = serde_json::from_value(
        json!({ "type": "RollingUpdate", "rollingUpdate": { "partition": partition } }),
    )
    .unwrap();
    set
}

pub(crate) struct World {
    rules: Rules,
    pub(crate) set: StatefulSet,
    revisions: Vec<ControllerRevision>,
    pub(crate) pods: BTreeMap<String, Pod>,
    pub(crate) claims: BTreeMap<String, PersistentVolumeClaim>,
    /// In seconds; every pod became ready at 0.
    pub(crate) now: i64,
    uids: u32,
}

impl World {
    pub(crate) fn new(rules: Rules, set: StatefulSet) -> Self {
        World {
            rules,
            set,
            revisions: Vec::new(),
            pods: BTreeMap::new(),
            claims: BTreeMap::new(),
            now: 0,
            uids: 0,
        }
    }

    pub(crate) fn running(rules: Rules, set: StatefulSet) -> Self {
        let mut world = World::new(rules, set);
        world.settle();
        world
    }

    /// One round, its changes carried out at once.
    pub(crate) fn round(&mut self) {
        let outcome = sync(
            self.rules,
            &self.set,
            &self.revisions,
            &self.pods,
            &self.claims,
            Timestamp::from_second(self.now).unwrap(),
        )
        .unwrap();
        self.revisions = outcome.revisions;
        self.set.status = Some(outcome.status);
        for change in outcome.changes {
            self.uids += 1;
            let uid = Some(self.uids.to_string());
            match change {
                Change::CreatePod(mut pod) => {
                    pod.metadata.uid = uid;
                    self.pods.insert(pod.metadata.name.clone().unwrap(), *pod);
                }
                Change::CreateClaim(mut claim) => {
                    claim.metadata.uid = uid;
                    self.claims
                        .insert(claim.metadata.name.clone().unwrap(), claim);
                }
                Change::UpdateClaim(claim) => {
                    self.claims
                        .insert(claim.metadata.name.clone().unwrap(), claim);
                }
                Change::DeletePod { name, uid } => {
                    assert_eq!(self.pod_uid(&name), uid);
                    self.remove_pod(&name);
                }
            }
        }
    }

    /// Rounds until nothing moves any more; every pod becomes ready in between.
    pub(crate) fn settle(&mut self) {
        for _ in 0..20 {
            self.round();
            self.make_ready();
        }
    }

    pub(crate) fn make_ready(&mut self) {
        for pod in self.pods.values_mut() {
            pod.status = serde_json::from_value(
                json!({ "phase": "Running", "conditions": [
                    { "type": "Ready", "status": "True", "lastTransitionTime": "1970-01-01T00:00:00Z" }
                ] }),
            )
            .unwrap();
        }
    }

    pub(crate) fn make_unready(&mut self, pod: &str) {
        self.pods
            .get_mut(pod)
            .unwrap()
            .status
            .as_mut()
            .unwrap()
            .conditions = None;
    }

    pub(crate) fn remove_pod(&mut self, pod: &str) {
        self.pods.remove(pod).unwrap();
    }

    pub(crate) fn pod_uid(&self, pod: &str) -> String {
        self.pods[pod].metadata.uid.clone().unwrap()
    }

    /// The image of each pod, `-` where there is none.
    pub(crate) fn images(&self) -> Vec<String> {
        (0..self.set.spec.as_ref().unwrap().replicas.unwrap())
            .map(|ordinal| {
                let pod = self.pods.get(&format!("web-{ordinal}"))?;
                pod.spec.as_ref()?.containers.first()?.image.clone()
            })
            .map(|image| image.unwrap_or_else(|| "-".into()))
            .collect()
    }
}
