//! Pools of members without a group, and two pools beside each other, as a table of situations and what is decided in them.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use jiff::Timestamp;
use quorate_api::Status;
use quorate_plan::testing::{sound_group, sound_member, sound_voter};
use quorate_plan::{
    Answer, AnyDesired, AnyKind, AnyStatus, Decision, Env, OWNER_UID, Object, Observed, Refusal,
    Stage, testing,
};
use quorate_wire::{MemberState, MemberStatus, RestartBlocker, Role};
use serde_json::{Value, json};

const UID: &str = "11111111-2222-3333-4444-555555555555";

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// How a member is.
#[derive(Clone, Copy, PartialEq)]
enum How {
    Serves,
    /// Serves, and has work in hand.
    Busy,
    /// Its kubelet says that it serves, and the operator does not reach it.
    Silent,
    Crashes,
    Damaged,
}

use How::{Busy, Crashes, Damaged, Serves, Silent};

/// A resource and its world.
struct Situation {
    kind: &'static dyn AnyKind,
    resource: Value,
    observed: Observed,
}

impl Situation {
    /// As it was built for this spec, without a pod.
    fn of(kind: &str, spec: Value) -> Self {
        let found = testing::KINDS.iter().find(|k| k.names().kind == kind);
        let mut situation = Situation {
            kind: *found.unwrap(),
            resource: json!({
                "apiVersion": "quorate.dev/v1alpha1", "kind": kind,
                "metadata": { "name": "demo", "namespace": "default", "uid": UID, "generation": 1 },
                "spec": spec,
            }),
            observed: Observed::default(),
        };
        for object in situation.desired().build(&Stage::default()) {
            if let Object::StatefulSet(mut set) = object {
                set.metadata.uid = Some(format!("uid-{}", object_name(&set.metadata.name)));
                set.metadata.generation = Some(1);
                let name = object_name(&set.metadata.name);
                situation.observed.stateful_sets.insert(name, set);
            }
        }
        situation.revisions("1", "1");
        situation
    }

    fn desired(&self) -> Box<dyn AnyDesired> {
        let env = Env {
            cluster_domain: "cluster.local".into(),
            default_image: "member:1".into(),
            operator_namespace: None,
        };
        self.kind.validate(&self.resource, &env).unwrap()
    }

    /// What the StatefulSets' controller says of every pool.
    fn revisions(&mut self, current: &str, update: &str) {
        for set in self.observed.stateful_sets.values_mut() {
            let status = json!({
                "observedGeneration": 1, "replicas": 3, "currentRevision": current, "updateRevision": update,
            });
            set.status = Some(serde_json::from_value(status).unwrap());
        }
    }

    fn with(mut self, pool: &str, members: &[How]) -> Self {
        for (ordinal, how) in members.iter().enumerate() {
            self.add(&format!("{pool}-{ordinal}"), *how);
        }
        self
    }

    fn add(&mut self, pod: &str, how: How) {
        let ready = matches!(how, Serves | Busy | Silent).to_string();
        let ready = format!("{}{}", ready[..1].to_uppercase(), &ready[1..]);
        let waiting = json!({ "reason": "CrashLoopBackOff" });
        let container = json!({
            "name": "member", "ready": false, "restartCount": 3, "image": "", "imageID": "", "state": { "waiting": waiting },
        });
        let made = json!({
            "metadata": {
                "name": pod, "uid": format!("uid-{pod}"), "creationTimestamp": NOW,
                "labels": { OWNER_UID: UID, "controller-revision-hash": "1" },
            },
            "status": {
                "phase": "Running",
                "conditions": [{ "type": "Ready", "status": ready }],
                "containerStatuses": if how == Crashes { vec![container] } else { Vec::new() },
            },
        });
        let work = RestartBlocker {
            code: "Work".into(),
            message: "it has work in hand".into(),
        };
        let document = MemberStatus {
            name: pod.to_owned(),
            version: "1".into(),
            cluster: UID.into(),
            incarnation: format!("id-{pod}"),
            ready: how != Damaged,
            state: if how == Damaged {
                MemberState::Damaged
            } else {
                MemberState::Running
            },
            restart_blockers: Vec::from_iter((how == Busy).then_some(work)),
            ..sound_member()
        };
        let status = match how {
            Silent | Crashes => Err("it does not answer".to_owned()),
            _ => Ok(document),
        };
        let answer = Answer {
            pod_uid: format!("uid-{pod}"),
            at: NOW,
            status,
        };
        let pods = &mut self.observed.pods;
        pods.insert(pod.to_owned(), serde_json::from_value(made).unwrap());
        self.observed.members.insert(pod.to_owned(), answer);
    }

