//! A cluster named `demo` as a host could observe it, in a few strokes.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use quorate_wire::{
    ConfigurationStatus, ConfiguredMember, MemberProblem, MemberState, MemberStatus, Part,
    RestartBlocker, Role,
};
use serde_json::{Value, json};

use super::super::super::{POOL, RaftClusters};
use crate::testing::{sound_group, sound_member, sound_voter};
use crate::{
    Action, Answer, AnyKind, AnyStatus, Decision, Desired, Env, Erased, GROUP_MARK, INCARNATION,
    Kind, Object, Objects, Observed, PoolStage, Refusal, Stage, Template,
};
use quorate_api::RaftClusterStatus;

const UID: &str = "resource-1";
const SET: &str = "demo-rcl";
const OLD: &str = "demo-rcl-old";
const NEW: &str = "demo-rcl-new";

pub(super) struct Situation {
    pub resource: Value,
    pub observed: Observed,
}

fn now() -> Timestamp {
    Timestamp::from_second(1_000_000).unwrap()
}

fn pod_name(ordinal: i32) -> String {
    format!("{SET}-{ordinal}")
}

impl Situation {
    pub fn nothing() -> Self {
        let resource = json!({
            "apiVersion": "quorate.dev/v1alpha1", "kind": "RaftCluster",
            "metadata": { "name": "demo", "namespace": "default", "uid": UID, "generation": 1 },
            "spec": {},
        });
        Situation {
            resource,
            observed: Observed::default(),
        }
    }

    /// So many healthy voters, led by `demo-0`, all at the newest revision.
    pub fn formed(members: i32) -> Self {
        Self::formed_of(members, json!({}))
    }

    /// The same with this in the spec; the members report version 1.0.0.
    pub fn formed_of(members: i32, spec: Value) -> Self {
        let mut formed = Self::nothing();
        formed.resource["spec"] = spec;
        formed.resource["spec"]["members"] = json!(if members == 2 { 3 } else { members });
        formed.resource["status"] =
            json!({ "group": { "id": 1, "incarnation": "id-0", "formed": true } });
        formed.make_pods(members);
        let voters = (0..members).map(|ordinal| {
            let name = pod_name(ordinal);
            sound_voter(&format!("id-{ordinal}"), &name, &formed.address(&name))
        });
        let group = sound_group(voters.collect());
        for ordinal in 0..members {
            let status = formed.status(ordinal);
            status.state = MemberState::Running;
            status.ready = true;
            status.groups = vec![group.clone()];
            formed.annotate(ordinal, GROUP_MARK, "1");
            formed.annotate(ordinal, INCARNATION, &format!("id-{ordinal}"));
        }
        formed.lead(0);
        formed
    }

    /// A condition of a pod that is False, since this second.
    pub fn pod_condition(&mut self, ordinal: i32, kind: &str, reason: &str, since: i64) {
        let pod = self.observed.pods.get_mut(&pod_name(ordinal)).unwrap();
        let since = Timestamp::from_second(since).unwrap().to_string();
        let condition = json!({
            "type": kind, "status": "False", "reason": reason, "message": "0/3 nodes",
            "lastTransitionTime": since,
        });
        pod.status = serde_json::from_value(json!({ "conditions": [condition] })).unwrap();
    }

    /// No volume was found for a claim.
    pub fn unbind(&mut self, ordinal: i32) {
        let name = format!("data-{}", pod_name(ordinal));
        let claim = self.observed.claims.get_mut(&name).unwrap();
        claim.status = serde_json::from_value(json!({ "phase": "Pending" })).unwrap();
    }

    /// What a bound claim requests, and how large its volume is.
    pub fn size(&mut self, ordinal: i32, requested: &str, capacity: &str) {
        let name = format!("data-{}", pod_name(ordinal));
        let claim = self.observed.claims.get_mut(&name).unwrap();
        let spec = json!({ "resources": { "requests": { "storage": requested } } });
        claim.spec = serde_json::from_value(spec).unwrap();
        let status = json!({ "phase": "Bound", "capacity": { "storage": capacity } });
        claim.status = serde_json::from_value(status).unwrap();
    }

