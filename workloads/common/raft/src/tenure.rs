//! For how long a leader has led: the measure of time that is sound to put into the log, since no clock's setting and
//! no difference between clocks is in it.

use crate::state::{Raft, RoleState};
use crate::types::Now;

impl Raft {
    /// Time passes. A leader that was stopped, or whose clock jumped, has not led all the while: without hearing a
    /// majority it leads for no longer than an election timeout.
    pub(crate) fn pass(&mut self, now: Now) {
        let led = self.led(now);
        if let RoleState::Leader(leader) = &mut self.role {
            leader.led = led.unwrap_or_default();
        }
        self.now = self.now.max(now);
    }

    /// For how long this member has led its term by `now`; `None` when it does not lead. Never more than has passed
    /// since its election.
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