    /// The group among `demo-duo-ctl-0` to `-2`, led by the first.
    fn led(mut self) -> Self {
        let name = |ordinal: i32| format!("demo-duo-ctl-{ordinal}");
        let voter = |ordinal| sound_voter(&format!("id-{}", name(ordinal)), &name(ordinal), "");
        let group = sound_group((0..3).map(voter).collect());
        for ordinal in 0..3 {
            let answer = self.observed.members.get_mut(&name(ordinal)).unwrap();
            let document = answer.status.as_mut().unwrap();
            document.groups = vec![group.clone()];
            if ordinal == 0 {
                document.groups[0].role = Role::Leader;
            }
        }
        self
    }

    /// The user asks for something else.
    fn asks(mut self, spec: Value) -> Self {
        self.resource["spec"] = spec;
        self
    }

    /// The new revision is published, and has got so far.
    fn rolls(mut self, partition: i32) -> Self {
        let wanted = self.desired().build(&Stage::default());
        for object in wanted {
            if let Object::StatefulSet(set) = object {
                let living = self
                    .observed
                    .stateful_sets
                    .get_mut(&object_name(&set.metadata.name));
                let living = living.unwrap();
                living.metadata.annotations = set.metadata.annotations;
                let strategy = living.spec.as_mut().unwrap().update_strategy.as_mut();
                strategy.unwrap().rolling_update.as_mut().unwrap().partition = Some(partition);
            }
        }
        self.revisions("1", "2");
        self
    }

    fn decide(&self) -> Decided {
        Decided(self.desired().decide(&self.observed, NOW))
    }
}

fn object_name(name: &Option<String>) -> String {
    name.clone().unwrap()
}

struct Decided(Decision<Box<dyn AnyStatus>>);

impl Decided {
    /// By pool: how many pods, and the partition.
    fn sets(&self) -> BTreeMap<&str, (i32, i32)> {
        let pools = self.0.stage.as_ref().unwrap().pools.iter();
        pools
            .map(|(name, pool)| (name.as_str(), (pool.replicas, pool.partition)))
            .collect()
    }

    fn member(&self) -> (i32, i32) {
        self.sets()["member"]
    }

    fn refusals(&self) -> Vec<Refusal> {
        self.0
            .refusals
            .iter()
            .map(|refused| refused.refusal)
            .collect()
    }

    fn acts(&self) -> Vec<&'static str> {
        self.0.actions.iter().map(|action| action.name()).collect()
    }
}

fn herd(members: i32, version: &str) -> Value {
    json!({ "members": members, "version": version })
}

/// A Herd that runs version 1.
fn flock(how: &[How]) -> Situation {
    let members = i32::try_from(how.len()).unwrap();
    Situation::of("Herd", herd(members, "1")).with("demo-hrd", how)
}

#[test]
fn all_serve_and_nothing_is_done() {
    let decided = flock(&[Serves, Serves, Serves]).decide();
    assert_eq!((decided.member(), decided.acts()), ((3, 0), vec![]));
    assert_eq!(decided.refusals(), []);
}

#[test]
fn who_has_work_in_hand_is_drained_before_it_leaves() {
    let decided = flock(&[Serves, Serves, Busy]).asks(herd(2, "1")).decide();
    assert_eq!(decided.acts(), ["Drain"]);
    assert_eq!(decided.member().0, 3);
    assert_eq!(decided.refusals(), [Refusal::RestartBlocked]);
    let drained = flock(&[Serves, Serves, Serves]).asks(herd(2, "1")).decide();
    assert_eq!((drained.member().0, drained.acts()), (2, vec![]));
}

#[test]
fn who_says_nothing_may_have_work_in_hand_unless_it_cannot_run() {
    let silent = flock(&[Serves, Serves, Silent]).asks(herd(2, "1"));
    let decided = silent.decide();
    assert_eq!(decided.refusals(), [Refusal::MemberSilent]);
    assert_eq!(decided.member().0, 3);
    let crashes = flock(&[Serves, Serves, Crashes]).asks(herd(2, "1"));
    assert_eq!(crashes.decide().member().0, 2);
    let mut heedless = silent;
    let annotation = json!({ quorate_plan::IGNORE_BLOCKERS: "true" });
    heedless.resource["metadata"]["annotations"] = annotation;
    assert_eq!(heedless.decide().member().0, 2);
}

#[test]
fn the_next_leaves_when_the_last_is_gone() {
    let mut situation = flock(&[Serves, Serves, Serves]).asks(herd(1, "1"));
    let set = situation.observed.stateful_sets.get_mut("demo-hrd");
    set.unwrap().spec.as_mut().unwrap().replicas = Some(2);
    assert_eq!(situation.decide().member().0, 2);
    situation.observed.pods.remove("demo-hrd-2");
    assert_eq!(situation.decide().member().0, 1);
}

