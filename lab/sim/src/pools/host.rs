//! The engine's host: the operator may be killed before and after each effect, and what it sends may be lost.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use quorate_engine::{Failure, Host, Key, Snapshot};
use quorate_plan::{Action, Answer, AnyKind, Env, Event, Object, Observed};
use serde_json::Value;

use super::world::World;
use crate::operator::nodes::timestamp;

/// Whether a write was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Before,
    After,
}

/// A write of the operator that fails, and whether the operator dies of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hit {
    /// Which, from 1.
    pub write: u32,
    pub side: Side,
    pub kills: bool,
}

pub(super) struct SimHost<'w> {
    pub world: &'w mut World,
    /// The resourceVersions of the StatefulSets that were observed, and of the resource.
    sets: BTreeMap<String, String>,
    version: String,
    pub killed: bool,
}

impl<'w> SimHost<'w> {
    pub fn new(world: &'w mut World) -> Self {
        SimHost {
            world,
            sets: BTreeMap::new(),
            version: String::new(),
            killed: false,
        }
    }

    /// Between any two effects the operator may die.
    fn may_die(&mut self) -> Result<(), Failure> {
        self.killed |= self.world.faults_allowed() && self.world.rng.u32(..1000) < 4;
        if self.killed {
            self.world.count("operator killed between two effects");
            return Err(Failure::Unavailable("the operator was killed".into()));
        }
        Ok(())
    }

    /// Before a write, and after it.
    fn moment(&mut self, side: Side) -> Result<(), Failure> {
        let world = &mut *self.world;
        world.writes += u32::from(side == Side::Before);
        world.last_write = world.now;
        let hits = |hit: &Hit| hit.write == world.writes && hit.side == side;
        if let Some(hit) = world.hit.take_if(|hit| hits(hit)) {
            self.killed = hit.kills;
            return Err(Failure::Unavailable("the request timed out".into()));
        }
        self.may_die()
    }

    fn look(&mut self) -> Snapshot {
        let world = &mut *self.world;
        let answer = |name: &String| Answer {
            pod_uid: world.api.pods[name]
                .metadata
                .uid
                .clone()
                .unwrap_or_default(),
            at: timestamp(world.now),
            status: world.members.status(name, world.now),
        };
        let answers = world
            .api
            .pods
            .keys()
            .map(|name| (name.clone(), answer(name)));
        let answers: BTreeMap<_, _> = answers.collect();
        let is_idle = |answer: &Answer| {
            let status = answer.status.as_ref();
            status.is_ok_and(|status| status.restart_blockers.is_empty())
        };
        let idle = answers.iter().filter(|(_, answer)| is_idle(answer));
        let idle: BTreeSet<_> = idle.map(|(name, _)| name.clone()).collect();
        world
            .judge
            .look(&world.api, &world.members, idle, world.now);
        world.judge.wanted = world.wanted();
        let version = |set: &StatefulSet| set.metadata.resource_version.clone().unwrap_or_default();
        let sets = world.api.sets.iter();
        self.sets = sets
            .map(|(name, set)| (name.clone(), version(set)))
            .collect();
        let resource = world.api.resource.clone();
        self.version = resource["metadata"]["resourceVersion"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        Snapshot {
            resource,
            observed: Observed {
                stateful_sets: world.api.sets.clone(),
                pods: world.api.pods.clone(),
                claims: world.api.claims.clone(),
                members: answers,
                objects: world.api.objects.values().cloned().collect(),
                ..Observed::default()
            },
        }
    }

    fn carry_out(&mut self, action: &Action) -> Result<(), Failure> {
        let (world, conflict) = (&mut *self.world, || Failure::Conflict(action.name().into()));
        match action {
            Action::DeletePod { name, uid } => {
                let pod = world.api.pods.get(name);
                pod.filter(|pod| pod.metadata.uid.as_ref() == Some(uid))
                    .ok_or_else(conflict)?;
                let judged = world.judge.may_restart(&world.members, name);
                world.hold(judged);
                world.take(name);
            }
            Action::MarkClaim {
                name,
                uid,
                annotations,
                ..
            } => {
                let claim = world.api.claims.get_mut(name);
                let claim = claim.filter(|claim| claim.metadata.uid.as_ref() == Some(uid));
                let marks = &mut claim.ok_or_else(conflict)?.metadata.annotations;
                marks.get_or_insert_default().extend(annotations.clone());
            }
            Action::DeleteClaim { name, uid } => {
                let claim = world.api.claims.get_mut(name);
                let claim = claim.filter(|claim| claim.metadata.uid.as_ref() == Some(uid));
                let now = Time(timestamp(world.now));
                claim.ok_or_else(conflict)?.metadata.deletion_timestamp = Some(now);
            }
            Action::Ask {
                pod,
                pod_uid,
                request,
            } => {
                let lost = || Failure::Unavailable("the request timed out".into());
                let fate = if world.faults_allowed() {
                    world.rng.u8(..)
                } else {
                    255
                };
                let process = world.members.processes.get(pod);
                if fate < 12 || process.is_some_and(|process| process.silent > world.now) {
                    world.count("member request lost");
                    return Err(lost());
                }
                let answer = world.members.deliver(pod, pod_uid, request, world.now);
                if fate < 24 {
                    world.count("answer of a member lost");
                    return Err(lost());
                }
                answer.map_err(Failure::Refused)?;
            }
            // No volume grows here.
            Action::GrowClaim { .. } | Action::OwnPod { .. } | Action::OrphanSet { .. } => {
                world.hold(Err(format!("{} was not to be expected", action.name())));
            }
        }
        Ok(())
    }
}

impl Host for SimHost<'_> {
    fn env(&self) -> Env {
        Env {
            cluster_domain: "cluster.local".into(),
            default_image: "member".into(),
            operator_namespace: None,
        }
    }

