//! The nodes: pods become processes on disks, and processes say what they are.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateWaiting, ContainerStatus, Pod, PodCondition, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use quorate_plan::testing::group::{Group, Id, text};
use quorate_plan::testing::sound_member;
use quorate_wire::{GroupStatus, MemberState, MemberStatus, Part, RestartBlocker, Role};

use super::api::Api;

/// So long a member and its peers do not notice that they have lost each other.
pub(super) const ELECTION_TIMEOUT: i64 = 1000;

/// Images of this version never run.
pub(crate) const BROKEN: &str = "broken";

/// What is on a volume.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    /// The resource that it was first opened for; members of another do not start on it.
    pub cluster: String,
    pub id: Id,
    pub content: MemberState,
    /// Damaged data can make way on this disk: its identity can be read, and the disk still takes a mark.
    pub can_set_aside: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Process {
    pub pod_uid: String,
    pub claim_uid: String,
    /// When it starts, again where it crashed; in milliseconds.
    starts: i64,
    /// When it has ended, of a pod that is being deleted.
    ends: Option<i64>,
    pub running: bool,
    version: String,
}

/// What is wrong with a pod for a while, each until some millisecond.
#[derive(Clone, Debug, Default)]
pub(super) struct Ailments {
    /// The operator does not reach it.
    pub silent: i64,
    /// Its peers do not reach it; it says what it knew when that began.
    pub cut: i64,
    cut_since: i64,
    /// What a member that is cut off goes on to say: what it knew when it was cut off, its own acts included.
    cut_view: Option<GroupStatus>,
    /// Its disk or its network is slow.
    pub slow: i64,
    /// It does something that a restart would interrupt.
    pub busy: i64,
}

#[derive(Debug, Default)]
pub(super) struct Nodes {
    /// By the claim's UID.
    pub disks: BTreeMap<String, Disk>,
    /// By the pod's name.
    pub processes: BTreeMap<String, Process>,
    pub ailments: BTreeMap<String, Ailments>,
    pub contacts: u32,
}

impl Ailments {
    fn is_known_to_be_cut(&self, now: i64) -> bool {
        self.cut > now && self.cut_since + ELECTION_TIMEOUT <= now
    }
}

impl Nodes {
    pub fn disk_of(&self, pod: &str) -> Option<&Disk> {
        self.disks.get(&self.processes.get(pod)?.claim_uid)
    }

    /// The pod whose running process has this identity.
    pub fn pod_of(&self, id: Id) -> Option<&str> {
        self.processes
            .iter()
            .find(|(pod, process)| {
                process.running && self.disk_of(pod).is_some_and(|disk| disk.id == id)
            })
            .map(|(pod, _)| pod.as_str())
    }

    /// Identities that run, are sound, and reach their peers.
    pub fn alive(&self, now: i64) -> BTreeSet<Id> {
        self.sound(|ailments| ailments.cut <= now)
    }

    /// The same, as far as the members themselves can know.
    pub fn heard(&self, now: i64) -> BTreeSet<Id> {
        self.sound(|ailments| !ailments.is_known_to_be_cut(now))
    }

    fn sound(&self, reached: impl Fn(&Ailments) -> bool) -> BTreeSet<Id> {
        self.processes
            .iter()
            .filter(|(pod, process)| {
                process.running && self.ailments.get(*pod).is_none_or(&reached)
            })
            .filter_map(|(pod, _)| self.disk_of(pod))
            .filter(|disk| disk.content == MemberState::Running)
            .map(|disk| disk.id)
            .collect()
    }

    fn slow(&self, now: i64) -> BTreeSet<Id> {
        let slow = self
            .ailments
            .iter()
            .filter(|(_, ailments)| ailments.slow > now);
        slow.filter_map(|(pod, _)| self.disk_of(pod))
            .map(|disk| disk.id)
            .collect()
    }

