//! The members of a resource, made by hand: processes on disks, of which some form an abstract group. They serve the simulator,
//! the fake nodes of a real Kubernetes, and tables of situations.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use quorate_wire::{
    ConfigurationStatus, ConfiguredMember, GroupRequest, GroupStatus, MemberState, MemberStatus,
    Part, Role, STATUS_VERSION,
};

use super::example;
use super::group::{Group, Id, Refused, text};
use crate::{AnyKind, Voters};

#[derive(Clone, Debug)]
struct Disk {
    id: Id,
    state: MemberState,
}

#[derive(Clone, Debug)]
struct Process {
    disk: String,
    version: String,
}

/// The members of one resource.
#[derive(Clone, Debug)]
pub struct Members {
    /// What their documents begin with.
    document: MemberStatus,
    /// The StatefulSet whose members form a group, and who of them votes.
    grouped: Option<(String, Voters)>,
    /// The group.
    pub group: Group,
    /// Those that run, by pod.
    running: BTreeMap<String, Process>,
    /// By whatever tells one disk from another.
    disks: BTreeMap<String, Disk>,
}

impl Members {
    /// Of a resource that was just made: none.
    #[must_use]
    pub fn new(kind: &dyn AnyKind, namespace: &str, resource: &str, uid: &str) -> Self {
        let first = kind.sets(resource).swap_remove(0);
        Members {
            document: MemberStatus {
                kind: kind.names().kind.clone(),
                cluster: uid.to_owned(),
                ..sound_member()
            },
            grouped: example(kind).voters.map(|voters| (first, voters)),
            group: Group::within(namespace),
            running: BTreeMap::new(),
            disks: BTreeMap::new(),
        }
    }

    /// Whether a pod is one of the pool whose members form a group.
    #[must_use]
    pub fn is_grouped(&self, pod: &str) -> bool {
        self.place(pod).is_some()
    }

    /// The ordinal in the group's pool, and who of it votes.
    fn place(&self, pod: &str) -> Option<(i32, Voters)> {
        let (set, voters) = self.grouped.as_ref()?;
        let ordinal = pod.strip_prefix(set.as_str())?.strip_prefix('-')?;
        Some((ordinal.parse().ok()?, *voters))
    }

    /// The set of the group, if this is it.
    #[must_use]
    pub fn is_set_of_group(&self, set: &str) -> bool {
        self.grouped.as_ref().is_some_and(|(own, _)| own == set)
    }

    /// Whether any of its members form a group.
    #[must_use]
    pub fn has_group(&self) -> bool {
        self.grouped.is_some()
    }

    /// Whether a process of this pod runs.
    #[must_use]
    pub fn is_running(&self, pod: &str) -> bool {
        self.running.contains_key(pod)
    }

    /// Those that run.
    pub fn running(&self) -> impl Iterator<Item = &String> {
        self.running.keys()
    }

    fn disk(&self, pod: &str) -> Option<&Disk> {
        self.disks.get(&self.running.get(pod)?.disk)
    }

    /// The identity of a member that runs.
    #[must_use]
    pub fn id_of(&self, pod: &str) -> Option<Id> {
        self.disk(pod).map(|disk| disk.id)
    }

    /// The members of the group that run.
    #[must_use]
    pub fn alive(&self) -> BTreeSet<Id> {
        let pods = self.running.keys().filter(|pod| self.is_grouped(pod));
        pods.filter_map(|pod| self.id_of(pod)).collect()
    }

    /// A process opens its disk: an empty one gets this identity, and so does a removed one, which sets its data aside.
    pub fn start(&mut self, pod: &str, disk: &str, version: &str, fresh: Id) {
        let state = match self.is_grouped(pod) {
            true => MemberState::Empty,
            false => MemberState::Running,
        };
        let fresh = Disk { id: fresh, state };
        let opened = self.disks.entry(disk.to_owned());
        let opened = opened.or_insert_with(|| fresh.clone());
        if opened.state == MemberState::Removed {
            *opened = fresh;
        }
        let process = Process {
            disk: disk.to_owned(),
            version: version.to_owned(),
        };
        self.running.insert(pod.to_owned(), process);
    }

    /// A process is gone; its disk stays.
    pub fn stop(&mut self, pod: &str) {
        self.running.remove(pod);
    }

    /// A disk is gone, with whatever it held.
    pub fn lose(&mut self, disk: &str) {
        if let Some(lost) = self.disks.remove(disk) {
            self.group.forget(lost.id);
        }
    }

