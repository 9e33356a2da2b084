//! One simulated world: an API server, nodes, a raft group, an operator, and a judge.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use fastrand::Rng;
use k8s_openapi::api::apps::v1::StatefulSet;
use quorate_engine::{Key, Memory, Round, Snapshot, reconcile};
use quorate_model::Rules;
use quorate_plan::Answer;
use quorate_plan::testing::group::{Group, Id, Refused};
use quorate_wire::{GroupRequest, MemberRequest, MemberState};

use super::api::Api;
use super::host::SimHost;
use super::judge::{Judge, Scene};
use super::nodes::{Nodes, timestamp};
use super::user::User;
use super::{NAME, kind};
use crate::counters::Counters;

/// A request that is delivered once more.
#[derive(Clone, Debug)]
pub(super) struct Late {
    pub due: i64,
    pub pod: String,
    pub pod_uid: String,
    pub request: MemberRequest,
}

pub(super) struct World {
    /// In milliseconds.
    pub now: i64,
    pub rng: Rng,
    pub api: Api,
    pub nodes: Nodes,
    pub group: Group,
    pub judge: Judge,
    pub counters: Counters,
    /// What the operator is going to see once more, and when its caches were current.
    pub stale: Option<(i64, Snapshot)>,
    /// What the members answered last.
    pub answers: BTreeMap<String, Answer>,
    pub late: Vec<Late>,
    pub user: User,
    memory: Memory,
    next_round: i64,
    /// Until when faults happen.
    pub calm_from: i64,
    /// More was lost than a group survives: it must stay safe, but need not come back.
    pub beyond_survival: bool,
    /// The first property that did not hold.
    pub broken: Option<String>,
    print: bool,
    hash: u64,
}

impl World {
    pub fn new(seed: u64, print: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let api = Api::new(Rules {
            max_unavailable_gate: rng.bool(),
        });
        let now = 1_000_000;
        let calm_from = now + rng.i64(6_000..32_000);
        let user = User::new(&mut rng);
        let mut world = World {
            now,
            rng,
            api,
            nodes: Nodes::default(),
            group: Group::within("default"),
            judge: Judge::default(),
            counters: Counters::default(),
            stale: None,
            answers: BTreeMap::new(),
            late: Vec::new(),
            user,
            memory: Memory::default(),
            next_round: now,
            calm_from,
            beyond_survival: false,
            broken: None,
            print,
            hash: 0xcbf2_9ce4_8422_2325,
        };
        let spec = world.user.spec();
        world.api.create_resource(NAME, spec, timestamp(now));
        world
    }

    pub fn faults_allowed(&self) -> bool {
        self.now < self.calm_from
    }

    /// A line of the trace; the hash of all lines is the seed's fingerprint.
    pub fn trace(&mut self, line: impl FnOnce() -> String) {
        let mut text = String::new();
        let _ = write!(
            text,
            "{:>8.1} {}",
            (self.now - 1_000_000) as f64 / 1000.0,
            line()
        );
        for byte in text.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        if self.print {
            println!("{text}");
        }
    }

    /// Adds what the group went through.
    pub fn count_group(&mut self) {
        self.counters.add_many("election", self.group.elections);
        self.counters
            .add_many("joint configuration entered", self.group.joint_entered);
        self.counters
            .add_many("configuration rolled back", self.group.rolled_back);
        self.counters.add_many(
            "learner contacted",
            std::mem::take(&mut self.nodes.contacts),
        );
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }

    pub fn trace_set(&mut self, set: &StatefulSet) {
        let Some(spec) = &set.spec else { return };
        let image = spec
            .template
            .spec
            .as_ref()
            .and_then(|spec| spec.containers.first()?.image.clone());
        let rolling = spec
            .update_strategy
            .as_ref()
            .and_then(|strategy| strategy.rolling_update.clone());
        let partition = rolling.and_then(|rolling| rolling.partition);
        let (image, replicas) = (image.unwrap_or_default(), spec.replicas.unwrap_or(0));
        self.trace(|| {
            format!(
                "apply replicas {replicas} partition {} image {image}",
                partition.unwrap_or(0)
            )
        });
    }