    /// Time goes on for kubelets, processes and the group.
    ///
    /// # Errors
    /// When the group lost what it had committed.
    pub fn step(
        &mut self,
        api: &mut Api,
        group: &mut Group,
        rng: &mut Rng,
        now: i64,
    ) -> Result<(), String> {
        self.admit(api, rng, now);
        self.end(api, now);
        self.start(api.resource_uid(), rng, now);
        group.step(&self.alive(now), &self.slow(now), rng)?;
        self.hear(group, rng, now);
        self.release_claims(api, group);
        self.report(api, group, now);
        Ok(())
    }

    /// A kubelet sees new pods, and pods that are to go.
    fn admit(&mut self, api: &Api, rng: &mut Rng, now: i64) {
        for (name, pod) in &api.pods {
            let claim = api.claims.get(&format!("data-{name}"));
            let claim_uid = claim.and_then(|claim| claim.metadata.uid.clone());
            if let (None, Some(claim_uid)) = (self.processes.get(name), claim_uid) {
                let process = Process {
                    pod_uid: pod.metadata.uid.clone().unwrap_or_default(),
                    claim_uid,
                    starts: now + rng.i64(0..1200),
                    ends: None,
                    running: false,
                    version: version(pod),
                };
                self.processes.insert(name.clone(), process);
            }
            if let Some(process) = self
                .processes
                .get_mut(name)
                .filter(|_| pod.metadata.deletion_timestamp.is_some())
            {
                process.ends.get_or_insert_with(|| now + rng.i64(0..800));
            }
        }
    }

    fn end(&mut self, api: &mut Api, now: i64) {
        let over = |process: &Process| process.ends.is_some_and(|ends| ends <= now);
        let ended: Vec<String> = self
            .processes
            .iter()
            .filter(|(_, process)| over(process))
            .map(|(pod, _)| pod.clone())
            .collect();
        for pod in ended {
            self.processes.remove(&pod);
            self.ailments.remove(&pod);
            api.pods.remove(&pod);
            api.touched = true;
        }
        // A pod without a claim has no process that could end.
        let orphans = |(name, pod): &(&String, &Pod)| {
            pod.metadata.deletion_timestamp.is_some() && !self.processes.contains_key(*name)
        };
        let orphans: Vec<String> = api
            .pods
            .iter()
            .filter(orphans)
            .map(|(name, _)| name.clone())
            .collect();
        for orphan in orphans {
            api.pods.remove(&orphan);
        }
    }

    /// A process opens its disk: an empty one gets an identity, a removed one sets its data aside and gets another.
    /// On the disk of another resource it does not start.
    fn start(&mut self, cluster: &str, rng: &mut Rng, now: i64) {
        for process in self.processes.values_mut() {
            if process.running
                || process.starts > now
                || process.ends.is_some()
                || process.version == BROKEN
            {
                continue;
            }
            process.running = true;
            let fresh = Disk {
                cluster: cluster.to_owned(),
                id: rng.u64(1..),
                content: MemberState::Empty,
                can_set_aside: false,
            };
            let disk = self
                .disks
                .entry(process.claim_uid.clone())
                .or_insert_with(|| fresh.clone());
            if disk.cluster != cluster {
                process.running = false;
                continue;
            }
            if disk.content == MemberState::Removed {
                *disk = fresh;
            }
        }
    }

    /// A process dies and comes back on the same disk.
    pub fn crash(&mut self, pod: &str, now: i64, rng: &mut Rng) -> bool {
        let Some(process) = self
            .processes
            .get_mut(pod)
            .filter(|process| process.running)
        else {
            return false;
        };
        process.running = false;
        process.starts = now + rng.i64(200..5000);
        if let Some(ailments) = self.ailments.get_mut(pod) {
            // One that is cut off has heard of nobody when it is back.
            ailments.cut_since = now - ELECTION_TIMEOUT;
        }
        true
    }

