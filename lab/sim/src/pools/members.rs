//! Members as stand-ins: each is ready a while after its pod was made, and says what it is; those of a group take their part
//! in an abstract one.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use quorate_model::{is_ready, ordinal};
use quorate_plan::Voters;
use quorate_wire::{
    GroupRequest, MemberRequest, MemberState, MemberStatus, Part, RestartBlocker, STATUS_VERSION,
};

use super::api::{Api, set_of};
use crate::operator::group::{Group, Id};
use crate::operator::nodes::{BROKEN, group_status, pod_status, text, version};

#[derive(Clone, Debug)]
pub(super) struct Process {
    pod_uid: String,
    /// The claim's UID, or the pod's where there is none.
    disk: String,
    starts: i64,
    ends: Option<i64>,
    pub running: bool,
    version: String,
    /// Until when it has work in hand, the operator does not reach it, and it takes no work since it was asked to drain.
    pub busy: i64,
    pub silent: i64,
    drained: i64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Members {
    /// The StatefulSet whose members form a group, and who of them votes.
    pub grouped: Option<(String, Voters)>,
    pub group: Group,
    pub processes: BTreeMap<String, Process>,
    disks: BTreeMap<String, (Id, MemberState)>,
}

impl Members {
    pub fn is_grouped(&self, pod: &str) -> bool {
        let grouped = self.grouped.as_ref();
        grouped.is_some_and(|(set, _)| set == set_of(pod))
    }

    /// Whether it is a member of the group's pool that never votes.
    fn is_spare(&self, pod: &str) -> bool {
        let Some((set, Voters::First(voters))) = &self.grouped else {
            return false;
        };
        ordinal(set, pod).is_some_and(|ordinal| ordinal >= *voters)
    }

    pub fn id_of(&self, pod: &str) -> Option<Id> {
        let process = self.processes.get(pod).filter(|process| process.running)?;
        self.disks.get(&process.disk).map(|(id, _)| *id)
    }

    /// The members of the group that run.
    pub fn alive(&self) -> BTreeSet<Id> {
        let pods = self.processes.keys().filter(|pod| self.is_grouped(pod));
        pods.filter_map(|pod| self.id_of(pod)).collect()
    }

    /// Time goes on for kubelets, processes and the group.
    ///
    /// # Errors
    /// When the group lost what it had committed.
    pub fn step(&mut self, api: &mut Api, rng: &mut Rng, now: i64) -> Result<(), String> {
        for (name, pod) in &api.pods {
            let pod_uid = pod.metadata.uid.clone().unwrap_or_default();
            let claim = api.claims.get(&format!("data-{name}"));
            let disk = claim.and_then(|claim| claim.metadata.uid.clone());
            let fresh = || Process {
                disk: disk.unwrap_or_else(|| pod_uid.clone()),
                pod_uid,
                starts: now + rng.i64(0..1200),
                ends: None,
                running: false,
                version: version(pod),
                busy: 0,
                silent: 0,
                drained: 0,
            };
            let process = self.processes.entry(name.clone()).or_insert_with(fresh);
            if pod.metadata.deletion_timestamp.is_some() && process.ends.is_none() {
                process.ends = Some(now + rng.i64(0..800));
            }
        }
        let over = |process: &Process| process.ends.is_some_and(|ends| ends <= now);
        for (pod, _) in self.processes.extract_if(.., |_, process| over(process)) {
            api.pods.remove(&pod);
        }
        for claim in api.release_claims() {
            if let Some((id, _)) = self.disks.remove(&claim) {
                self.group.forget(id);
            }
        }
        self.start(rng, now);
        let alive = self.alive();
        self.group.step(&alive, &BTreeSet::new(), rng)?;
        self.hear();
        self.report(api, now);
        Ok(())
    }

    fn start(&mut self, rng: &mut Rng, now: i64) {
        for (pod, process) in &mut self.processes {
            let waits = process.starts > now || process.ends.is_some();
            if process.running || waits || process.version == BROKEN {
                continue;
            }
            process.running = true;
            let grouped = self.grouped.as_ref();
            let state = match grouped.is_some_and(|(set, _)| set == set_of(pod)) {
                true => MemberState::Empty,
                false => MemberState::Running,
            };
            let fresh = (rng.u64(1..), state);
            let disk = self.disks.entry(process.disk.clone()).or_insert(fresh);
            if disk.1 == MemberState::Removed {
                *disk = fresh;
            }
        }
    }

    /// What the leader tells: an empty member that it is one, a removed one that it is none.
    fn hear(&mut self) {
        let (Some(_), Some(in_force)) = (self.group.leader, self.group.configuration()) else {
            return;
        };
        let in_force = in_force.clone();
        let pods = self.processes.iter().filter(|(_, process)| process.running);
        for (pod, process) in pods {
            let Some((id, state)) = self.disks.get_mut(&process.disk) else {
                continue;
            };
            let grouped = self.grouped.as_ref();
            if grouped.is_none_or(|(set, _)| set != set_of(pod)) {
                continue;
            }
            match *state {
                MemberState::Empty if in_force.seat(*id).is_some() => {
                    *state = MemberState::Running;
                    self.group.held.insert(*id, 0);
                }
                MemberState::Running if self.group.removed.contains(id) => {
                    *state = MemberState::Removed;
                    self.group.forget(*id);
                }
                _ => {}
            }
        }
    }

