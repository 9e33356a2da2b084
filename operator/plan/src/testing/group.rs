//! An abstract raft group: one log, who holds how much of it, who leads, which configuration is in force. It decides
//! nothing to please the operator: a request that a real leader would refuse for the group's sake is carried out here,
//! so that the operator alone is judged.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use quorate_wire::{ConfigurationStatus, ConfiguredMember, GroupStatus, Part, Role};

/// A member's identity.
pub type Id = u64;

/// A voter that misses more than this is not caught up.
pub const LAG_BOUND: u64 = 100;

/// A member of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Who.
    pub id: Id,
    /// The member's name.
    pub name: String,
    /// What it is in the group.
    pub part: Part,
}

/// A configuration, at its place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// Its place.
    pub index: u64,
    /// Who belongs to it.
    pub seats: Vec<Seat>,
}

impl Configuration {
    /// Whether two majorities must agree.
    pub fn is_joint(&self) -> bool {
        self.seats
            .iter()
            .any(|seat| matches!(seat.part, Part::Incoming | Part::Outgoing))
    }

    /// Those that count for the quorum.
    pub fn voters(&self) -> impl Iterator<Item = &Seat> {
        self.seats.iter().filter(|seat| seat.part != Part::Learner)
    }

    /// What this identity is in it.
    pub fn seat(&self, id: Id) -> Option<&Seat> {
        self.seats.iter().find(|seat| seat.id == id)
    }

    /// Whether these are a quorum, of both halves where there are two.
    pub fn is_quorum(&self, counts: impl Fn(Id) -> bool) -> bool {
        [Part::Outgoing, Part::Incoming].into_iter().all(|half| {
            let voters: Vec<Id> = self
                .seats
                .iter()
                .filter(|seat| seat.part == Part::Voter || seat.part == half)
                .map(|seat| seat.id)
                .collect();
            voters.iter().filter(|id| counts(**id)).count() * 2 > voters.len()
        })
    }

    /// The highest index that a quorum holds.
    fn commit(&self, held: &BTreeMap<Id, u64>) -> u64 {
        let candidates: BTreeSet<u64> = held.values().copied().collect();
        let is_held =
            |index: &u64| self.is_quorum(|id| held.get(&id).is_some_and(|held| held >= index));
        candidates.into_iter().rev().find(is_held).unwrap_or(0)
    }
}

/// What a request came to, where it did not do what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Another leads, or nobody.
    NotLeader,
    /// It was decided on another configuration than the one in force.
    OtherConfiguration,
    /// Nobody of that identity can do it.
    NoSuchMember,
    /// The process is gone, or another disk has come into its place.
    Gone,
    /// Nothing is damaged.
    Sound,
}

/// The group.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// The namespace in the addresses of its members.
    namespace: String,
    /// Nobody writes: the log grows by changes alone.
    pub is_idle: bool,
    /// The leader's.
    pub term: u64,
    /// Who leads.
    pub leader: Option<Id>,
    /// The last index of the leader's log.
    pub last: u64,
    /// What a quorum holds.
    pub commit: u64,
    /// How much of the log each disk holds.
    pub held: BTreeMap<Id, u64>,
    /// Those in the log, the oldest first.
    configurations: Vec<Configuration>,
    /// Identities whose removal is committed.
    pub removed: BTreeSet<Id>,
    /// Every identity that was ever in a configuration.
    pub used: BTreeSet<Id>,
    /// How often it was bootstrapped.
    pub bootstraps: u32,
    /// How many joint configurations there were.
    pub joint_entered: u32,
    /// How often configurations went with their entries.
    pub rolled_back: u32,
    /// How often somebody was elected.
    pub elections: u32,
}

impl Group {
    /// One that nobody bootstrapped, of members in this namespace.
    #[must_use]
    pub fn within(namespace: &str) -> Self {
        Group {
            namespace: namespace.to_owned(),
            ..Group::default()
        }
    }

    /// Another in its place.
    #[must_use]
    pub fn anew(&self) -> Self {
        Self::within(&self.namespace)
    }

    /// Makes it a group of one.
    pub fn bootstrap(&mut self, id: Id, name: &str) {
        self.bootstraps += 1;
        let seats = vec![Seat {
            id,
            name: name.to_owned(),
            part: Part::Voter,
        }];
        self.configurations = vec![Configuration { index: 1, seats }];
        (self.term, self.leader, self.last, self.commit) = (1, Some(id), 1, 1);
        self.held.insert(id, 1);
        self.used.insert(id);
    }

    /// The configuration in force.
    pub fn configuration(&self) -> Option<&Configuration> {
        self.configurations.last()
    }

    /// The configuration that a disk with so much of the log knows.
    pub fn configuration_at(&self, held: u64) -> Option<&Configuration> {
        self.configurations
            .iter()
            .rev()
            .find(|configuration| configuration.index <= held)
    }

    /// Whether a voter of this identity would count.
    pub fn is_caught_up(&self, id: Id) -> bool {
        self.held
            .get(&id)
            .is_some_and(|held| held + LAG_BOUND >= self.commit)
    }

