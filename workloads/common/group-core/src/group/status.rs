//! What a group says of itself.

use std::collections::BTreeMap;

use quorate_raft::{Configuration, MemberId, MemberProgress, Role};
use quorate_wire as wire;

use super::{Group, is_member};
use crate::config::Config;
use crate::types::GroupId;

impl Group {
    pub(crate) fn status(&self, group: GroupId, config: &Config) -> wire::GroupStatus {
        let raft = &self.raft;
        let learner = raft.configuration().learners.contains(&raft.id());
        let role = match raft.role() {
            Role::Follower if learner => wire::Role::Learner,
            Role::Follower => wire::Role::Follower,
            Role::PreCandidate => wire::Role::PreCandidate,
            Role::Candidate => wire::Role::Candidate,
            Role::Leader => wire::Role::Leader,
        };
        wire::GroupStatus {
            group,
            role,
            term: raft.term(),
            leader: raft.leader().map(|leader| leader.to_string()),
            last: raft.last_index(),
            commit: raft.commit(),
            applied: raft.applied(),
            caught_up: self.caught_up(config),
            configuration: self.configuration_status(config),
        }
    }

    /// Within the lag bound of what this member knows to be committed, as one that hears a leader.
    pub(crate) fn caught_up(&self, config: &Config) -> bool {
        let raft = &self.raft;
        let lag = raft.commit().saturating_sub(raft.applied());
        raft.leader().is_some()
            && is_member(raft.configuration(), raft.id())
            && lag <= config.lag_bound_entries
    }

    /// Whether it can serve: a voter that has caught up.
    pub(crate) fn ready(&self, config: &Config) -> bool {
        !self.gone && self.raft.is_voter() && self.caught_up(config)
    }

    /// What a restart of this member would interrupt.
    pub(crate) fn blockers(&self, group: GroupId, config: &Config) -> Vec<wire::RestartBlocker> {
        let blocker = |code: &str, message: String| wire::RestartBlocker {
            code: code.into(),
            message,
        };
        let raft = &self.raft;
        let mut blockers = Vec::new();
        if raft.role() == Role::Leader && !raft.is_single_voter() {
            blockers.push(blocker(
                "Leader",
                format!("it leads group {group}: hand leadership over first"),
            ));
        }
        if self.receiver.is_busy() || !self.caught_up(config) {
            blockers.push(blocker(
                "CatchingUp",
                format!("it has not caught up in group {group}"),
            ));
        }
        if self.sender.is_busy() {
            blockers.push(blocker(
                "SendingSnapshot",
                format!("it sends a snapshot of group {group}"),
            ));
        }
        if raft.is_joint() {
            blockers.push(blocker(
                "JointConfiguration",
                format!("group {group} is changing its voters"),
            ));
        }
        blockers
    }

    fn configuration_status(&self, config: &Config) -> wire::ConfigurationStatus {
        let raft = &self.raft;
        let configuration = raft.configuration();
        let progress: BTreeMap<MemberId, MemberProgress> = raft
            .progress()
            .into_iter()
            .map(|progress| (progress.id, progress))
            .collect();
        let leads = raft.role() == Role::Leader;
        let member = |id: &MemberId| {
            let contact = configuration.contacts.get(id).cloned().unwrap_or_default();
            let own = (leads && *id == raft.id()).then(|| (raft.durable(), self.caught_up(config)));
            let (matched, caught_up) = progress
                .get(id)
                .map(|known| (known.matched, known.caught_up && known.active))
                .or(own)
                .unzip();
            wire::ConfiguredMember {
                id: id.to_string(),
                name: contact.name,
                address: contact.address,
                part: part(configuration, *id),
                match_index: matched,
                caught_up,
            }
        };
        let Configuration {
            voters,
            outgoing,
            learners,
            ..
        } = configuration;
        let members: std::collections::BTreeSet<&MemberId> =
            voters.iter().chain(outgoing).chain(learners).collect();
        wire::ConfigurationStatus {
            index: raft.configuration_index(),
            committed: raft.configuration_committed(),
            joint: raft.is_joint(),
            members: members.into_iter().map(member).collect(),
        }
    }
}

fn part(configuration: &Configuration, id: MemberId) -> wire::Part {
    let (incoming, outgoing) = (
        configuration.voters.contains(&id),
        configuration.outgoing.contains(&id),
    );
    match (incoming, outgoing) {
        (true, false) if !configuration.outgoing.is_empty() => wire::Part::Incoming,
        (true, _) => wire::Part::Voter,
        (false, true) => wire::Part::Outgoing,
        (false, false) => wire::Part::Learner,
    }
}