    /// Time goes on for the group, and for those that its leader reaches.
    ///
    /// # Errors
    /// When the group lost what it had committed.
    pub fn step(&mut self, rng: &mut Rng) -> Result<(), String> {
        let alive = self.alive();
        self.group.step(&alive, &BTreeSet::new(), rng)?;
        self.hear();
        Ok(())
    }

    /// What the leader tells: an empty member that it is one, a removed one that it is none.
    fn hear(&mut self) {
        let (Some(_), Some(in_force)) = (self.group.leader, self.group.configuration().cloned())
        else {
            return;
        };
        let grouped = self.running.keys().filter(|pod| self.is_grouped(pod));
        for pod in grouped.cloned().collect::<Vec<_>>() {
            let disk = self.running.get(&pod).map(|process| &process.disk);
            let Some(disk) = disk.and_then(|disk| self.disks.get_mut(disk)) else {
                continue;
            };
            match disk.state {
                MemberState::Empty if in_force.seat(disk.id).is_some() => {
                    disk.state = MemberState::Running;
                    self.group.held.insert(disk.id, 0);
                }
                MemberState::Running if self.group.removed.contains(&disk.id) => {
                    disk.state = MemberState::Removed;
                    self.group.forget(disk.id);
                }
                _ => {}
            }
        }
    }

    /// Whether it serves: of a group a voter that is caught up, or one beyond the voters while somebody leads.
    #[must_use]
    pub fn is_ready(&self, pod: &str) -> bool {
        let Some(disk) = self.disk(pod) else {
            return false;
        };
        let Some((ordinal, voters)) = self.place(pod) else {
            return true;
        };
        let is_spare = matches!(voters, Voters::First(voters) if ordinal >= voters);
        let configuration = self.group.configuration();
        let in_place = match configuration.and_then(|in_force| in_force.seat(disk.id)) {
            Some(seat) => seat.part != Part::Learner && self.group.is_caught_up(disk.id),
            None => is_spare && disk.state == MemberState::Empty,
        };
        self.group.leader.is_some() && in_place
    }

    /// The document of a member that runs.
    #[must_use]
    pub fn document(&self, pod: &str) -> Option<MemberStatus> {
        let (process, disk) = (self.running.get(pod)?, self.disk(pod)?);
        let runs = self.is_grouped(pod) && disk.state == MemberState::Running;
        let group = runs.then(|| self.group.status(disk.id, &self.alive()));
        Some(MemberStatus {
            name: pod.to_owned(),
            version: process.version.clone(),
            incarnation: text(disk.id),
            state: disk.state,
            ready: self.is_ready(pod),
            groups: group.flatten().into_iter().collect(),
            ..self.document.clone()
        })
    }

    /// SIGTERM makes a leader hand over.
    pub fn hand_over(&mut self, pod: &str) {
        if let Some(leader) = self.id_of(pod) {
            // Where nobody can take it, the group elects when it has gone.
            let _ = self.transfer(leader, None);
        }
    }

    fn transfer(&mut self, asked: Id, to: Option<Id>) -> Result<(), Refused> {
        let alive = self.alive();
        let others = alive.iter().copied().filter(|id| *id != asked);
        let candidates = to.map_or_else(|| others.collect(), |to| vec![to]);
        let mut refused = Refused::NoSuchMember;
        for to in candidates {
            match self.group.transfer(asked, to, &alive) {
                Ok(()) => return Ok(()),
                Err(why) => refused = why,
            }
        }
        Err(refused)
    }