    /// The content of a disk is gone; the claim is the same.
    pub fn wipe(&mut self, pod: &str, group: &mut Group) {
        let Some(process) = self.processes.get_mut(pod) else {
            return;
        };
        process.running = false;
        if let Some(disk) = self.disks.remove(&process.claim_uid) {
            group.forget(disk.id);
        }
    }

    /// What the leader tells: an empty member that it is one, a removed one that it is none.
    fn hear(&mut self, group: &mut Group, rng: &mut Rng, now: i64) {
        let (Some(_), Some(in_force)) = (group.leader, group.configuration().cloned()) else {
            return;
        };
        for (pod, process) in self.processes.iter().filter(|(_, process)| process.running) {
            let cut = self
                .ailments
                .get(pod)
                .is_some_and(|ailments| ailments.cut > now);
            let Some(disk) = self
                .disks
                .get_mut(&process.claim_uid)
                .filter(|_| !cut && rng.u8(..) < 90)
            else {
                continue;
            };
            let knows = in_force.seat(disk.id).is_some();
            match disk.content {
                MemberState::Empty if knows => {
                    disk.content = MemberState::Running;
                    group.held.insert(disk.id, 0);
                    self.contacts += 1;
                }
                MemberState::Running if group.removed.contains(&disk.id) => {
                    disk.content = MemberState::Removed;
                    group.forget(disk.id);
                }
                _ => {}
            }
        }
    }

    fn release_claims(&mut self, api: &mut Api, group: &mut Group) {
        let going = api
            .claims
            .iter()
            .filter(|(_, claim)| claim.metadata.deletion_timestamp.is_some());
        let free =
            going.filter(|(name, _)| !api.pods.keys().any(|pod| **name == format!("data-{pod}")));
        let gone: Vec<String> = free.map(|(name, _)| name.clone()).collect();
        for name in gone {
            let claim = api.claims.remove(&name);
            let uid = claim
                .and_then(|claim| claim.metadata.uid)
                .unwrap_or_default();
            if let Some(disk) = self.disks.remove(&uid) {
                group.forget(disk.id);
            }
            api.touched = true;
        }
    }

    /// The kubelets' probes: Ready means a voter within its lag bound.
    fn report(&mut self, api: &mut Api, group: &Group, now: i64) {
        for (name, pod) in &mut api.pods {
            let running = self
                .processes
                .get(name)
                .is_some_and(|process| process.running);
            let cut = self.ailments.get(name);
            let cut = cut.is_some_and(|ailments| ailments.is_known_to_be_cut(now));
            let hears = running && !cut;
            let ready = hears && self.disk_of(name).is_some_and(|disk| is_ready(disk, group));
            let was = pod
                .status
                .as_ref()
                .and_then(|status| status.phase.as_deref());
            let broken = self.processes.get(name);
            let broken = broken.is_some_and(|p| p.version == BROKEN && p.starts <= now);
            let same = quorate_model::is_ready(pod) == ready && is_waiting(pod) == broken;
            if was == Some("Failed") || (was.is_some() && same) {
                continue;
            }
            api.touched = true;
            pod.status = Some(pod_status(name, ready, broken, now));
        }
    }

    /// The peers of a pod lose it: it learns nothing more, and goes on telling what it knew then.
    pub fn cut(&mut self, pod: &str, group: &Group, now: i64, until: i64) {
        let heard = self.heard(now);
        let running = self
            .disk_of(pod)
            .filter(|disk| disk.content == MemberState::Running);
        let view = running.and_then(|disk| group.status(disk.id, &heard));
        let ailments = self.ailments.entry(pod.to_owned()).or_default();
        if ailments.cut <= now {
            (ailments.cut_since, ailments.cut_view) = (now, view);
        }
        ailments.cut = until;
    }

