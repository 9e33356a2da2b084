//! Who leads a group, and what the leader says of the others.

use std::collections::BTreeSet;

use quorate_wire::{ConfigurationStatus, ConfiguredMember, MemberState, Part, Role};

use crate::pool::Census;

/// The leader, and what it says of the others.
#[derive(Clone, Debug)]
pub struct Lead<'a> {
    /// The ordinal in its name.
    pub ordinal: i32,
    /// Its identity.
    pub id: &'a str,
    /// The term that it leads in.
    pub term: u64,
    /// The configuration in force, by its account.
    pub configuration: &'a ConfigurationStatus,
    /// The identities of voters that follow this leader, are ready, and hold what it has committed, by its own account.
    pub healthy: BTreeSet<&'a str>,
    /// Those among them that are about to be restarted.
    pub going: BTreeSet<&'a str>,
}

impl<'a> Lead<'a> {
    /// The leader of the highest term, if a quorum of its configuration says in this very observation that it follows.
    pub fn of(census: &Census<'a>, number: u64) -> Option<Self> {
        let leading = census
            .members
            .values()
            .filter(|member| member.state() == Some(MemberState::Running));
        let leading = leading.filter(|member| {
            member
                .group(number)
                .is_some_and(|group| group.role == Role::Leader)
        });
        let leader =
            leading.max_by_key(|member| member.group(number).map_or(0, |group| group.term))?;
        let (id, group) = (leader.id()?, leader.group(number)?);
        let of = |configured: &ConfiguredMember| {
            let seen = census.members.get(&census.ordinal(&configured.name)?)?;
            (seen.id() == Some(configured.id.as_str())
                && seen.state() == Some(MemberState::Running))
            .then_some(*seen)
        };
        let follows = |configured: &ConfiguredMember| {
            of(configured)
                .and_then(|seen| seen.group(number))
                .is_some_and(|seen| {
                    seen.term == group.term
                        && (seen.leader.as_deref() == Some(id) || configured.id == id)
                })
        };
        if !is_quorum(&group.configuration.members, follows) {
            return None;
        }
        let is_healthy = |configured: &&ConfiguredMember| {
            let ready = of(configured)
                .and_then(|seen| seen.status)
                .is_some_and(|status| status.ready);
            ready
                && follows(configured)
                && (configured.id == id || configured.caught_up == Some(true))
        };
        let voters = group
            .configuration
            .members
            .iter()
            .filter(|member| member.part != Part::Learner);
        let healthy = voters
            .filter(is_healthy)
            .map(|member| member.id.as_str())
            .collect();
        Some(Lead {
            ordinal: leader.ordinal,
            id,
            term: group.term,
            configuration: &group.configuration,
            healthy,
            going: BTreeSet::new(),
        })
    }

    /// Whether the healthy voters without this one are a quorum, in both halves of a joint configuration.
    pub fn has_quorum_without(&self, id: Option<&str>) -> bool {
        self.suffices(&self.configuration.members, |member| {
            self.counts(&member.id) && Some(member.id.as_str()) != id
        })
    }

    /// Whether the healthy voters would be a quorum of the configuration that a removal leads to.
    pub fn has_quorum_after_removing(&self, id: &str) -> bool {
        let left: Vec<_> = self
            .configuration
            .members
            .iter()
            .filter(|member| member.id != id)
            .cloned()
            .collect();
        self.suffices(&left, |member| self.counts(&member.id))
    }

    /// Whether the healthy voters would be a quorum of the configuration that a promotion leads to. The learner itself
    /// counts: it was asked before.
    pub fn has_quorum_after_promoting(&self, id: &str) -> bool {
        let mut grown = self.configuration.members.clone();
        for member in grown.iter_mut().filter(|member| member.id == id) {
            member.part = Part::Voter;
        }
        self.suffices(&grown, |member| self.counts(&member.id) || member.id == id)
    }

    /// Whether the group can count on this identity.
    pub fn counts(&self, id: &str) -> bool {
        self.healthy.contains(id) && !self.going.contains(id)
    }

    fn suffices(
        &self,
        members: &[ConfiguredMember],
        counts: impl Fn(&ConfiguredMember) -> bool,
    ) -> bool {
        is_quorum(members, counts)
    }

    /// A change that is not committed yet, or half made.
    pub fn is_changing(&self) -> bool {
        self.configuration.joint || !self.configuration.committed
    }

    /// Everyone with a vote.
    pub fn voters(&self) -> impl Iterator<Item = &'a ConfiguredMember> {
        self.configuration
            .members
            .iter()
            .filter(|member| member.part != Part::Learner)
    }

    /// Whether nobody else votes.
    pub fn is_alone(&self) -> bool {
        self.voters().count() == 1
    }

    /// Whether the leader holds this learner to be caught up.
    pub fn holds_caught_up(&self, id: &str) -> bool {
        self.configuration
            .members
            .iter()
            .any(|member| member.id == id && member.caught_up == Some(true))
    }
}

/// Whether those who count are more than half of each half of a configuration that has any voters.
fn is_quorum(members: &[ConfiguredMember], counts: impl Fn(&ConfiguredMember) -> bool) -> bool {
    [Part::Outgoing, Part::Incoming].into_iter().all(|half| {
        let voters: Vec<_> = members
            .iter()
            .filter(|member| member.part == Part::Voter || member.part == half)
            .collect();
        let counted = voters.iter().filter(|member| counts(member)).count();
        counted * 2 > voters.len()
    })
}
