//! What a leader knows of one other member, and what it may send it next (the states are those of etcd's tracker).

use std::collections::VecDeque;

use crate::types::*;

/// How entries are sent to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Where its log departs from ours is being found out: one append at a time.
    Probe {
        /// One is under way; heartbeats repeat it, empty.
        waiting: bool,
    },
    /// Its log follows ours: appends are sent one after the other without waiting (pipelining).
    Replicate,
    /// It needs what the log no longer has; nothing but heartbeats until it has got a snapshot.
    Snapshot {
        /// It can go on when it holds this index.
        at_least: Index,
    },
}

/// Limits of what may be under way to one member.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) appends: usize,
    pub(crate) bytes: u64,
}

#[derive(Debug)]
pub(crate) struct Progress {
    /// The highest index that it holds durably and that agrees with ours.
    pub(crate) matched: Index,
    /// The next index to send; beyond `matched` it is a guess.
    pub(crate) next: Index,
    pub(crate) state: State,
    /// Appends under way while replicating: last index and bytes of each.
    inflight: VecDeque<(Index, u64)>,
    inflight_bytes: u64,
    /// When it was heard last in this term.
    pub(crate) heard: Option<Now>,
    /// The latest read round that it echoed.
    pub(crate) echoed: u64,
    /// The latest read round sent to it.
    pub(crate) sent_round: u64,
    /// The commit index that it knows if nothing was lost.
    pub(crate) sent_commit: Index,
    /// A snapshot was asked for, and what came of it was not told yet.
    pub(crate) snapshot_asked: bool,
    /// When the last one failed: another is asked for once the member has been heard since, so at most once per
    /// heartbeat.
    pub(crate) snapshot_failed: Option<Now>,
}

impl Progress {
    /// A member of which nothing is known; its log is first compared at `next - 1`.
    pub(crate) fn new(next: Index, heard: Option<Now>) -> Self {
        Self {
            matched: 0,
            next,
            state: State::Probe { waiting: false },
            inflight: VecDeque::new(),
            inflight_bytes: 0,
            heard,
            echoed: 0,
            sent_round: 0,
            sent_commit: 0,
            snapshot_asked: false,
            snapshot_failed: None,
        }
    }

    /// It holds everything up to `index`, durably.
    pub(crate) fn acknowledged(&mut self, index: Index) {
        self.matched = self.matched.max(index);
        while let Some((_, bytes)) = self.inflight.pop_front_if(|(last, _)| *last <= index) {
            self.inflight_bytes -= bytes;
        }
        match self.state {
            State::Probe { .. } if index + 1 >= self.next => self.state = State::Replicate,
            State::Snapshot { at_least } if index >= at_least => {
                self.next = index + 1;
                self.state = State::Replicate;
            }
            State::Probe { .. } | State::Replicate | State::Snapshot { .. } => {}
        }
        self.next = self.next.max(self.matched + 1);
    }

    /// It does not have the entry before those sent. `agree` is the highest index at which its log and ours may
    /// agree. False when the answer is not to the latest question.
    pub(crate) fn rejected(&mut self, rejected: Index, agree: Index) -> bool {
        let current = match self.state {
            State::Probe { .. } => rejected + 1 == self.next,
            State::Replicate => rejected > self.matched && rejected < self.next,
            State::Snapshot { .. } => false,
        };
        if current {
            self.probe(agree.saturating_add(1).min(rejected).max(self.matched + 1));
        }
        current
    }

    /// Go back to one append at a time, from `next` on.
    pub(crate) fn probe(&mut self, next: Index) {
        self.state = State::Probe { waiting: false };
        self.next = next.max(self.matched + 1);
        self.inflight.clear();
        self.inflight_bytes = 0;
    }

    /// Stop appends until it has got a snapshot.
    pub(crate) fn await_snapshot(&mut self, at_least: Index) {
        self.probe(self.matched + 1);
        self.state = State::Snapshot { at_least };
    }

    /// Whether one more append may be sent while replicating.
    pub(crate) fn has_room(&self, window: Window) -> bool {
        self.inflight.len() < window.appends && self.inflight_bytes < window.bytes
    }

    /// Entries up to `last` were sent.
    pub(crate) fn sent(&mut self, last: Index, bytes: u64) {
        match &mut self.state {
            State::Replicate => {
                self.inflight.push_back((last, bytes));
                self.inflight_bytes += bytes;
                self.next = last + 1;
            }
            State::Probe { waiting } => *waiting = true,
            State::Snapshot { .. } => {}
        }
    }

    pub(crate) fn needs_snapshot(&self) -> bool {
        self.snapshot_asked || matches!(self.state, State::Snapshot { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window {
        appends: 2,
        bytes: 1000,
    };

    #[test]
    fn appends_are_pipelined_up_to_the_window_and_go_on_when_acknowledged() {
        let mut progress = Progress::new(5, None);
        progress.acknowledged(4);
        assert_eq!(progress.state, State::Replicate);
        progress.sent(6, 10);
        progress.sent(8, 10);
        assert!(!progress.has_room(WINDOW));
        assert_eq!(progress.next, 9);
        progress.acknowledged(6);
        assert!(progress.has_room(WINDOW));
        progress.sent(9, 2000);
        progress.acknowledged(8);
        assert!(
            !progress.has_room(WINDOW),
            "one append may be larger than the window, but then nothing follows"
        );
    }

    #[test]
    fn a_late_rejection_changes_nothing() {
        let mut progress = Progress::new(10, None);
        assert!(!progress.rejected(8, 3), "not what was asked");
        assert!(progress.rejected(9, 3));
        assert_eq!(progress.next, 4);
        progress.acknowledged(3);
        progress.sent(7, 1);
        assert!(!progress.rejected(3, 1), "already known to match");
        assert!(progress.rejected(7, 5));
        assert_eq!(
            (progress.next, progress.state),
            (6, State::Probe { waiting: false })
        );
    }

    #[test]
    fn a_snapshot_ends_with_an_acknowledgement_beyond_it() {
        let mut progress = Progress::new(3, None);
        progress.await_snapshot(20);
        progress.acknowledged(19);
        assert!(progress.needs_snapshot());
        progress.acknowledged(20);
        assert_eq!((progress.state, progress.next), (State::Replicate, 21));
    }
}