    /// Asks the judge; the first verdict against the operator ends the seed.
    pub fn judge_now(&mut self, ask: impl FnOnce(&mut Judge, &Scene<'_>) -> Result<(), String>) {
        let scene = Scene {
            api: &self.api,
            nodes: &self.nodes,
            group: &self.group,
            now: self.now,
        };
        if let Err(verdict) = ask(&mut self.judge, &scene) {
            self.break_with(verdict);
        }
    }

    pub fn break_with(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }

    /// 200 milliseconds.
    pub fn tick(&mut self) {
        self.now += 200;
        self.user_acts();
        if self.faults_allowed() {
            self.fault();
        }
        if let Err(lost) = self
            .nodes
            .step(&mut self.api, &mut self.group, &mut self.rng, self.now)
        {
            self.break_with(lost);
        }
        self.deliver_late();
        let lazy = self.faults_allowed() && self.rng.u8(..) < 60;
        let event = self.api.touched;
        if (event && !lazy) || self.now % 2000 == 0 {
            self.control();
            self.next_round = self.next_round.min(self.now + 400);
        }
        self.judge_now(|judge, scene| {
            judge.watch(scene);
            Ok(())
        });
        if self.now >= self.next_round && self.broken.is_none() {
            self.operate();
        }
    }

    /// One round of the StatefulSet's controller.
    fn control(&mut self) {
        let mut granted = BTreeSet::new();
        self.judge_now(|judge, scene| {
            granted = judge.granted(scene);
            Ok(())
        });
        if let Err(unsupported) = self.api.control(timestamp(self.now)) {
            self.break_with(unsupported);
        }
        self.judge_now(|judge, scene| {
            judge.use_grants(scene, &granted);
            Ok(())
        });
    }

    /// One round of the operator.
    fn operate(&mut self) {
        let mut memory = std::mem::take(&mut self.memory);
        let key = Key {
            namespace: "default".into(),
            name: NAME.into(),
        };
        let mut host = SimHost::new(self);
        let round = finish(reconcile(&mut host, kind(), &key, &mut memory));
        if host.killed {
            memory = Memory::default();
            self.stale = None;
            self.answers.clear();
            self.trace(|| "the operator starts anew".into());
        }
        self.memory = memory;
        let pause = match round {
            Ok(Round::Done {
                requeue_after,
                refusals,
                ..
            }) => {
                for refused in &refusals {
                    self.counters.add(refused.refusal.name());
                }
                i64::try_from(requeue_after.as_millis()).unwrap_or(1000)
            }
            Ok(Round::Gone) => 1000,
            Ok(Round::Rejected(why)) => {
                self.break_with(format!("a valid spec was rejected: {why}"));
                1000
            }
            Err(_) => 400,
        };
        self.next_round = self.now + pause + self.rng.i64(0..200);
    }

    /// A pod is to go: SIGTERM makes a leader hand over.
    pub fn stop_pod(&mut self, pod: &str) {
        let Some(uid) = self
            .api
            .pods
            .get(pod)
            .and_then(|pod| pod.metadata.uid.clone())
        else {
            return;
        };
        self.api.delete_pod(pod, &uid, timestamp(self.now));
        let leader = self
            .nodes
            .disk_of(pod)
            .map(|disk| disk.id)
            .filter(|id| self.group.leader == Some(*id));
        if let Some(leader) = leader {
            let alive = self.nodes.alive(self.now);
            let successor = alive
                .iter()
                .copied()
                .find(|id| *id != leader && self.group.is_caught_up(*id));
            if let Some(successor) = successor {
                let _ = self.group.transfer(leader, successor, &alive);
            }
        }
    }

    fn deliver_late(&mut self) {
        let (due, later) = std::mem::take(&mut self.late)
            .into_iter()
            .partition(|late| late.due <= self.now);
        self.late = later;
        let due: Vec<Late> = due;
        for late in due {
            let _ = self.deliver(&late.pod, &late.pod_uid, &late.request);
        }
    }

    /// A request arrives at a member.
    pub fn deliver(
        &mut self,
        pod: &str,
        pod_uid: &str,
        request: &MemberRequest,
    ) -> Result<(), String> {
        let process = self
            .nodes
            .processes
            .get(pod)
            .filter(|process| process.running && process.pod_uid == pod_uid);
        let claim = process
            .map(|process| process.claim_uid.clone())
            .ok_or("connection refused")?;
        let disk = self
            .nodes
            .disks
            .get(&claim)
            .cloned()
            .ok_or("connection refused")?;
        let id = |text: &str| Id::from_str_radix(text, 16).unwrap_or(0);
        let refuse = |refused: Refused| format!("{refused:?}");
        self.trace(|| format!("{pod} is asked: {request:?}"));
        let request = GroupRequest::read(&request.path, &request.body);
        match request.ok_or("there is no such request")? {
            GroupRequest::Bootstrap(bootstrap) => {
                if id(&bootstrap.incarnation) != disk.id {
                    return Err("another disk has come into its place".into());
                }
                if disk.content == MemberState::Empty {
                    let known = super::judge::who_knows_a_group(&self.api, &self.nodes, disk.id);
                    self.group.bootstrap(disk.id, pod);
                    if let Some(disk) = self.nodes.disks.get_mut(&claim) {
                        disk.content = MemberState::Running;
                    }
                    if let Some(who) = known.filter(|_| self.group.bootstraps > 1) {
                        self.break_with(format!(
                            "{pod} forms a second group, and {who} knows the first"
                        ));
                    }
                }
                Ok(())
            }
            GroupRequest::AddLearner(add) => {
                let learner = id(&add.id);
                let judged = |judge: &mut Judge, scene: &Scene<'_>| judge.add(scene, learner);
                self.change(disk.id, add.configuration_index, judged, |group| {
                    group
                        .add_learner(disk.id, add.configuration_index, learner, &add.name)
                        .map_err(refuse)
                })
            }
            GroupRequest::Promote { id: member, change } => {
                let member = id(&member);
                let judged = |judge: &mut Judge, scene: &Scene<'_>| judge.promote(scene, member);
                self.change(disk.id, change.configuration_index, judged, |group| {
                    group
                        .promote(disk.id, change.configuration_index, member)
                        .map_err(refuse)
                })
            }
            GroupRequest::Remove { id: member, change } => {
                let member = id(&member);
                let judged = |judge: &mut Judge, scene: &Scene<'_>| judge.remove(scene, member);
                self.change(disk.id, change.configuration_index, judged, |group| {
                    group
                        .remove(disk.id, change.configuration_index, member)
                        .map_err(refuse)
                })
            }
            GroupRequest::SetAside(asked) => {
                if id(&asked.incarnation) != disk.id {
                    return Err("another disk has come into its place".into());
                }
                match disk.content {
                    MemberState::Removed => return Ok(()),
                    MemberState::Damaged if disk.can_set_aside => {}
                    _ => return Err("there is nothing damaged that could be set aside".into()),
                }
                self.judge_now(|judge, scene| judge.set_aside(scene, pod, &disk));
                let no_room = self.rng.u8(..8) == 0;
                if let Some(disk) = self.nodes.disks.get_mut(&claim) {
                    disk.can_set_aside = false;
                    if !no_room {
                        disk.content = MemberState::Removed;
                    }
                }
                match no_room {
                    true => Err("there is no room for another".into()),
                    false => Ok(()),
                }
            }
            GroupRequest::TransferLeader(transfer) => {
                let alive = self.nodes.alive(self.now);
                let to = transfer.to.as_deref().map_or(0, id);
                self.group.transfer(disk.id, to, &alive).map_err(refuse)
            }
        }
    }

    /// Judges a change only if it is going to be made.
    fn change(
        &mut self,
        asked: Id,
        index: u64,
        judged: impl FnOnce(&mut Judge, &Scene<'_>) -> Result<(), String>,
        make: impl FnOnce(&mut Group) -> Result<(), String>,
    ) -> Result<(), String> {
        let in_force = self.group.configuration();
        let will = self.group.leader == Some(asked)
            && in_force
                .is_some_and(|c| c.index == index && c.index <= self.group.commit && !c.is_joint());
        if will {
            self.judge_now(judged);
        }
        make(&mut self.group)
    }
}

/// Runs a future whose every wait is over at once.
pub(crate) fn finish<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return done;
        }
    }
}