#[test]
fn an_upgrade_takes_no_member_while_another_is_missing() {
    let with = |how: &[How]| flock(how).asks(herd(3, "2")).rolls(3).decide();
    assert_eq!(with(&[Serves, Serves, Serves]).member(), (3, 2));
    for missing in [Silent, Crashes] {
        let waits = with(&[missing, Serves, Serves]);
        assert_eq!(waits.member(), (3, 3));
        assert_eq!(waits.refusals(), [Refusal::MembersMissing]);
    }
}

/// Below a partition pods would come back at the first revision, which never ran.
#[test]
fn where_nobody_ever_served_the_pods_are_made_anew() {
    let given_up = |how: &[How]| flock(how).asks(herd(3, "2")).rolls(3).decide().member();
    assert_eq!(given_up(&[Crashes, Crashes, Crashes]), (0, 0));
    assert_eq!(given_up(&[Crashes, Crashes, Serves]).0, 3);
}

#[test]
fn members_that_do_not_serve_do_not_wait_for_one_another() {
    let mut crash = flock(&[Crashes, Crashes, Crashes]).asks(herd(3, "2"));
    crash.resource["status"] = json!({ "stable": { "image": "member:1" } });
    assert_eq!(crash.rolls(3).decide().member(), (3, 2));
    let silent = flock(&[Silent, Silent, Silent]).asks(herd(3, "2"));
    assert_eq!(
        silent.rolls(3).decide().refusals(),
        [Refusal::MembersMissing]
    );
    let damaged = flock(&[Damaged, Damaged, Serves]).decide();
    assert_eq!(damaged.acts(), ["DeletePod"]);
}

#[test]
fn an_upgrade_does_not_wait_for_pods_that_scaling_has_yet_to_make() {
    let situation = flock(&[Serves, Serves, Serves]).asks(herd(5, "2")).rolls(3);
    assert_eq!(situation.decide().member(), (3, 2));
}

fn duo(version: &str) -> Value {
    json!({ "version": version })
}

/// A Duo that runs version 1.
fn team() -> Situation {
    let situation = Situation::of("Duo", duo("1"));
    let mut situation = situation
        .with("demo-duo-ctl", &[Serves; 3])
        .with("demo-duo-wrk", &[Serves; 3]);
    situation.resource["status"] = json!({
        "group": { "id": 1, "incarnation": "id-demo-duo-ctl-0", "asked": true, "formed": true },
    });
    situation
}

#[test]
fn controllers_are_upgraded_before_workers() {
    let decided = team().led().asks(duo("2")).rolls(3).decide();
    let expected = [("controller", (3, 2)), ("worker", (3, 3))];
    assert_eq!(decided.sets(), expected.into());
}

#[test]
fn no_worker_goes_while_nobody_leads() {
    let workers_alone = |situation: Situation| {
        let mut situation = situation.asks(duo("2")).rolls(3);
        let status = situation.observed.stateful_sets.get_mut("demo-duo-ctl");
        let status = status.unwrap().status.as_mut().unwrap();
        status.current_revision = Some("2".into());
        for ordinal in 0..3 {
            let pod = format!("demo-duo-ctl-{ordinal}");
            let pod = situation.observed.pods.get_mut(&pod).unwrap();
            let revision = ("controller-revision-hash".to_owned(), "2".to_owned());
            pod.metadata
                .labels
                .get_or_insert_default()
                .extend([revision]);
            let answer = situation
                .observed
                .members
                .get_mut(&format!("demo-duo-ctl-{ordinal}"));
            answer.unwrap().status.as_mut().unwrap().version = "2".into();
        }
        situation.decide()
    };
    let leaderless = workers_alone(team());
    assert_eq!(leaderless.sets()["worker"], (3, 3));
    assert_eq!(leaderless.refusals(), [Refusal::NoLeader]);
    assert_eq!(workers_alone(team().led()).sets()["worker"], (3, 2));
}

/// A volume of either pool goes with the resource, where the resource says so.
#[test]
fn claims_of_both_pools_are_marked() {
    let policy = json!({ "storage": { "retention": { "whenDeleted": "Delete" } } });
    let mut situation = team().led();
    for pod in ["demo-duo-ctl-0", "demo-duo-wrk-0"] {
        let claim = json!({
            "metadata": { "name": format!("data-{pod}"), "uid": format!("claim-{pod}"), "labels": { OWNER_UID: UID } },
        });
        let claims = &mut situation.observed.claims;
        claims.insert(
            format!("data-{pod}"),
            serde_json::from_value(claim).unwrap(),
        );
    }
    let decided = situation.asks(policy).decide();
    assert_eq!(decided.acts(), ["MarkClaim", "MarkClaim"]);
}

/// What `kubectl scale` and the columns go by is of the first pool.
#[test]
fn the_first_pool_is_the_one_that_is_counted() {
    let situation = team().led();
    let mut decided = situation.decide();
    let status: &mut Status = decided.0.status.common();
    assert_eq!((status.replicas, status.ready_replicas), (3, 3));
}