    fn now(&self) -> Timestamp {
        timestamp(self.world.now)
    }

    async fn observe(&mut self, _: &dyn AnyKind, _: &Key) -> Result<Option<Snapshot>, Failure> {
        self.may_die()?;
        Ok((!self.world.api.resource.is_null()).then(|| self.look()))
    }

    async fn apply(&mut self, object: Object) -> Result<Object, Failure> {
        let changes = !self.world.api.is_applied(&object);
        if changes {
            self.moment(Side::Before)?;
        }
        let world = &mut *self.world;
        if changes && world.api.is_deleting() {
            let (kind, name) = (object.kind(), object.name());
            world.hold(Err(format!(
                "{kind} {name} is written while the resource is being deleted"
            )));
        }
        let applied = match object {
            Object::StatefulSet(set) => {
                let name = set.metadata.name.clone().unwrap_or_default();
                let judged = world.judge.apply(&world.api, &world.members, &set);
                world.hold(judged);
                let seen = self.sets.get(&name).map(String::as_str);
                let before = world.api.sets.get(&name).map(|set| set.spec.clone());
                let applied = world.api.apply(set, seen, timestamp(world.now))?;
                if before != Some(applied.spec.clone()) {
                    world.count("Apply");
                    world.trace_set(&applied);
                }
                Object::StatefulSet(applied)
            }
            other => {
                let key = (other.kind(), other.name().to_owned());
                world.api.objects.insert(key, other.clone());
                other
            }
        };
        if changes {
            self.moment(Side::After)?;
        }
        Ok(applied)
    }

    async fn act(&mut self, action: &Action) -> Result<(), Failure> {
        self.moment(Side::Before)?;
        self.world.trace(|| format!("{action:?}"));
        let done = self.carry_out(action);
        self.world.trace(|| format!("{done:?}"));
        done?;
        self.world.count(action.name());
        self.moment(Side::After)
    }

    async fn emit(&mut self, event: &Event) -> Result<(), Failure> {
        self.world
            .trace(|| format!("event {}: {}", event.reason, event.message));
        Ok(())
    }

    async fn write_status(&mut self, status: Value) -> Result<String, Failure> {
        self.moment(Side::Before)?;
        let current = self.world.api.resource["metadata"]["resourceVersion"].as_str();
        if current != Some(self.version.as_str()) {
            return Err(Failure::Conflict("the resource".into()));
        }
        let version = self.world.api.set_status(status);
        self.moment(Side::After)?;
        Ok(version)
    }
}
