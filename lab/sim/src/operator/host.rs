//! The engine's host in the simulation. The operator may be killed before and after each effect, what it sees may be
//! old, and what it sends may be lost or come twice.

use std::collections::BTreeMap;

use quorate_engine::{Failure, Host, Key, Snapshot};
use quorate_plan::testing::group::{Group, text};
use quorate_plan::{Action, Answer, AnyKind, Env, Event, Object, Observed, is_pod_of};
use quorate_wire::{MemberRequest, MemberState, MemberStatus};
use serde_json::Value;

use super::nodes::timestamp;
use super::world::{Late, World};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::jiff::Timestamp;

pub(super) struct SimHost<'w> {
    pub world: &'w mut World,
    /// UID and resourceVersion of the StatefulSet that was observed.
    set: Option<(String, String)>,
    resource_version: String,
    resource_uid: String,
    /// The operator's process was killed: nothing of it acts any more.
    pub killed: bool,
}

impl<'w> SimHost<'w> {
    pub fn new(world: &'w mut World) -> Self {
        SimHost {
            world,
            set: None,
            resource_version: String::new(),
            resource_uid: String::new(),
            killed: false,
        }
    }

    /// Between any two effects the operator may die, and the world goes on.
    fn moment(&mut self) -> Result<(), Failure> {
        self.world.interfere();
        self.killed |= self.world.faults_allowed() && self.world.rng.u32(..1000) < 4;
        if self.killed {
            self.world
                .counters
                .add("operator killed between two effects");
            return Err(Failure::Unavailable("the operator was killed".into()));
        }
        Ok(())
    }

