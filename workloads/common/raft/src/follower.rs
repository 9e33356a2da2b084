//! Replication, the follower's side: what is taken into the log, and what is promised for it (paper, section 5.3).

use crate::io::{Effect, LogStart};
use crate::planted::planted;
use crate::state::{Ack, Gate, LIMIT, Raft, RoleState};
use crate::status::Ignored;
use crate::types::*;

/// What a leader says in one append.
pub(crate) struct Append {
    pub(crate) prev: Position,
    pub(crate) entries: Vec<Entry>,
    pub(crate) commit: Index,
    pub(crate) round: u64,
    /// What the leader counts on this member for.
    pub(crate) acknowledged: Index,
}

impl Append {
    /// Consecutive, terms never falling, none beyond the leader's own. Only a broken sender fails this.
    fn is_well_formed(&self, leader_term: Term) -> bool {
        let mut last = self.prev;
        let in_order = self.entries.iter().all(|entry| {
            let follows =
                entry.index == last.index + 1 && entry.term >= last.term && entry.term > 0;
            last = Position {
                index: entry.index,
                term: entry.term,
            };
            follows
        });
        in_order && last.term <= leader_term && (self.prev.index == 0) == (self.prev.term == 0)
    }
}

impl Raft {
    /// An append, or a heartbeat, of the current term.
    pub(crate) fn on_append(&mut self, from: MemberId, append: Append) {
        let two_leaders = self.leader.is_some_and(|leader| leader != from);
        if two_leaders || !append.is_well_formed(self.vote.term) {
            return self.ignore(Ignored::Impossible);
        }
        if !matches!(self.role, RoleState::Follower) || self.leader.is_none() {
            self.become_follower(self.vote.term, Some(from));
        }
        self.leader_heard = self.now;
        self.count_leader(from);
        self.arm_election();
        let (commit, round, is_heartbeat) =
            (append.commit, append.round, append.entries.is_empty());
        let acknowledged = append.acknowledged;
        match self.take_in(append) {
            Ok(matched) => {
                self.set_commit(self.commit.max(commit.min(matched)));
                // A heartbeat is answered at once with what is durable; the promise for entries still on their
                // way to the disk was given when they came.
                let matched = if is_heartbeat {
                    matched.min(self.disk.durable())
                } else {
                    matched
                };
                self.acknowledge(from, matched, round, is_heartbeat);
            }
            // Within a term what agreed with its leader stays (log matching), and was durable before it was acknowledged.
            Err(Some(conflict)) if conflict.rejected <= acknowledged => {
                self.out.push(Effect::Forgot {
                    index: conflict.rejected,
                });
            }
            Err(Some(conflict)) => {
                self.send(
                    from,
                    Body::AppendReply {
                        result: Err(conflict),
                        round,
                    },
                );
            }
            Err(None) => self.ignore(Ignored::Impossible),
        }
    }

    /// Makes the log agree with the leader's up to the last entry of `append`; that index, or where the logs
    /// depart. `Err(None)`: it would overwrite what is committed, which no sound leader asks.
    fn take_in(&mut self, append: Append) -> Result<Index, Option<Conflict>> {
        let Append {
            prev, mut entries, ..
        } = append;
        let last = prev.index + entries.len() as u64;
        // What is committed agrees with every later leader's log (leader completeness); it may be compacted too.
        if last <= self.commit {
            return Ok(self.commit);
        }
        // As if it had not come: the leader's window fills up, and the heartbeat after this member has applied
        // some finds out where to go on.
        if self.is_full() && !planted!(UnappliedUnbounded) {
            return Ok(self.commit);
        }
        if prev.index >= self.commit && self.log.term(prev.index) != Some(prev.term) {
            let unchecked = planted!(NoPrevTermCheck) && prev.index <= self.log.last_index();
            if !unchecked {
                return Err(Some(self.conflict(prev)));
            }
        }
        if planted!(AppendTruncatesAlways)
            && (self.commit..self.log.last_index()).contains(&prev.index)
        {
            self.truncate(prev.index + 1);
        }
        // What is there already stays, and what follows it: a late append must not take acknowledged entries away.
        let held = |entry: &Entry| match self.log.term(entry.index) {
            Some(term) => term == entry.term,
            None => entry.index < self.log.start().index,
        };
        let fresh = entries.split_off(entries.iter().take_while(|entry| held(entry)).count());
        if let Some(first) = fresh.first() {
            if first.index <= self.commit {
                return Err(None);
            }
            if first.index <= self.log.last_index() {
                self.truncate(first.index);
            }
        }
        for entry in fresh {
            if let Payload::Configuration(configuration) = &entry.payload {
                self.configurations.push(entry.index, configuration.clone());
            }
            self.count_from(&entry.payload);
            self.log.push(entry);
        }
        Ok(last)
    }