    /// A request arrives at the member of a pod.
    ///
    /// # Errors
    /// Its refusal.
    pub fn ask(&mut self, pod: &str, request: &GroupRequest) -> Result<(), Refused> {
        let id = |text: &str| Id::from_str_radix(text, 16).unwrap_or(0);
        let process = self.running.get(pod).ok_or(Refused::Gone)?;
        let disk = self.disks.get_mut(&process.disk).ok_or(Refused::Gone)?;
        let (own, group) = (disk.id, &mut self.group);
        match request {
            GroupRequest::Bootstrap(bootstrap) => {
                if id(&bootstrap.incarnation) != own {
                    return Err(Refused::Gone);
                }
                if disk.state == MemberState::Empty {
                    disk.state = MemberState::Running;
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
            } => group.promote(own, change.configuration_index, id(learner)),
            GroupRequest::Remove { id: member, change } => {
                group.remove(own, change.configuration_index, id(member))
            }
            GroupRequest::TransferLeader(transfer) => {
                self.transfer(own, transfer.to.as_deref().map(id))
            }
            GroupRequest::SetAside(_) => Err(Refused::Sound),
        }
    }
}

/// What a member says of itself that serves by itself; whose it is is left to say.
#[must_use]
pub fn sound_member() -> MemberStatus {
    MemberStatus {
        schema: STATUS_VERSION.into(),
        kind: String::new(),
        name: String::new(),
        version: String::new(),
        feature_level: 1,
        cluster: String::new(),
        incarnation: String::new(),
        state: MemberState::Running,
        reason: None,
        can_set_aside: false,
        ready: true,
        insecure: true,
        problems: Vec::new(),
        restart_blockers: Vec::new(),
        summary: Vec::new(),
        groups: Vec::new(),
        own: None,
    }
}

/// A voter that misses nothing, as its leader shows it.
#[must_use]
pub fn sound_voter(id: &str, name: &str, address: &str) -> ConfiguredMember {
    ConfiguredMember {
        id: id.to_owned(),
        name: name.to_owned(),
        address: address.to_owned(),
        part: Part::Voter,
        match_index: Some(100),
        caught_up: Some(true),
    }
}

/// What a follower says of a group of these, led by the first.
#[must_use]
pub fn sound_group(members: Vec<ConfiguredMember>) -> GroupStatus {
    GroupStatus {
        group: 1,
        role: Role::Follower,
        term: 3,
        leader: members.first().map(|leader| leader.id.clone()),
        last: 100,
        commit: 100,
        applied: 100,
        caught_up: true,
        configuration: ConfigurationStatus {
            index: 50,
            committed: true,
            joint: false,
            members,
        },
    }
}

#[cfg(test)]
mod tests {
    use quorate_wire::{AddLearner, Bootstrap, ChangeMember};

    use super::*;
    use crate::kinds;

    fn settle(members: &mut Members) {
        let mut rng = Rng::with_seed(1);
        (0..50).for_each(|_| members.step(&mut rng).unwrap());
    }

    fn index(members: &Members) -> u64 {
        members.group.configuration().unwrap().index
    }

    #[test]
    fn a_group_is_bootstrapped_grows_shrinks_and_survives_its_leader() {
        let kind = kinds()[0];
        let set = kind.sets("a").swap_remove(0);
        let mut members = Members::new(kind, "default", "a", "uid");
        members.group.is_idle = true;
        let pods: Vec<String> = (0..3).map(|ordinal| format!("{set}-{ordinal}")).collect();
        for (pod, id) in pods.iter().zip(1..) {
            members.start(pod, &format!("disk-{pod}"), "1", id);
            assert_eq!(members.document(pod).unwrap().state, MemberState::Empty);
        }
        let bootstrap = |id| {
            GroupRequest::Bootstrap(Bootstrap {
                group: 1,
                incarnation: text(id),
            })
        };
        assert_eq!(members.ask(&pods[0], &bootstrap(9)), Err(Refused::Gone));
        members.ask(&pods[0], &bootstrap(1)).unwrap();
        for (pod, id) in pods.iter().zip(1..).skip(1) {
            let add = AddLearner {
                configuration_index: index(&members),
                id: text(id),
                name: pod.clone(),
                address: String::new(),
            };
            let add = GroupRequest::AddLearner(add);
            assert_eq!(members.ask(pod, &add), Err(Refused::NotLeader));
            members.ask(&pods[0], &add).unwrap();
            assert!(
                members.ask(&pods[0], &add).is_err(),
                "it was decided on what was"
            );
            settle(&mut members);
            assert!(!members.is_ready(pod), "a learner");
            let promote = GroupRequest::Promote {
                id: text(id),
                change: ChangeMember {
                    configuration_index: index(&members),
                },
            };
            members.ask(&pods[0], &promote).unwrap();
            settle(&mut members);
        }
        assert!(pods.iter().all(|pod| members.is_ready(pod)));

        members.stop(&pods[0]);
        settle(&mut members);
        let leader = members.group.leader.unwrap();
        assert_ne!(leader, 1);
        members.start(&pods[0], &format!("disk-{}", pods[0]), "2", 7);
        settle(&mut members);
        assert_eq!(members.id_of(&pods[0]), Some(1), "the disk stayed");
        let remove = GroupRequest::Remove {
            id: text(1),
            change: ChangeMember {
                configuration_index: index(&members),
            },
        };
        let leads = pods.iter().find(|pod| members.id_of(pod) == Some(leader));
        members.ask(leads.unwrap(), &remove).unwrap();
        settle(&mut members);
        let document = members.document(&pods[0]).unwrap();
        assert_eq!(document.state, MemberState::Removed);
        assert!(document.groups.is_empty() && !document.ready);
    }
}
