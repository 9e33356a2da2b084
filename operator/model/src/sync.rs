//! One round of the StatefulSet controller.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{
    ControllerRevision, StatefulSet, StatefulSetSpec, StatefulSetStatus,
};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::jiff::Timestamp;

use crate::{claim, pod, revision};

/// What differs between releases of Kubernetes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// The feature gate `MaxUnavailableStatefulSet`, on by default since 1.35: an update then waits for any unavailable
    /// pod, those below the partition too, and never replaces an unavailable pod of the old revision itself
    /// (kubernetes#137409).
    pub max_unavailable_gate: bool,
}

/// One thing that the controller does.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Creates a claim.
    CreateClaim(PersistentVolumeClaim),
    /// Makes a pod the owner of its claim, so that both go together.
    UpdateClaim(PersistentVolumeClaim),
    /// Creates a pod.
    CreatePod(Box<Pod>),
    /// Deletes a pod, gracefully.
    DeletePod {
        /// Its name.
        name: String,
        /// The pod that was seen.
        uid: String,
    },
}

/// What came of a round.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// In this order.
    pub changes: Vec<Change>,
    /// To be written to the set.
    pub status: StatefulSetStatus,
    /// All revisions that are kept, in place of those that were given.
    pub revisions: Vec<ControllerRevision>,
}

/// A set that the model does not follow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is not supported here; use {instead}")]
pub struct Unsupported {
    /// The field's path.
    pub field: &'static str,
    /// What to write.
    pub instead: &'static str,
}

/// One round. `revisions`, `pods` and `claims` are those of the set; a pod that was just created by the host may have
/// no status yet. What the round changes is seen by the next one, when the host has carried it out. While a pod is
/// Ready but not yet for `minReadySeconds`, the host calls again by itself.
pub fn sync(
    rules: Rules,
    set: &StatefulSet,
    revisions: &[ControllerRevision],
    pods: &BTreeMap<String, Pod>,
    claims: &BTreeMap<String, PersistentVolumeClaim>,
    now: Timestamp,
) -> Result<Outcome, Unsupported> {
    let spec = supported(set)?;
    let mut revisions = revisions.to_vec();
    let update = revision::update(set, &mut revisions);
    let known = set
        .status
        .as_ref()
        .and_then(|status| status.current_revision.clone());
    let known = known.filter(|name| {
        revisions
            .iter()
            .any(|revision| revision::name(revision) == name)
    });
    let current = known.unwrap_or_else(|| update.clone());
    let round = Round {
        rules,
        set,
        spec,
        revisions: &revisions,
        current,
        update,
        pods,
        claims,
        now,
    };
    let changes = if is_deleted(set) {
        Vec::new()
    } else {
        round.changes()
    };
    let status = round.status();
    let live: Vec<&str> = [
        status.current_revision.as_deref(),
        status.update_revision.as_deref(),
    ]
    .into_iter()
    .flatten()
    .chain(pods.values().map(pod::revision_of))
    .collect();
    revision::truncate(set, &mut revisions, &live);
    Ok(Outcome {
        changes,
        status,
        revisions,
    })
}

fn is_deleted(set: &StatefulSet) -> bool {
    set.metadata.deletion_timestamp.is_some()
}

fn supported(set: &StatefulSet) -> Result<&StatefulSetSpec, Unsupported> {
    let refuse = |field, instead| Err(Unsupported { field, instead });
    let Some(spec) = &set.spec else {
        return refuse("spec", "a spec");
    };
    if spec.pod_management_policy.as_deref() != Some("Parallel") {
        return refuse("spec.podManagementPolicy", "Parallel");
    }
    if spec
        .ordinals
        .as_ref()
        .and_then(|ordinals| ordinals.start)
        .is_some_and(|start| start != 0)
    {
        return refuse("spec.ordinals.start", "0");
    }
    let strategy = spec.update_strategy.as_ref();
    if strategy.is_some_and(|strategy| strategy.type_.as_deref() == Some("OnDelete")) {
        return refuse("spec.updateStrategy.type", "RollingUpdate");
    }
    if strategy
        .and_then(|strategy| strategy.rolling_update.as_ref())
        .is_some_and(|r| r.max_unavailable.is_some())
    {
        return refuse(
            "spec.updateStrategy.rollingUpdate.maxUnavailable",
            "nothing, which means 1",
        );
    }
    Ok(spec)
}