    /// The resource is an owner of the pod.
    pub fn own(&mut self, ordinal: i32) {
        let owner =
            json!([{ "apiVersion": "v1", "kind": "RaftCluster", "name": "demo", "uid": UID }]);
        let pod = self.observed.pods.get_mut(&pod_name(ordinal)).unwrap();
        pod.metadata.owner_references = serde_json::from_value(owner).unwrap();
    }

    /// The StatefulSet is one too.
    pub fn adopt(&mut self, ordinal: i32) {
        let owner = json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "demo", "uid": "set-1" });
        let pod = self.observed.pods.get_mut(&pod_name(ordinal)).unwrap();
        let owners = pod.metadata.owner_references.get_or_insert_default();
        owners.push(serde_json::from_value(owner).unwrap());
    }

    pub fn delete_set(&mut self) {
        let deleted = json!(Timestamp::from_second(999_999).unwrap().to_string());
        self.set().metadata.deletion_timestamp = serde_json::from_value(deleted).unwrap();
    }

    /// Pods at the newest revision, with members that are empty.
    pub fn make_pods(&mut self, members: i32) {
        self.set_up(members);
        for ordinal in 0..members {
            let name = pod_name(ordinal);
            let pod = json!({ "metadata": {
                "name": name, "uid": format!("pod-{ordinal}"),
                "labels": { "controller-revision-hash": NEW },
                "creationTimestamp": Timestamp::from_second(999_000).unwrap().to_string(),
            }, "status": { "conditions": [{ "type": "Ready", "status": "True" }] } });
            let pod = serde_json::from_value(pod).unwrap();
            self.observed.pods.insert(name.clone(), pod);
            self.make_claim(ordinal);
            let status = MemberStatus {
                kind: "RaftCluster".into(),
                name: name.clone(),
                version: "1.0.0".into(),
                cluster: UID.into(),
                incarnation: format!("id-{ordinal}"),
                state: MemberState::Empty,
                ready: false,
                ..sound_member()
            };
            let answer = Answer {
                pod_uid: format!("pod-{ordinal}"),
                at: now(),
                status: Ok(status),
            };
            self.observed.members.insert(name, answer);
        }
    }

    fn set_up(&mut self, replicas: i32) {
        let desired = self.desired();
        let pool = PoolStage {
            replicas,
            partition: 0,
            template: Template::Target,
            claim_size: None,
        };
        let stage = Stage {
            pools: [(POOL.name.to_owned(), pool)].into(),
        };
        let objects = desired.build(&stage);
        let set = objects.into_iter().find_map(|object| match object {
            Object::StatefulSet(set) => Some(set),
            _ => None,
        });
        let mut set = set.unwrap();
        set.metadata.uid = Some("set-1".into());
        set.metadata.generation = Some(1);
        let status = json!({
            "observedGeneration": 1, "replicas": replicas,
            "currentRevision": NEW, "updateRevision": NEW,
        });
        set.status = serde_json::from_value(status).unwrap();
        self.observed.stateful_sets.insert(SET.into(), set);
    }

    pub fn make_claim(&mut self, ordinal: i32) {
        self.insert_claim(ordinal, UID);
    }

    pub fn make_foreign_claim(&mut self, ordinal: i32) {
        self.insert_claim(ordinal, "resource-0");
    }

    fn insert_claim(&mut self, ordinal: i32, owner: &str) {
        let name = format!("data-{}", pod_name(ordinal));
        let claim = json!({ "metadata": {
            "name": name, "uid": format!("claim-{ordinal}"),
            "labels": { "quorate.dev/owner-uid": owner },
        } });
        let claim = serde_json::from_value(claim).unwrap();
        self.observed.claims.insert(name, claim);
    }

    pub fn annotate(&mut self, ordinal: i32, key: &str, value: &str) {
        let claim = self
            .observed
            .claims
            .get_mut(&format!("data-{}", pod_name(ordinal)));
        let annotations = claim.unwrap().metadata.annotations.get_or_insert_default();
        annotations.insert(key.into(), value.into());
    }

    /// Keeps the status that was decided.
    pub fn write_status(&mut self) -> &Value {
        self.resource["status"] = self.decided_status();
        &self.resource["status"]
    }

    pub fn carry_out_marks(&mut self) {
        for action in self.decide().actions {
            if let Action::MarkClaim {
                name, annotations, ..
            } = action
            {
                let claim = self.observed.claims.get_mut(&name).unwrap();
                claim
                    .metadata
                    .annotations
                    .get_or_insert_default()
                    .extend(annotations);
            }
        }
    }

    fn set(&mut self) -> &mut StatefulSet {
        self.observed.stateful_sets.get_mut(SET).unwrap()
    }

    pub fn set_partition(&mut self, partition: i32) {
        let strategy =
            json!({ "type": "RollingUpdate", "rollingUpdate": { "partition": partition } });
        let spec = self.set().spec.as_mut().unwrap();
        spec.update_strategy = serde_json::from_value(strategy).unwrap();
    }

    pub fn set_replicas(&mut self, replicas: i32) {
        self.set().spec.as_mut().unwrap().replicas = Some(replicas);
    }

    fn set_revision(&mut self, ordinal: i32, revision: &str) {
        let pod = self.observed.pods.get_mut(&pod_name(ordinal)).unwrap();
        let labels = pod.metadata.labels.as_mut().unwrap();
        labels.insert("controller-revision-hash".into(), revision.into());
    }

    /// These run the stable revision, the others the newest.
    pub fn outdate<const N: usize>(&mut self, ordinals: [i32; N]) {
        let status = self.set().status.as_mut().unwrap();
        status.current_revision = Some(OLD.into());
        for ordinal in 0..i32::try_from(self.observed.pods.len()).unwrap() {
            self.set_revision(
                ordinal,
                if ordinals.contains(&ordinal) {
                    OLD
                } else {
                    NEW
                },
            );
        }
    }

    /// Its pod is of a revision that is neither the stable one nor the newest, and does not start.
    pub fn break_at(&mut self, ordinal: i32) {
        self.leave_behind(ordinal);
        self.crash_loop(ordinal);
    }

    /// Its pod is of a revision that is neither the stable one nor the newest.
    pub fn leave_behind(&mut self, ordinal: i32) {
        self.outdate([]);
        let replicas = i32::try_from(self.observed.pods.len()).unwrap();
        (0..replicas).for_each(|other| self.set_revision(other, OLD));
        self.set_partition(replicas);
        self.set_revision(ordinal, "demo-rcl-broken");
    }

    /// Its pod is of a revision that was taken back before it was complete.
    pub fn break_before_revert(&mut self, ordinal: i32) {
        self.set_revision(ordinal, "demo-rcl-broken");
        self.crash_loop(ordinal);
    }

    /// Its pod was made so many seconds ago.
    pub fn start(&mut self, ordinal: i32, ago: i64) {
        let pod = self.observed.pods.get_mut(&pod_name(ordinal)).unwrap();
        let made = Timestamp::from_second(now().as_second() - ago).unwrap();
        pod.metadata.creation_timestamp = Some(Time(made));
    }

    /// Its kubelet says that it serves.
    pub fn serve(&mut self, ordinal: i32) {
        let pod = self.observed.pods.get_mut(&pod_name(ordinal)).unwrap();
        let status = json!({ "conditions": [{ "type": "Ready", "status": "True" }] });
        pod.status = serde_json::from_value(status).unwrap();
    }

    /// What its pod says of a container, it says of this one.
    pub fn name_container(&mut self, ordinal: i32, name: &str) {
        let pod = self.observed.pods.get_mut(&format!("{SET}-{ordinal}"));
        let status = pod.unwrap().status.as_mut().unwrap();
        status.container_statuses.as_mut().unwrap()[0].name = name.into();
    }

    /// Its pod is of the newest revision, and does not start.
    pub fn break_at_update(&mut self, ordinal: i32) {
        self.outdate([0, 1]);
        self.set_partition(ordinal);
        self.crash_loop(ordinal);
    }

    pub fn crash_loop(&mut self, ordinal: i32) {
        let pod = self.observed.pods.get_mut(&pod_name(ordinal)).unwrap();
        let status = json!({ "containerStatuses": [{
            "name": "member", "image": "", "imageID": "", "ready": false, "restartCount": 4,
            "state": { "waiting": { "reason": "CrashLoopBackOff" } },
        }] });
        pod.status = serde_json::from_value(status).unwrap();
        self.silence(ordinal);
    }

    /// Its container runs again.
    pub fn restart(&mut self, ordinal: i32) {
        let pod = self.observed.pods.get_mut(&pod_name(ordinal)).unwrap();
        let status = pod.status.as_mut().unwrap();
        let container = &mut status.container_statuses.as_mut().unwrap()[0];
        container.state = serde_json::from_value(json!({ "running": {} })).unwrap();
    }

    /// No Service leads to it yet.
    pub fn unready(&mut self, ordinal: i32) {
        let pod = self.observed.pods.get_mut(&pod_name(ordinal)).unwrap();
        pod.status = None;
    }

    /// Another hand took the StatefulSet away from its pods.
    pub fn orphan(&mut self) {
        self.observed.stateful_sets.clear();
    }

    /// How its container ended.
    pub fn ended(&mut self, ordinal: i32, terminated: Value) {
        let pod = self.observed.pods.get_mut(&pod_name(ordinal)).unwrap();
        let status = pod.status.as_mut().unwrap();
        let ended = json!({ "terminated": terminated });
        let container = &mut status.container_statuses.as_mut().unwrap()[0];
        container.last_state = serde_json::from_value(ended).unwrap();
    }

    pub fn silence(&mut self, ordinal: i32) {
        let answer = self.observed.members.get_mut(&pod_name(ordinal)).unwrap();
        answer.status = Err("connection refused".into());
    }

    /// It answers, is not ready, and says this of its group.
    pub fn answer_unready(&mut self, ordinal: i32, leader: Option<&str>, caught_up: bool) {
        let status = self.status(ordinal);
        status.ready = false;
        status.groups[0].leader = leader.map(Into::into);
        status.groups[0].caught_up = caught_up;
    }

    pub fn status(&mut self, ordinal: i32) -> &mut MemberStatus {
        let answer = self.observed.members.get_mut(&pod_name(ordinal)).unwrap();
        answer.status.as_mut().unwrap()
    }

    fn statuses(&mut self) -> impl Iterator<Item = &mut MemberStatus> {
        self.observed
            .members
            .values_mut()
            .filter_map(|answer| answer.status.as_mut().ok())
    }

    fn configurations(&mut self) -> impl Iterator<Item = &mut ConfigurationStatus> {
        self.statuses()
            .flat_map(|status| &mut status.groups)
            .map(|group| &mut group.configuration)
    }

    /// Its disk was replaced by an empty one.
    pub fn empty(&mut self, ordinal: i32, id: &str) {
        let status = self.status(ordinal);
        status.state = MemberState::Empty;
        status.incarnation = id.into();
        status.ready = false;
        status.groups.clear();
    }

    pub fn damage(&mut self, ordinal: i32) {
        let status = self.status(ordinal);
        status.state = MemberState::Damaged;
        status.ready = false;
        status.groups.clear();
    }

    /// The leader counts on it no more.
    pub fn lag(&mut self, ordinal: i32) {
        for configuration in self.configurations() {
            for member in configuration
                .members
                .iter_mut()
                .filter(|m| m.name == pod_name(ordinal))
            {
                member.caught_up = Some(false);
            }
        }
    }

    pub fn uncommit(&mut self) {
        self.configurations()
            .for_each(|configuration| configuration.committed = false);
    }

    pub fn leave_configuration(&mut self, ordinal: i32) {
        for configuration in self.configurations() {
            configuration
                .members
                .retain(|member| member.name != pod_name(ordinal));
        }
    }

    pub fn become_learner(&mut self, ordinal: i32, id: &str, caught_up: bool) {
        self.leave_configuration(ordinal);
        let name = pod_name(ordinal);
        let address = self.address(&name);
        self.configure_learner(id, &name, &address, caught_up);
        self.status(ordinal).state = MemberState::Running;
    }

    pub fn configure_learner(&mut self, id: &str, name: &str, address: &str, caught_up: bool) {
        for configuration in self.configurations() {
            configuration.members.push(ConfiguredMember {
                id: id.into(),
                name: name.into(),
                address: address.into(),
                part: Part::Learner,
                match_index: Some(100),
                caught_up: Some(caught_up),
            });
        }
    }

    pub fn address(&self, pod: &str) -> String {
        let desired = self.desired();
        desired.pools[0].peer_address(&desired.env, pod).unwrap()
    }

    pub fn block(&mut self, ordinal: i32, code: &str) {
        self.status(ordinal).restart_blockers = vec![RestartBlocker {
            code: code.into(),
            message: "words".into(),
        }];
    }

    pub fn ail(&mut self, ordinal: i32, code: &str) {
        self.status(ordinal).problems = vec![MemberProblem {
            code: code.into(),
            message: "words".into(),
        }];
    }

    pub fn lead(&mut self, ordinal: i32) {
        let leader = format!("id-{ordinal}");
        for status in self.statuses() {
            let leads = status.incarnation == leader;
            for group in &mut status.groups {
                group.leader = Some(leader.clone());
                group.role = if leads { Role::Leader } else { Role::Follower };
            }
        }
    }

    pub fn nobody_leads(&mut self) {
        for group in self.statuses().flat_map(|status| &mut status.groups) {
            group.leader = None;
            group.role = Role::PreCandidate;
        }
    }

    fn desired(&self) -> Desired<RaftClusters> {
        let mut resource = self.resource.clone();
        let spec = resource["spec"].as_object_mut().unwrap();
        spec.retain(|_, value| !value.is_null());
        let resource = serde_json::from_value(resource).unwrap();
        let env = Env {
            cluster_domain: "cluster.local".into(),
            default_image: "member:1".into(),
            operator_namespace: None,
        };
        Desired::of(resource, &env).unwrap()
    }

    pub fn decide(&self) -> Decision<RaftClusterStatus> {
        RaftClusters::decide(&self.desired(), &self.observed, now())
    }

    /// The status that is decided, as it is written.
    pub fn decided_status(&self) -> Value {
        self.decide().status.json()
    }

    /// The status, when what was observed is all that was applied.
    pub fn finish(&self) -> Value {
        let sets = self.observed.stateful_sets.values().cloned();
        let applied = Objects::applied(sets.map(Object::StatefulSet).collect());
        let (desired, mut status) = (self.desired(), self.decide().status);
        crate::pool::finish(&desired.pools, &applied, &mut status.common);
        status.json()
    }

    /// The status when the spec is wrong.
    pub fn invalid(&self) -> Value {
        let kind = Erased::<RaftClusters>::new();
        let status = kind.invalid(&self.resource, &[], &self.observed, now());
        status.unwrap().json()
    }

    /// What is decided for the StatefulSet.
    pub fn pool(&self) -> PoolStage {
        self.decide().stage.unwrap().pools[POOL.name].clone()
    }

    /// The stage and the actions, in words.
    pub fn step(&self) -> String {
        let (decision, pool) = (self.decide(), self.pool());
        let mut words = vec![format!(
            "replicas {} partition {}",
            pool.replicas, pool.partition
        )];
        words.extend(decision.actions.iter().map(|action| match action {
            Action::MarkClaim { name, .. } => format!("mark {name}"),
            Action::GrowClaim { name, size, .. } => format!("grow {name} to {size}"),
            Action::OwnPod { name, owned, .. } if *owned => format!("own {name}"),
            Action::OwnPod { name, .. } => format!("give {name} back"),
            Action::OrphanSet { name, .. } => format!("orphan the pods of {name}"),
            Action::DeleteClaim { name, .. } => format!("delete claim {name}"),
            Action::DeletePod { name, .. } => format!("delete pod {name}"),
            Action::Ask { pod, request, .. } => format!("{} by {pod}", request.name),
        }));
        words.join(", ")
    }

    pub fn refusals(&self) -> Vec<Refusal> {
        let refusals = self.decide().refusals;
        refusals.iter().map(|refused| refused.refusal).collect()
    }

    /// A condition's status and reason.
    pub fn condition(&self, kind: &str) -> (String, String) {
        let found = self.whole_condition(kind);
        let text = |field: &str| found[field].as_str().unwrap().to_owned();
        (text("status"), text("reason"))
    }

    /// A condition's words.
    pub fn words(&self, kind: &str) -> String {
        let found = self.whole_condition(kind);
        found["message"].as_str().unwrap().to_owned()
    }

    fn whole_condition(&self, kind: &str) -> Value {
        let status = self.decided_status();
        let mut conditions = status["conditions"].as_array().unwrap().iter();
        let found = conditions.find(|condition| condition["type"] == kind);
        found.unwrap().clone()
    }
}