    /// Drops every entry from `from` on, and the configurations among them.
    fn truncate(&mut self, from: Index) {
        assert!(from > self.commit, "what is committed is never truncated");
        assert!(
            !matches!(self.role, RoleState::Leader(_)),
            "a leader only appends"
        );
        self.log.truncate(from);
        self.disk.truncated(from - 1);
        self.configurations.truncate(from);
    }

    /// Where the logs may still agree: the leader need not walk back one by one.
    fn conflict(&self, prev: Position) -> Conflict {
        let hint_index = self
            .log
            .highest_at_most(prev.index.saturating_sub(1), prev.term);
        let hint_term = self.log.term(hint_index).unwrap_or(0);
        Conflict {
            rejected: prev.index,
            hint_index,
            hint_term,
        }
    }

    fn acknowledge(&mut self, to: MemberId, matched: Index, round: u64, prompt: bool) {
        match &mut self.ack {
            Some(ack) if ack.to == to => {
                ack.matched = ack.matched.max(matched);
                ack.round = ack.round.max(round);
                ack.prompt |= prompt;
            }
            _ => {
                self.ack = Some(Ack {
                    to,
                    matched,
                    round,
                    prompt,
                })
            }
        }
    }

    /// Gives the round's acknowledgement out. What it promises must be durable, the term included: a member that
    /// forgets the term could help to elect an older leader, one that forgets the entries could lose what a
    /// quorum has committed.
    pub(crate) fn flush_ack(&mut self) {
        let Some(Ack {
            to,
            matched,
            round,
            prompt,
        }) = self.ack.take()
        else {
            return;
        };
        let news = round > self.echoed;
        self.echoed = self.echoed.max(round);
        let (durable, vote_is_durable) = (self.disk.durable(), self.disk.vote_is_durable());
        let reply = |matched| Body::AppendReply {
            result: Ok(matched),
            round,
        };
        let term = self.vote.term;
        if (matched <= durable && vote_is_durable) || planted!(AckBeforeSync) {
            return self.send_message(
                to,
                Message {
                    term,
                    body: reply(matched),
                },
                Gate::None,
            );
        }
        // A slow disk holds up the promise, not the sign of life and not the reads that wait for the echo.
        if (prompt || news) && vote_is_durable {
            self.send_message(
                to,
                Message {
                    term,
                    body: reply(durable.min(matched)),
                },
                Gate::None,
            );
        }
        self.send_message(
            to,
            Message {
                term,
                body: reply(matched),
            },
            Gate::AllWritten,
        );
    }

    /// Whether a snapshot may become this member's state: it is ahead of it, and contradicts nothing that is
    /// known to be committed here. To be asked before one is installed, and before one is taken on offer.
    pub fn wants_snapshot(&self, snapshot: &SnapshotMeta) -> bool {
        let can_be = (1..=LIMIT).contains(&snapshot.term)
            && snapshot.index <= LIMIT
            && snapshot.configuration_index <= snapshot.index;
        let agrees = self.log.term(snapshot.index) == Some(snapshot.term);
        can_be && snapshot.index > self.applied && (agrees || snapshot.index > self.commit)
    }

    /// The state is that of a snapshot now.
    pub(crate) fn installed(&mut self, snapshot: &SnapshotMeta) {
        if snapshot.index <= self.applied {
            return;
        }
        assert!(
            self.wants_snapshot(snapshot),
            "a snapshot contradicts what is committed here"
        );
        if snapshot.term > self.vote.term {
            self.become_follower(snapshot.term, None);
        }
        let agrees = self.log.term(snapshot.index) == Some(snapshot.term);
        let start = Position {
            index: snapshot.index,
            term: snapshot.term,
        };
        let reset = LogStart {
            index: start.index,
            term: start.term,
            drop_suffix: !agrees,
        };
        if agrees {
            self.log.compact(snapshot.index);
        } else {
            if matches!(self.role, RoleState::Leader(_)) {
                self.become_follower(self.vote.term, None);
            }
            self.log.reset(start);
            self.configurations.forget_log();
            self.ack = None;
        }
        self.count_anew();
        self.disk.reset(reset);
        self.configurations.installed(snapshot);
        self.applied = snapshot.index;
        self.handed_out = self.handed_out.max(snapshot.index);
        self.set_commit(self.commit.max(snapshot.index));
        self.sync_members();
    }
}