    /// Time goes on. `alive` are the identities whose processes reach each other; `slow` of them take little.
    ///
    /// # Errors
    /// When committed entries are lost.
    pub fn step(
        &mut self,
        alive: &BTreeSet<Id>,
        slow: &BTreeSet<Id>,
        rng: &mut Rng,
    ) -> Result<(), String> {
        let Some(in_force) = self.configuration() else {
            return Ok(());
        };
        let led = self.leader.is_some_and(|leader| alive.contains(&leader));
        if !led || !in_force.is_quorum(|id| alive.contains(&id)) {
            self.leader = None;
        }
        match self.leader {
            Some(leader) => self.replicate(leader, alive, slow, rng),
            None if rng.u8(..) < 120 => return self.elect(alive, rng),
            None => {}
        }
        Ok(())
    }

    /// Who could win an election among these, with how much of the log; each asks by the configuration that it knows.
    pub fn electable(&self, alive: &BTreeSet<Id>) -> Vec<(Id, u64)> {
        let held = |id: Id| self.held.get(&id).copied();
        let mut electable = Vec::new();
        for (&id, &own) in self.held.iter().filter(|(id, _)| alive.contains(id)) {
            let Some(configuration) = self.configuration_at(own) else {
                continue;
            };
            let votes = configuration
                .seat(id)
                .is_some_and(|seat| seat.part != Part::Learner);
            let wins = configuration.is_quorum(|voter| {
                alive.contains(&voter) && held(voter).is_some_and(|held| held <= own)
            });
            if votes && wins {
                electable.push((id, own));
            }
        }
        electable
    }

    fn elect(&mut self, alive: &BTreeSet<Id>, rng: &mut Rng) -> Result<(), String> {
        let electable = self.electable(alive);
        let Some(&(leader, own)) = rng.choice(&electable) else {
            return Ok(());
        };
        if own < self.commit {
            return Err(format!(
                "{leader:016x} leads with {own} entries, though {} were committed",
                self.commit
            ));
        }
        self.elections += 1;
        self.term += 1;
        self.leader = Some(leader);
        for held in self.held.values_mut() {
            *held = (*held).min(own);
        }
        let before = self.configurations.len();
        self.configurations
            .retain(|configuration| configuration.index <= own);
        self.forget_unknown();
        self.rolled_back += u32::from(self.configurations.len() < before);
        self.last = own;
        self.append(leader, 1);
        Ok(())
    }

    /// An identity whose addition was rolled back before its disk was reached was never in the group.
    fn forget_unknown(&mut self) {
        let (held, removed) = (&self.held, &self.removed);
        let configurations = &self.configurations;
        self.used.retain(|id| {
            let configured = configurations.iter().any(|c| c.seat(*id).is_some());
            configured || held.contains_key(id) || removed.contains(id)
        });
    }

    fn append(&mut self, leader: Id, entries: u64) {
        self.last += entries;
        self.held.insert(leader, self.last);
    }

    fn replicate(&mut self, leader: Id, alive: &BTreeSet<Id>, slow: &BTreeSet<Id>, rng: &mut Rng) {
        let written = rng.u64(0..40);
        self.append(leader, if self.is_idle { 0 } else { written });
        let Some(in_force) = self.configurations.last() else {
            return;
        };
        for seat in in_force
            .seats
            .iter()
            .filter(|seat| alive.contains(&seat.id))
        {
            let Some(held) = self.held.get_mut(&seat.id) else {
                continue;
            };
            let missing = self.last - *held;
            let takes = match () {
                () if slow.contains(&seat.id) => rng.u64(0..20),
                // A snapshot takes a while.
                () if missing > 1000 && rng.u8(..) > 60 => 0,
                () if rng.u8(..) < 200 => missing,
                () => missing / 2,
            };
            *held += takes.min(missing);
        }
        self.commit = self.commit.max(in_force.commit(&self.held));
        self.conclude_change(leader);
    }

    /// Leaves a joint configuration once it is committed; a leader that is not in the new one steps down.
    fn conclude_change(&mut self, leader: Id) {
        let Some(in_force) = self
            .configurations
            .last()
            .filter(|last| last.index <= self.commit)
        else {
            return;
        };
        if in_force.is_joint() {
            let left = in_force
                .seats
                .iter()
                .filter(|seat| seat.part != Part::Outgoing)
                .cloned();
            let seats = left
                .map(|seat| Seat {
                    part: if seat.part == Part::Incoming {
                        Part::Voter
                    } else {
                        seat.part
                    },
                    ..seat
                })
                .collect();
            self.change(leader, seats);
            return;
        }
        let gone: Vec<Id> = self
            .used
            .iter()
            .copied()
            .filter(|id| in_force.seat(*id).is_none())
            .collect();
        if !gone.is_empty() {
            self.removed.extend(gone);
        }
        if in_force.seat(leader).is_none() {
            self.leader = None;
        }
    }