    fn effect<T>(
        &mut self,
        what: &str,
        carry_out: impl FnOnce(&mut Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.moment()?;
        let done = carry_out(self);
        if let Err(failure) = &done {
            self.world.trace(|| format!("{what}: {failure}"));
        }
        self.moment()?;
        done
    }

    fn look(&mut self) -> Option<Snapshot> {
        let world = &mut *self.world;
        let faults = world.faults_allowed();
        let old = world.stale.take().filter(|_| faults);
        world.counters.add_if("stale observation", old.is_some());
        let (at, mut seen) = match old {
            Some(seen) => seen,
            None => {
                let resource = world.api.resource.clone()?;
                let set = world.api.set.clone();
                let uid = world.api.resource_uid();
                let is_ours =
                    |metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta| {
                        metadata
                            .owner_references
                            .iter()
                            .flatten()
                            .any(|owner| owner.uid == uid)
                    };
                let sets = set.filter(|set| is_ours(&set.metadata));
                let stateful_sets = sets
                    .into_iter()
                    .map(|set| (super::SET.clone(), set))
                    .collect();
                let pods = world.api.pods.iter();
                let pods = pods.filter(|(_, pod)| is_pod_of(pod, uid, &stateful_sets));
                let seen = Snapshot {
                    resource,
                    observed: Observed {
                        pods: pods
                            .map(|(name, pod)| (name.clone(), pod.clone()))
                            .collect(),
                        claims: world.api.claims.clone(),
                        stateful_sets,
                        ..Observed::default()
                    },
                };
                (world.now, seen)
            }
        };
        world.api.resource.as_ref()?;
        seen.observed.members = self.ask(&seen.observed);
        let world = &mut *self.world;
        world.answers.clone_from(&seen.observed.members);
        // Drawn now, because a copy of everything is dear.
        let again = faults && world.rng.u8(..) < 24;
        world.stale = again.then(|| (at, seen.clone()));
        self.remember(at, &seen);
        Some(seen)
    }

    /// Each pod's document; now and then the one of the round before, with its time.
    fn ask(&mut self, observed: &Observed) -> BTreeMap<String, Answer> {
        let world = &mut *self.world;
        let mut answers = BTreeMap::new();
        for name in observed.pods.keys() {
            let uid = world
                .nodes
                .processes
                .get(name)
                .map(|process| process.pod_uid.clone())
                .unwrap_or_default();
            let status = world.nodes.status(name, &world.group, world.now);
            let repeated = world.faults_allowed() && world.rng.u8(..) < 6;
            let answer = match world.answers.get(name).filter(|_| repeated) {
                Some(old) => old.clone(),
                None => Answer {
                    pod_uid: uid,
                    at: timestamp(world.now),
                    status,
                },
            };
            answers.insert(name.clone(), answer);
        }
        answers
    }

    fn remember(&mut self, at: i64, seen: &Snapshot) {
        let text_at = |pointer: &str| {
            seen.resource
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        self.resource_version = text_at("/metadata/resourceVersion");
        self.resource_uid = text_at("/metadata/uid");
        let set = seen.observed.stateful_sets.get(&*super::SET);
        self.set = set.and_then(|set| {
            Some((
                set.metadata.uid.clone()?,
                set.metadata.resource_version.clone()?,
            ))
        });
        let spec = seen.resource.get("spec").cloned().unwrap_or_default();
        let repair = needs_repair(&self.world.group, &seen.observed, self.world.now);
        let answers = seen.observed.members.values();
        let answers = answers.map(|answer| answer.at.as_millisecond());
        // Older ones are no news to anybody.
        let usable = answers.filter(|at| at + 5000 >= self.world.now);
        let as_of = usable.fold(at, i64::min);
        let world = &mut *self.world;
        world.judge.wanted_at_read = spec["members"]
            .as_i64()
            .and_then(|members| members.try_into().ok())
            .unwrap_or(0);
        world.judge.paused_at_read = spec["paused"] == true;
        world.judge.deletes_scaled_at_read = spec["storage"]["retention"]["whenScaled"] == "Delete";
        world.judge.repair_needed_at_read = repair;
        world.judge_now(|judge, scene| {
            judge.look(scene, as_of);
            Ok(())
        });
    }

    fn carry_out(&mut self, action: &Action) -> Result<(), Failure> {
        let now = timestamp(self.world.now);
        let owner = OwnerReference {
            uid: self.resource_uid.clone(),
            name: super::NAME.to_owned(),
            ..OwnerReference::default()
        };
        let world = &mut *self.world;
        world.judge_now(|judge, _| judge.anything(action.name()));
        match action {
            Action::MarkClaim {
                name,
                uid,
                annotations,
                owned,
            } => {
                let claim = world
                    .api
                    .claims
                    .get_mut(name)
                    .filter(|claim| claim.metadata.uid.as_ref() == Some(uid));
                let claim = claim.ok_or_else(|| Failure::Conflict(name.clone()))?;
                claim
                    .metadata
                    .annotations
                    .get_or_insert_default()
                    .extend(annotations.clone());
                claim.metadata.owner_references = owned.then(|| vec![owner]);
                Ok(())
            }
            Action::GrowClaim { name, uid, size } => {
                if world.faults_allowed() && world.rng.u8(..) < 64 {
                    world.counters.add("growth denied");
                    return Err(Failure::Denied(name.clone()));
                }
                let grown = world.api.grow_claim(name, uid, size);
                grown
                    .then_some(())
                    .ok_or_else(|| Failure::Conflict(name.clone()))
            }
            Action::OwnPod { name, uid, owned } => {
                let pod = world.api.pods.get_mut(name);
                let pod = pod
                    .filter(|pod| pod.metadata.uid.as_ref() == Some(uid))
                    .ok_or_else(|| Failure::Conflict(name.clone()))?;
                let owners = pod.metadata.owner_references.get_or_insert_default();
                owners.retain(|other| other.uid != owner.uid);
                owners.extend(owned.then_some(owner));
                Ok(())
            }
            Action::OrphanSet { name, uid } => world
                .api
                .orphan_set(uid)
                .then_some(())
                .ok_or_else(|| Failure::Conflict(name.clone())),
            Action::DeleteClaim { name, uid } => {
                world.judge_now(|judge, scene| judge.wipe(scene, name));
                if world.api.delete_claim(name, uid, now) {
                    Ok(())
                } else {
                    Err(Failure::Conflict(name.clone()))
                }
            }
            Action::DeletePod { name, uid } => {
                let same = world
                    .api
                    .pods
                    .get(name)
                    .is_some_and(|pod| pod.metadata.uid.as_ref() == Some(uid));
                if !same {
                    return Err(Failure::Conflict(name.clone()));
                }
                world.judge_now(|judge, scene| judge.restart(scene, name));
                world.stop_pod(name);
                Ok(())
            }
            Action::Ask {
                pod,
                pod_uid,
                request,
            } => self.send(pod, pod_uid, request),
        }
    }

    /// A request may be lost, its answer may be lost, and it may arrive once more, later.
    fn send(&mut self, pod: &str, pod_uid: &str, request: &MemberRequest) -> Result<(), Failure> {
        let world = &mut *self.world;
        let lost = || Failure::Unavailable("the request timed out".into());
        let fate = if world.faults_allowed() {
            world.rng.u8(..)
        } else {
            255
        };
        let silent = world
            .nodes
            .ailments
            .get(pod)
            .is_some_and(|ailments| ailments.silent > world.now);
        if fate < 12 || silent {
            world.counters.add("member request lost");
            return Err(lost());
        }
        if fate < 36 {
            world.counters.add("member request delivered again later");
            let due = world.now + world.rng.i64(0..6000);
            world.late.push(Late {
                due,
                pod: pod.to_owned(),
                pod_uid: pod_uid.to_owned(),
                request: request.clone(),
            });
        }
        let answer = world.deliver(pod, pod_uid, request);
        if fate > 24 && fate < 44 {
            world.counters.add("answer of a member lost");
            return Err(lost());
        }
        answer.map_err(Failure::Refused)
    }
}

/// Whether a document tells that a voter's disk is gone or damaged.
fn needs_repair(group: &Group, observed: &Observed, now: i64) -> bool {
    let Some(configuration) = group.configuration() else {
        return false;
    };
    configuration.voters().any(|seat| {
        let Some(answer) = observed.members.get(&seat.name) else {
            return false;
        };
        let pod = observed.pods.get(&seat.name);
        let same = pod.is_some_and(|pod| {
            pod.metadata.uid.as_ref() == Some(&answer.pod_uid)
                && pod.metadata.deletion_timestamp.is_none()
        });
        let fresh = timestamp(now).duration_since(answer.at).as_millis() <= 5000;
        let lost = |status: &MemberStatus| {
            status.state == MemberState::Damaged || status.incarnation != text(seat.id)
        };
        same && fresh && answer.status.as_ref().is_ok_and(lost)
    })
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
        self.moment()?;
        Ok(self.look())
    }

    async fn apply(&mut self, object: Object) -> Result<Object, Failure> {
        let Object::StatefulSet(set) = &object else {
            // Of the objects without consequence here each is an effect like the others.
            let now = timestamp(self.world.now);
            self.moment()?;
            return self.world.api.apply(object, None, now);
        };
        let set = set.clone();
        self.effect("apply", |host| {
            let world = &mut *host.world;
            let now = timestamp(world.now);
            let seen = host
                .set
                .as_ref()
                .map(|(uid, version)| (uid.as_str(), version.as_str()));
            let current = world.api.set.as_ref().and_then(|set| {
                Some((
                    set.metadata.uid.as_deref()?,
                    set.metadata.resource_version.as_deref()?,
                ))
            });
            let differs = world
                .api
                .set
                .as_ref()
                .is_none_or(|living| living.spec != set.spec);
            let is_around_pods = current.is_none() && !world.api.pods.is_empty();
            let is_anew = current.is_none() && world.api.has_own_claims();
            if seen == current && differs {
                // A pause in between leaves no pods without one.
                if !is_around_pods {
                    world.judge_now(|judge, _| judge.anything("a StatefulSet is applied"));
                }
                world.judge_now(|judge, scene| judge.apply(scene, &set));
                world.trace_set(&set);
            }
            let applied = world.api.apply(object, seen, now);
            // The first revision is the stable one. If that is broken (no status told of a better one), nobody remembers
            // another to come back at.
            world.beyond_survival |= is_anew && world.newest_is_broken();
            world.counters.add_if("Apply", applied.is_ok());
            applied
        })
    }

    async fn act(&mut self, action: &Action) -> Result<(), Failure> {
        self.effect(action.name(), |host| {
            host.world.trace(|| format!("{action:?}"));
            host.carry_out(action)?;
            host.world.counters.add(action.name());
            Ok(())
        })
    }

    async fn emit(&mut self, event: &Event) -> Result<(), Failure> {
        self.world
            .trace(|| format!("event {}: {}", event.reason, event.message));
        self.world.counters.add("Emit");
        Ok(())
    }

    async fn write_status(&mut self, status: Value) -> Result<String, Failure> {
        self.effect("status", |host| {
            let world = &mut *host.world;
            let current = world.api.resource.as_ref();
            let version = current
                .and_then(|resource| resource.pointer("/metadata/resourceVersion")?.as_str());
            if version != Some(host.resource_version.as_str()) {
                world.counters.add("status write in conflict");
                return Err(Failure::Conflict("the resource".into()));
            }
            world.counters.add("WriteStatus");
            Ok(world.api.set_status(status))
        })
    }
}