struct Round<'a> {
    rules: Rules,
    set: &'a StatefulSet,
    spec: &'a StatefulSetSpec,
    revisions: &'a [ControllerRevision],
    current: String,
    update: String,
    pods: &'a BTreeMap<String, Pod>,
    claims: &'a BTreeMap<String, PersistentVolumeClaim>,
    now: Timestamp,
}

impl Round<'_> {
    fn replicas(&self) -> i32 {
        self.spec.replicas.unwrap_or(1)
    }

    fn partition(&self) -> i32 {
        let rolling = self
            .spec
            .update_strategy
            .as_ref()
            .and_then(|strategy| strategy.rolling_update.as_ref());
        rolling.and_then(|rolling| rolling.partition).unwrap_or(0)
    }

    fn set_name(&self) -> &str {
        self.set.metadata.name.as_deref().unwrap_or_default()
    }

    fn pod(&self, ordinal: i32) -> Option<&Pod> {
        self.pods.get(&pod::pod_name(self.set_name(), ordinal))
    }

    fn is_available(&self, pod: &Pod) -> bool {
        pod::is_available(pod, self.spec.min_ready_seconds.unwrap_or(0), self.now)
    }

    fn is_unavailable(&self, pod: &Pod) -> bool {
        pod::is_terminating(pod) || !self.is_available(pod)
    }

    fn changes(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        for ordinal in 0..self.replicas() {
            match self.pod(ordinal) {
                None => self.create(ordinal, &mut changes),
                Some(pod) if pod::has_ended(pod) => changes.extend(deletion(pod)),
                Some(_) => {}
            }
        }
        for (name, pod) in self.pods {
            let beyond = pod::ordinal(self.set_name(), name)
                .is_some_and(|ordinal| ordinal >= self.replicas());
            if beyond {
                let claims = claim::of_condemned(self.set, pod, self.claims);
                changes.extend(claims.into_iter().map(Change::UpdateClaim));
                changes.extend(deletion(pod));
            }
        }
        changes.extend(self.outdated().and_then(deletion));
        changes
    }

    /// A pod waits while its claim is being deleted: else it would come back on the volume that is about to go.
    fn create(&self, ordinal: i32, changes: &mut Vec<Change>) {
        let wanted = claim::of_pod(self.set, &pod::pod_name(self.set_name(), ordinal));
        let existing =
            |claim: &PersistentVolumeClaim| self.claims.get(claim.metadata.name.as_ref()?);
        if wanted
            .iter()
            .filter_map(existing)
            .any(|claim| claim.metadata.deletion_timestamp.is_some())
        {
            return;
        }
        let missing = wanted.iter().filter(|claim| existing(claim).is_none());
        changes.extend(missing.cloned().map(Change::CreateClaim));
        // Below the partition a pod comes back at the stable revision, even after a crash of its node.
        let stable = ordinal < self.partition() && self.current != self.update;
        let at = if stable { &self.current } else { &self.update };
        let template = revision::template(self.revisions, at);
        let template = template.unwrap_or_else(|| self.spec.template.clone());
        changes.push(Change::CreatePod(Box::new(pod::make(
            self.set, &template, at, ordinal,
        ))));
    }

    /// The one pod that the rolling update replaces now.
    fn outdated(&self) -> Option<&Pod> {
        let unavailable = |ordinal| self.pod(ordinal).is_none_or(|pod| self.is_unavailable(pod));
        let is_old = |pod: &&Pod| pod::revision_of(pod) != self.update && !pod::is_terminating(pod);
        let targets = (self.partition()..self.replicas()).rev();
        if self.rules.max_unavailable_gate {
            let all_available = !(0..self.replicas()).any(unavailable);
            return targets
                .filter_map(|ordinal| self.pod(ordinal))
                .find(is_old)
                .filter(|_| all_available);
        }
        for ordinal in targets {
            if let Some(old) = self.pod(ordinal).filter(is_old) {
                return Some(old);
            }
            if unavailable(ordinal) {
                return None;
            }
        }
        None
    }

    fn status(&self) -> StatefulSetStatus {
        let count = |is: &dyn Fn(&Pod) -> bool| {
            i32::try_from(self.pods.values().filter(|p| is(p)).count()).unwrap_or(0)
        };
        let at = |pod: &Pod, revision: &str| {
            !pod::is_terminating(pod) && pod::revision_of(pod) == revision
        };
        let mut status = StatefulSetStatus {
            observed_generation: self.set.metadata.generation,
            replicas: count(&|_| true),
            ready_replicas: Some(count(&pod::is_ready)),
            available_replicas: Some(count(&|pod| self.is_available(pod))),
            current_replicas: Some(count(&|pod| at(pod, &self.current))),
            updated_replicas: Some(count(&|pod| at(pod, &self.update))),
            current_revision: Some(self.current.clone()),
            update_revision: Some(self.update.clone()),
            collision_count: Some(0),
            conditions: None,
        };
        let all = Some(self.replicas());
        // The partition has no say in this: an update is complete when every pod has it and is ready.
        if status.updated_replicas == all
            && status.ready_replicas == all
            && Some(status.replicas) == all
        {
            status.current_replicas = status.updated_replicas;
            status.current_revision = status.update_revision.clone();
        }
        status
    }
}