    fn report(&self, api: &mut Api, now: i64) {
        for (name, pod) in &mut api.pods {
            let ready = self.is_ready(name, now);
            let process = self.processes.get(name);
            let broken = process.is_some_and(|p| p.version == BROKEN && p.starts <= now);
            let status = pod.status.as_ref();
            let told = status.map(|status| status.container_statuses.is_some());
            if told != Some(broken) || is_ready(pod) != ready {
                pod.status = Some(pod_status(name, ready, broken, now));
            }
        }
    }

    /// Whether it serves: of a group a voter that is caught up, or one beyond the voters while somebody leads.
    pub fn is_ready(&self, pod: &str, now: i64) -> bool {
        let (Some(process), Some(id)) = (self.processes.get(pod), self.id_of(pod)) else {
            return false;
        };
        if !self.is_grouped(pod) {
            return process.drained <= now;
        }
        let configuration = self.group.configuration();
        let seat = configuration.and_then(|in_force| in_force.seat(id));
        let in_place = match seat {
            Some(seat) => seat.part != Part::Learner && self.group.is_caught_up(id),
            None => {
                self.is_spare(pod)
                    && self.disks.get(&process.disk).map(|d| d.1) == Some(MemberState::Empty)
            }
        };
        self.group.leader.is_some() && in_place
    }

    /// The member's document, or why there is none.
    pub fn status(&self, pod: &str, cluster: &str, now: i64) -> Result<MemberStatus, String> {
        let process = self.processes.get(pod).filter(|process| process.running);
        let process = process.ok_or("connection refused")?;
        let disk = self.disks.get(&process.disk).copied();
        let (id, state) = disk.ok_or("connection refused")?;
        if process.silent > now {
            return Err("timed out".into());
        }
        let runs = self.is_grouped(pod) && state == MemberState::Running;
        let group = runs.then(|| group_status(id, &self.group, &self.alive()));
        let work = RestartBlocker {
            code: "Work".into(),
            message: "it has work in hand".into(),
        };
        Ok(MemberStatus {
            schema: STATUS_VERSION.into(),
            kind: String::new(),
            name: pod.to_owned(),
            version: process.version.clone(),
            feature_level: 1,
            cluster: cluster.to_owned(),
            incarnation: text(id),
            state,
            reason: None,
            can_set_aside: false,
            ready: self.is_ready(pod, now),
            insecure: true,
            problems: Vec::new(),
            restart_blockers: Vec::from_iter((process.busy > now).then_some(work)),
            summary: Vec::new(),
            groups: group.flatten().into_iter().collect(),
            own: None,
        })
    }

    /// A process dies and comes back on the same disk.
    pub fn crash(&mut self, pod: &str, now: i64, rng: &mut Rng) {
        if let Some(process) = self.processes.get_mut(pod) {
            process.running = false;
            process.starts = now + rng.i64(200..5000);
        }
    }

    /// SIGTERM makes a leader hand over.
    pub fn stop(&mut self, pod: &str) {
        let leader = self.id_of(pod).filter(|id| self.group.leader == Some(*id));
        let alive = self.alive();
        if let Some(leader) = leader {
            for successor in alive.iter().filter(|id| **id != leader) {
                if self.group.transfer(leader, *successor, &alive).is_ok() {
                    return;
                }
            }
        }
    }

    /// A request arrives at a member.
    ///
    /// # Errors
    /// Its refusal.
    pub fn deliver(
        &mut self,
        pod: &str,
        uid: &str,
        asked: &MemberRequest,
        now: i64,
    ) -> Result<(), String> {
        let alive = self.alive();
        let own = self.id_of(pod).ok_or("connection refused")?;
        let process = self.processes.get_mut(pod).filter(|p| p.pod_uid == uid);
        let process = process.ok_or("connection refused")?;
        if asked.name == "Drain" {
            process.busy = process.busy.min(now + 1000);
            process.drained = now + 3000;
            return Ok(());
        }
        let disk = process.disk.clone();
        let (group, id) = (&mut self.group, |text: &str| {
            Id::from_str_radix(text, 16).unwrap_or(0)
        });
        let done = match GroupRequest::read(&asked.path, &asked.body).ok_or("no such request")? {
            GroupRequest::Bootstrap(bootstrap) => {
                let disk = self.disks.get_mut(&disk).ok_or("it has no disk")?;
                if id(&bootstrap.incarnation) != own {
                    return Err("another disk has come into its place".into());
                }
                if disk.1 == MemberState::Empty {
                    disk.1 = MemberState::Running;
                    group.bootstrap(own, pod);
                }
                Ok(())
            }
            GroupRequest::AddLearner(add) => {
                group.add_learner(own, add.configuration_index, id(&add.id), &add.name)
            }
            GroupRequest::Promote {
                id: learner,
                change,
            } => group.promote(own, change.configuration_index, id(&learner)),
            GroupRequest::Remove { id: member, change } => {
                group.remove(own, change.configuration_index, id(&member))
            }
            GroupRequest::TransferLeader(transfer) => {
                let to = transfer.to.as_deref().map(id);
                let to = to.or_else(|| alive.iter().copied().find(|id| *id != own));
                group.transfer(own, to.unwrap_or(0), &alive)
            }
            GroupRequest::SetAside(_) => return Err("nothing is damaged".into()),
        };
        done.map_err(|refused| format!("{refused:?}"))
    }
}
