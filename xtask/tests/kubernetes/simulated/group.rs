//! One group: who is in it and who leads. Whatever is asked rightly is done at once.

use std::time::{Duration, Instant};

use quorate_wire::{
    AddLearner, ConfigurationStatus, ConfiguredMember, GroupRequest, GroupStatus, Part, Role,
};

/// A learner takes a moment to catch up.
const CATCHES_UP: Duration = Duration::from_millis(200);

/// Why a request was refused: the status and the words of its problem.
pub type Refused = (u16, &'static str);

#[derive(Debug)]
pub struct Group {
    number: u64,
    index: u64,
    term: u64,
    leader: Option<String>,
    members: Vec<ConfiguredMember>,
    changed: Instant,
}

impl Group {
    pub fn of_one(number: u64, first: &AddLearner) -> Self {
        let mut group = Self {
            number,
            index: 1,
            term: 1,
            leader: Some(first.id.clone()),
            members: Vec::new(),
            changed: Instant::now(),
        };
        group.add(first, Part::Voter);
        group
    }

    fn add(&mut self, new: &AddLearner, part: Part) {
        self.members.push(ConfiguredMember {
            id: new.id.clone(),
            name: new.name.clone(),
            address: new.address.clone(),
            part,
            match_index: None,
            caught_up: None,
        });
    }

    pub fn has(&self, id: &str) -> bool {
        self.members.iter().any(|member| member.id == id)
    }

    fn votes(&self, id: &str) -> bool {
        let mut voters = self.voters();
        voters.any(|voter| voter.id == id)
    }

    fn voters(&self) -> impl Iterator<Item = &ConfiguredMember> {
        let members = self.members.iter();
        members.filter(|member| member.part == Part::Voter)
    }

    /// Whether this member would pass its readiness probe.
    pub fn counts(&self, id: &str) -> bool {
        self.leader.is_some() && self.votes(id)
    }

    /// Time goes on: a leader that went or was removed is succeeded, if those that run are a quorum.
    pub fn elect(&mut self, runs: impl Fn(&str) -> bool) {
        let running: Vec<_> = self.voters().filter(|voter| runs(&voter.id)).collect();
        let is_quorum = running.len() * 2 > self.voters().count();
        let stays = |leader: &String| running.iter().any(|voter| voter.id == *leader);
        if is_quorum && self.leader.as_ref().is_some_and(stays) {
            return;
        }
        let next = running.first().filter(|_| is_quorum);
        let next = next.map(|voter| voter.id.clone());
        self.term += u64::from(next.is_some());
        self.leader = next;
    }

    pub fn ask(&mut self, asked: &str, request: &GroupRequest) -> Result<(), Refused> {
        if self.leader.as_deref() != Some(asked) {
            return Err((503, "this member does not lead"));
        }
        match request {
            GroupRequest::Bootstrap(_) => return Ok(()),
            GroupRequest::SetAside(_) => return Err((409, "this member is sound")),
            GroupRequest::TransferLeader(transfer) => {
                let other = self.voters().find(|voter| voter.id != asked);
                let other = other.map(|voter| voter.id.clone());
                let to = transfer.to.clone().or(other);
                self.leader = Some(to.ok_or((503, "there is no other voter"))?);
                self.term += 1;
            }
            GroupRequest::AddLearner(new) => {
                self.must_be_at(new.configuration_index)?;
                self.add(new, Part::Learner);
            }
            GroupRequest::Promote { id, change } => {
                self.must_be_at(change.configuration_index)?;
                let mut members = self.members.iter_mut();
                let found = members.find(|member| member.id == *id);
                found.ok_or((404, "no such member"))?.part = Part::Voter;
            }
            GroupRequest::Remove { id, change } => {
                self.must_be_at(change.configuration_index)?;
                self.members.retain(|member| member.id != *id);
            }
        }
        self.index += 1;
        self.changed = Instant::now();
        Ok(())
    }

    fn must_be_at(&self, index: u64) -> Result<(), Refused> {
        match self.index == index {
            true => Ok(()),
            false => Err((409, "another configuration is in force")),
        }
    }

    pub fn configuration(&self, asked: &str, runs: impl Fn(&str) -> bool) -> ConfigurationStatus {
        let leads = self.leader.as_deref() == Some(asked);
        let caught_up = |member: &ConfiguredMember| {
            let is_new = member.part == Part::Learner && self.changed.elapsed() < CATCHES_UP;
            runs(&member.id) && !is_new
        };
        let members = self.members.iter().map(|member| ConfiguredMember {
            match_index: leads.then_some(self.index),
            caught_up: leads.then(|| caught_up(member)),
            ..member.clone()
        });
        ConfigurationStatus {
            index: self.index,
            committed: true,
            joint: false,
            members: members.collect(),
        }
    }

    pub fn status(&self, asked: &str, runs: impl Fn(&str) -> bool) -> GroupStatus {
        let role = match () {
            () if self.leader.as_deref() == Some(asked) => Role::Leader,
            () if !self.votes(asked) => Role::Learner,
            () if self.leader.is_none() => Role::PreCandidate,
            () => Role::Follower,
        };
        GroupStatus {
            group: self.number,
            role,
            term: self.term,
            leader: self.leader.clone(),
            last: self.index,
            commit: self.index,
            applied: self.index,
            caught_up: true,
            configuration: self.configuration(asked, runs),
        }
    }
}