fn deletion(pod: &Pod) -> Option<Change> {
    let name = pod.metadata.name.clone()?;
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    (!pod::is_terminating(pod)).then_some(Change::DeletePod { name, uid })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{World, partition, set};

    const OLD: Rules = Rules {
        max_unavailable_gate: false,
    };
    const NEW: Rules = Rules {
        max_unavailable_gate: true,
    };

    #[test]
    fn all_pods_are_made_at_once_each_with_its_claim() {
        let mut world = World::new(OLD, set(3, "a"));
        world.round();
        assert_eq!(
            world.objects.pods.keys().collect::<Vec<_>>(),
            ["web-0", "web-1", "web-2"]
        );
        assert_eq!(
            world.objects.claims.keys().collect::<Vec<_>>(),
            ["data-web-0", "data-web-1", "data-web-2"]
        );
    }

    #[test]
    fn a_deleted_pod_comes_back_as_another_on_the_same_claim() {
        let mut world = World::running(OLD, set(3, "a"));
        let (pod, claim) = (
            world.pod_uid("web-1"),
            world.objects.claims["data-web-1"].metadata.uid.clone(),
        );
        world.remove_pod("web-1");
        world.round();
        assert_ne!(world.pod_uid("web-1"), pod);
        assert_eq!(world.objects.claims["data-web-1"].metadata.uid, claim);
    }

    #[test]
    fn an_update_begins_at_the_top_and_waits_for_each_pod() {
        for rules in [OLD, NEW] {
            let mut world = World::running(rules, set(3, "a"));
            world.objects.set.spec = set(3, "b").spec;
            world.round();
            assert_eq!(world.images(), ["a", "a", "-"]);
            world.round();
            assert_eq!(world.images(), ["a", "a", "b"]);
            world.round();
            assert_eq!(world.images(), ["a", "a", "b"], "web-2 is not ready yet");
            world.make_ready();
            world.settle();
            assert_eq!(world.images(), ["b", "b", "b"]);
            let status = world.objects.set.status.clone().unwrap();
            assert_eq!(status.current_revision, status.update_revision);
        }
    }

    #[test]
    fn an_update_waits_until_each_pod_has_been_ready_for_long_enough() {
        let mut wanted = set(2, "a");
        wanted.spec.as_mut().unwrap().min_ready_seconds = Some(10);
        let mut world = World::running(OLD, wanted);
        world.objects.set.spec.as_mut().unwrap().template = set(2, "b").spec.unwrap().template;
        world.round();
        world.round();
        world.make_ready();
        world.now = 9;
        world.round();
        assert_eq!(world.images(), ["a", "b"]);
        world.now = 10;
        world.round();
        assert_eq!(world.images(), ["-", "b"]);
    }

    #[test]
    fn an_ordinal_below_the_partition_comes_back_at_the_stable_revision() {
        let mut world = World::running(OLD, set(3, "a"));
        world.objects.set.spec = partition(set(3, "b"), 2).spec;
        world.settle();
        assert_eq!(world.images(), ["a", "a", "b"]);
        for pod in ["web-0", "web-2"] {
            world.remove_pod(pod);
            world.settle();
        }
        assert_eq!(world.images(), ["a", "a", "b"]);
    }

    #[test]
    fn a_raised_partition_leaves_a_broken_pod_alone_until_it_is_deleted() {
        let mut world = World::running(OLD, set(3, "a"));
        world.objects.set.spec = partition(set(3, "b"), 2).spec;
        world.round();
        world.round();
        world.objects.set.spec = partition(set(3, "a"), 3).spec;
        world.round();
        assert_eq!(world.images(), ["a", "a", "b"]);
        world.remove_pod("web-2");
        world.settle();
        assert_eq!(world.images(), ["a", "a", "a"]);
    }

    #[test]
    fn with_the_gate_an_unavailable_pod_of_the_old_revision_stops_the_update() {
        for (rules, expected) in [(OLD, ["a", "a", "b"]), (NEW, ["a", "a", "a"])] {
            let mut world = World::running(rules, set(3, "a"));
            world.make_unready("web-2");
            world.objects.set.spec = set(3, "b").spec;
            world.round();
            world.round();
            assert_eq!(world.images(), expected);
        }
    }

    #[test]
    fn scaling_in_removes_the_top_at_once_and_keeps_the_claims() {
        let mut world = World::running(OLD, set(5, "a"));
        world.objects.set.spec.as_mut().unwrap().replicas = Some(3);
        world.round();
        assert_eq!(world.objects.pods.len(), 3);
        assert_eq!(world.objects.claims.len(), 5);
    }

    #[test]
    fn a_claim_that_goes_with_scaling_in_is_owned_by_its_pod_first() {
        let mut wanted = set(2, "a");
        wanted
            .spec
            .as_mut()
            .unwrap()
            .persistent_volume_claim_retention_policy =
            serde_json::from_value(serde_json::json!({ "whenScaled": "Delete" })).unwrap();
        let mut world = World::running(OLD, wanted);
        world.objects.set.spec.as_mut().unwrap().replicas = Some(1);
        world.round();
        let owners = world.objects.claims["data-web-1"]
            .metadata
            .owner_references
            .clone()
            .unwrap();
        assert_eq!(
            (owners[0].kind.as_str(), owners[0].name.as_str()),
            ("Pod", "web-1")
        );
        assert_eq!(
            world.objects.claims["data-web-0"].metadata.owner_references,
            None
        );
    }

    #[test]
    fn a_pod_waits_while_its_claim_is_being_deleted() {
        let mut world = World::running(OLD, set(3, "a"));
        let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH);
        world
            .objects
            .claims
            .get_mut("data-web-1")
            .unwrap()
            .metadata
            .deletion_timestamp = Some(now);
        world.remove_pod("web-1");
        world.round();
        assert!(!world.objects.pods.contains_key("web-1"));
        world.objects.claims.remove("data-web-1");
        world.round();
        assert!(
            world.objects.pods.contains_key("web-1")
                && world.objects.claims.contains_key("data-web-1")
        );
    }

    #[test]
    fn a_pod_that_has_ended_is_made_anew() {
        let mut world = World::running(OLD, set(3, "a"));
        let uid = world.pod_uid("web-0");
        world
            .objects
            .pods
            .get_mut("web-0")
            .unwrap()
            .status
            .as_mut()
            .unwrap()
            .phase = Some("Failed".into());
        world.settle();
        assert_ne!(world.pod_uid("web-0"), uid);
    }

    #[test]
    fn a_set_that_is_being_deleted_only_reports() {
        let mut world = World::running(OLD, set(3, "a"));
        world.objects.set.metadata.deletion_timestamp = Some(
            k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH),
        );
        world.remove_pod("web-0");
        world.round();
        assert_eq!(world.objects.set.status.as_ref().unwrap().replicas, 2);
    }

    #[test]
    fn what_is_not_modelled_is_refused_by_name() {
        let mut wanted = set(3, "a");
        wanted.spec.as_mut().unwrap().pod_management_policy = None;
        let refused = sync(
            OLD,
            &wanted,
            &[],
            &BTreeMap::new(),
            &BTreeMap::new(),
            Timestamp::UNIX_EPOCH,
        )
        .unwrap_err();
        assert_eq!(
            refused.to_string(),
            "spec.podManagementPolicy is not supported here; use Parallel"
        );
    }
}