    /// The member's document, or why there is none.
    pub fn status(&mut self, pod: &str, group: &Group, now: i64) -> Result<MemberStatus, String> {
        let heard = self.heard(now);
        let process = self
            .processes
            .get(pod)
            .filter(|process| process.running)
            .ok_or("connection refused")?;
        let disk = self
            .disks
            .get(&process.claim_uid)
            .ok_or("connection refused")?;
        let ailments = self.ailments.entry(pod.to_owned()).or_default();
        if ailments.silent > now {
            return Err("timed out".into());
        }
        let alone = ailments.is_known_to_be_cut(now);
        let mut groups = Vec::new();
        if disk.content == MemberState::Running {
            let view = group.status(disk.id, &heard);
            let frozen = ailments.cut_view.clone().filter(|_| ailments.cut > now);
            let view = frozen.or(view);
            groups.extend(view.map(|view| if alone { leaderless(view) } else { view }));
        }
        let damaged = disk.content == MemberState::Damaged;
        let can_set_aside = damaged && disk.can_set_aside;
        let blocker = RestartBlocker {
            code: "SendingSnapshot".into(),
            message: "a snapshot is being sent".into(),
        };
        Ok(MemberStatus {
            kind: super::kind().names().kind.clone(),
            name: pod.to_owned(),
            version: process.version.clone(),
            cluster: disk.cluster.clone(),
            incarnation: text(if damaged && !can_set_aside {
                0
            } else {
                disk.id
            }),
            state: disk.content,
            reason: damaged.then(|| "a checksum does not hold".into()),
            ready: !alone && is_ready(disk, group),
            can_set_aside,
            restart_blockers: Vec::from_iter((ailments.busy > now).then_some(blocker)),
            groups,
            ..sound_member()
        })
    }
}

fn is_ready(disk: &Disk, group: &Group) -> bool {
    let votes = group
        .configuration()
        .and_then(|configuration| configuration.seat(disk.id))
        .is_some_and(|seat| seat.part != Part::Learner);
    disk.content == MemberState::Running
        && votes
        && group.leader.is_some()
        && group.is_caught_up(disk.id)
}

pub(crate) fn version(pod: &Pod) -> String {
    let labels = pod.metadata.labels.as_ref();
    labels
        .and_then(|labels| labels.get("app.kubernetes.io/version"))
        .cloned()
        .unwrap_or_default()
}

pub(crate) fn pod_status(name: &str, ready: bool, broken: bool, now: i64) -> PodStatus {
    let condition = PodCondition {
        type_: "Ready".into(),
        status: if ready { "True" } else { "False" }.into(),
        last_transition_time: Some(Time(timestamp(now))),
        ..PodCondition::default()
    };
    let octet = name.bytes().last().unwrap_or(b'0');
    PodStatus {
        phase: Some("Running".into()),
        pod_ip: Some(format!("127.0.1.{octet}")),
        conditions: Some(vec![condition]),
        container_statuses: broken.then(|| vec![crash_loop()]),
        ..PodStatus::default()
    }
}

fn crash_loop() -> ContainerStatus {
    let waiting = ContainerStateWaiting {
        reason: Some("CrashLoopBackOff".into()),
        message: None,
    };
    ContainerStatus {
        name: "member".into(),
        state: Some(ContainerState {
            waiting: Some(waiting),
            ..ContainerState::default()
        }),
        ..ContainerStatus::default()
    }
}

fn is_waiting(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    status.is_some_and(|status| status.container_statuses.is_some())
}

/// A member that has heard none of its peers for an election timeout: a leader steps down, a follower asks for votes.
fn leaderless(mut view: GroupStatus) -> GroupStatus {
    if view.role != Role::Learner {
        view.role = Role::PreCandidate;
    }
    view.leader = None;
    for member in &mut view.configuration.members {
        (member.match_index, member.caught_up) = (None, None);
    }
    view
}

/// A moment of the simulation.
pub(crate) fn timestamp(now: i64) -> Timestamp {
    Timestamp::from_millisecond(now).unwrap_or(Timestamp::UNIX_EPOCH)
}