    fn change(&mut self, leader: Id, seats: Vec<Seat>) {
        self.append(leader, 1);
        let configuration = Configuration {
            index: self.last,
            seats,
        };
        self.joint_entered += u32::from(configuration.is_joint());
        self.configurations.push(configuration);
    }

    /// What must hold of every change: the asked one leads, and decided on the configuration that is in force.
    fn may_change(&self, asked: Id, index: u64) -> Result<Vec<Seat>, Refused> {
        if self.leader != Some(asked) {
            return Err(Refused::NotLeader);
        }
        let in_force = self.configuration().ok_or(Refused::NotLeader)?;
        if in_force.index != index || in_force.index > self.commit || in_force.is_joint() {
            return Err(Refused::OtherConfiguration);
        }
        Ok(in_force.seats.clone())
    }

    /// # Errors
    /// The refusal.
    pub fn add_learner(
        &mut self,
        asked: Id,
        index: u64,
        id: Id,
        name: &str,
    ) -> Result<(), Refused> {
        let mut seats = self.may_change(asked, index)?;
        seats.push(Seat {
            id,
            name: name.to_owned(),
            part: Part::Learner,
        });
        self.used.insert(id);
        self.change(asked, seats);
        Ok(())
    }

    /// # Errors
    /// The refusal.
    pub fn promote(&mut self, asked: Id, index: u64, id: Id) -> Result<(), Refused> {
        let mut seats = self.may_change(asked, index)?;
        let seat = seats
            .iter_mut()
            .find(|seat| seat.id == id && seat.part == Part::Learner)
            .ok_or(Refused::NoSuchMember)?;
        seat.part = Part::Incoming;
        self.change(asked, seats);
        Ok(())
    }

    /// # Errors
    /// The refusal.
    pub fn remove(&mut self, asked: Id, index: u64, id: Id) -> Result<(), Refused> {
        let mut seats = self.may_change(asked, index)?;
        let place = seats
            .iter()
            .position(|seat| seat.id == id)
            .ok_or(Refused::NoSuchMember)?;
        if seats[place].part == Part::Learner {
            seats.remove(place);
        } else {
            seats[place].part = Part::Outgoing;
        }
        self.change(asked, seats);
        Ok(())
    }

    /// Hands leadership to a voter that holds everything that is committed.
    ///
    /// # Errors
    /// The refusal.
    pub fn transfer(&mut self, asked: Id, to: Id, alive: &BTreeSet<Id>) -> Result<(), Refused> {
        let in_force = self.configuration().ok_or(Refused::NotLeader)?;
        if self.leader != Some(asked) {
            return Err(Refused::NotLeader);
        }
        let votes = in_force
            .seat(to)
            .is_some_and(|seat| seat.part != Part::Learner);
        if !votes || !alive.contains(&to) || !self.is_caught_up(to) {
            return Err(Refused::NoSuchMember);
        }
        self.term += 1;
        self.leader = Some(to);
        self.append(to, 1);
        Ok(())
    }

    /// What a member knows of the group: its own part of the log, and if it leads everyone's progress. `heard` are those that
    /// reach their peers, as far as they can know.
    pub fn status(&self, id: Id, heard: &BTreeSet<Id>) -> Option<GroupStatus> {
        let held = *self.held.get(&id)?;
        let leads = self.leader == Some(id);
        let empty = Configuration {
            index: 0,
            seats: Vec::new(),
        };
        let known = self.configuration_at(held).unwrap_or(&empty);
        let part = known.seat(id).map(|seat| seat.part);
        let role = match part {
            _ if leads => Role::Leader,
            Some(Part::Learner) | None => Role::Learner,
            _ if self.leader.is_none() => Role::Candidate,
            _ => Role::Follower,
        };
        let members = known.seats.iter().map(|seat| ConfiguredMember {
            id: text(seat.id),
            name: seat.name.clone(),
            address: self.address(&seat.name),
            part: seat.part,
            match_index: self.held.get(&seat.id).copied().filter(|_| leads),
            caught_up: leads.then(|| heard.contains(&seat.id) && self.is_caught_up(seat.id)),
        });
        Some(GroupStatus {
            group: 1,
            role,
            term: self.term,
            leader: self.leader.map(text),
            last: held,
            commit: self.commit.min(held),
            applied: self.commit.min(held),
            caught_up: self.is_caught_up(id),
            configuration: ConfigurationStatus {
                index: known.index,
                committed: known.index <= self.commit,
                joint: known.is_joint(),
                members: members.collect(),
            },
        })
    }

    /// Where the peers of a pod find it.
    fn address(&self, pod: &str) -> String {
        let set = pod.rsplit_once('-').map_or(pod, |(set, _)| set);
        format!(
            "{pod}.{set}-peers.{}.svc.cluster.local:7071",
            self.namespace
        )
    }

    /// A disk is gone, with whatever it held.
    pub fn forget(&mut self, id: Id) {
        self.held.remove(&id);
    }
}

/// An identity as documents write it.
#[must_use]
pub fn text(id: Id) -> String {
    format!("{id:016x}")
}
