//! For how long a group was led: the measure of time that is sound to put into the log, since no clock's setting and
//! no difference between clocks is in it.
//!
//! A leader's time goes into the log with its commands. What passed after the last of them would be lost with the leader,
//! and in a group in which nobody writes every new leader would begin at nought. So every member counts it too, while it
//! hears the leader of a term: a new leader goes on from there.

use crate::state::{Raft, RoleState};
use crate::types::{MemberId, Now, Payload, Term};

/// What a member has seen of the group's leaders.
#[derive(Debug, Default)]
pub(crate) struct Tenure {
    /// For how long the group was led since the last command that this member has in its log: never more than has passed
    /// since that command was made.
    since_command: Now,
    /// Whose append was heard last, and when.
    heard: Option<(Term, MemberId, Now)>,
}

impl Raft {
    /// Time passes. A leader that was stopped, or whose clock jumped, has not led all the while: without hearing a
    /// majority it leads for no longer than an election timeout.
    pub(crate) fn pass(&mut self, now: Now) {
        let passed = now.saturating_sub(self.now);
        let passed = passed.min(self.config.election_timeout);
        if let RoleState::Leader(leader) = &mut self.role {
            leader.led += passed;
            self.tenure.since_command += passed;
        }
        self.now = self.now.max(now);
    }

    /// The leader of this term was heard. Between two appends of one leader the term had no other.
    pub(crate) fn count_leader(&mut self, from: MemberId) {
        let term = self.vote.term;
        if let Some((heard, leader, at)) = self.tenure.heard
            && (heard, leader) == (term, from)
        {
            let passed = self.now.saturating_sub(at);
            self.tenure.since_command += passed.min(self.config.election_timeout);
        }
        self.tenure.heard = Some((term, from, self.now));
    }

    /// An entry came into the log: the time in a command counts from now on.
    pub(crate) fn count_from(&mut self, payload: &Payload) {
        if matches!(payload, Payload::Command(_)) {
            self.tenure.since_command = Now::ZERO;
        }
    }

    /// The state is another: which commands it holds is not known.
    pub(crate) fn count_anew(&mut self) {
        self.tenure.since_command = Now::ZERO;
    }

    /// With what a new leader begins.
    pub(crate) fn led_before(&self) -> Now {
        self.tenure.since_command
    }

    /// For how long the group was led since the last command before this leader's term, by `now`; `None` when this member
    /// does not lead. Never more than has passed since that command.
    pub fn led(&self, now: Now) -> Option<Now> {
        let passed = now.saturating_sub(self.now);
        self.leader_state()
            .map(|leader| leader.led + passed.min(self.config.election_timeout))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::*;

    #[test]
    fn a_leader_counts_what_it_led_and_little_of_a_jump() {
        let configuration = Configuration {
            voters: [MemberId(1)].into(),
            ..Configuration::default()
        };
        let restored = Restored {
            log_start: Position { index: 1, term: 1 },
            snapshot: SnapshotMeta {
                index: 1,
                term: 1,
                configuration,
                configuration_index: 1,
            },
            ..Restored::default()
        };
        let config = Config::new(MemberId(1), 1);
        let limit = config.election_timeout;
        let (start, mut effects) = (Duration::from_secs(1000), Vec::new());
        let mut raft = Raft::new(config, restored, start).unwrap();
        assert_eq!(raft.led(start), None);
        raft.step(Input::Tick, start, &mut effects);
        raft.flush(start, &mut effects);
        raft.step(Input::Written(1), start, &mut effects);
        assert_eq!(raft.led(start), Some(Duration::ZERO));
        let passed = Duration::from_millis(300);
        assert_eq!(raft.led(start + passed), Some(passed), "before it is told");
        raft.step(Input::Tick, start + passed, &mut effects);
        assert_eq!(raft.led(start + passed), Some(passed));
        assert_eq!(raft.led(start), Some(passed), "it never goes back");
        let jumped = start + Duration::from_secs(86_400);
        raft.step(Input::Tick, jumped, &mut effects);
        assert_eq!(raft.led(jumped), Some(passed + limit));
    }
}
