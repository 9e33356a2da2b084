//! Replication, the leader's side: what is sent to whom, what is acknowledged, what is committed (paper, sections
//! 5.3 and 5.4.2; thesis, section 10.2.1 for the leader's own disk).

use crate::io::Effect;
use crate::log::Log;
use crate::planted::planted;
use crate::progress::{Progress, State, Window};
use crate::state::{Gate, Raft, RoleState};
use crate::status::Ignored;
use crate::types::*;

/// What every append of a round carries.
struct Context<'a> {
    log: &'a Log,
    commit: Index,
    round: u64,
    max_append_bytes: usize,
    window: Window,
}

impl Raft {
    /// Appends an entry of this leader's term.
    pub(crate) fn append(&mut self, payload: Payload) -> Index {
        assert!(
            matches!(self.role, RoleState::Leader(_)),
            "only a leader makes entries"
        );
        let index = self.log.last_index() + 1;
        if let Payload::Configuration(configuration) = &payload {
            self.configurations.push(index, configuration.clone());
        }
        self.count_from(&payload);
        let has_new_members = matches!(payload, Payload::Configuration(_));
        self.log.push(Entry {
            index,
            term: self.vote.term,
            payload,
        });
        if has_new_members {
            self.sync_members();
        }
        index
    }

    pub(crate) fn on_append_reply(
        &mut self,
        from: MemberId,
        result: Result<Index, Conflict>,
        round: u64,
    ) {
        let last = self.log.last_index();
        let RoleState::Leader(leader) = &mut self.role else {
            return self.ignore(Ignored::WrongRole);
        };
        let begun = leader.reads.round();
        let Some(progress) = leader.progress.get_mut(&from) else {
            return self.ignore(Ignored::NotMember);
        };
        if round > begun || result.is_ok_and(|matched| matched > last) {
            return self.ignore(Ignored::Impossible);
        }
        progress.heard = Some(self.now);
        progress.echoed = progress.echoed.max(round);
        match result {
            Ok(matched) => progress.acknowledged(matched),
            Err(conflict) => {
                let agree = self
                    .log
                    .highest_at_most(conflict.hint_index, conflict.hint_term);
                if !progress.rejected(conflict.rejected, agree) {
                    self.ignore(Ignored::Stale);
                }
            }
        }
    }

    /// Commits what a quorum holds durably, if it is of this term: an entry of an earlier term that a quorum
    /// holds may still be overwritten (paper, section 5.4.2 and figure 8).
    pub(crate) fn advance_commit(&mut self) {
        let reached = self
            .configurations
            .in_force()
            .reached(|id| self.matched(id))
            .unwrap_or(0);
        let own_term = self.log.term(reached) == Some(self.vote.term) || planted!(OldTermCommit);
        if reached > self.commit && own_term {
            self.set_commit(reached);
        }
    }

    pub(crate) fn set_commit(&mut self, commit: Index) {
        assert!(commit >= self.commit, "what is committed stays committed");
        assert!(
            commit <= self.log.last_index(),
            "only what the log holds is committed"
        );
        self.commit = commit;
        self.configurations.committed(commit);
    }

    /// The durable match index of a member; this one's own moves only when its disk has reported.
    pub(crate) fn matched(&self, id: MemberId) -> Index {
        if id == self.config.id {
            return if planted!(LeaderCountsItselfEarly) {
                self.log.last_index()
            } else {
                self.disk.durable()
            };
        }
        self.leader_state()
            .and_then(|leader| leader.progress.get(&id))
            .map_or(0, |progress| progress.matched)
    }

    /// When a member was heard last; this one is heard always.
    pub(crate) fn heard(&self, id: MemberId) -> Option<Now> {
        if id == self.config.id {
            return Some(self.now);
        }
        self.leader_state()
            .and_then(|leader| leader.progress.get(&id))
            .and_then(|progress| progress.heard)
    }

    pub(crate) fn is_active(&self, id: MemberId) -> bool {
        self.heard(id)
            .is_some_and(|heard| self.now < heard + self.config.election_timeout)
    }

    /// The voter other than this member that holds most and was heard.
    pub(crate) fn best_voter(&self) -> Option<MemberId> {
        let voters = self.configuration().voters.iter().copied();
        voters
            .filter(|id| *id != self.config.id && self.is_active(*id))
            .max_by_key(|id| (self.matched(*id), *id))
    }

    /// Sends every member what is new for it.
    pub(crate) fn replicate(&mut self) {
        let RoleState::Leader(leader) = &mut self.role else {
            return;
        };
        let heartbeat = std::mem::take(&mut leader.heartbeat_due);
        let context = Context {
            log: &self.log,
            commit: self.commit,
            round: leader.reads.round(),
            max_append_bytes: self.config.max_append_bytes,
            window: Window {
                appends: self.config.max_inflight_appends,
                bytes: self.config.max_inflight_bytes as u64,
            },
        };
        let configuration = self.configurations.in_force();
        let term = self.vote.term;
        for (to, progress) in &mut leader.progress {
            let active = progress
                .heard
                .is_some_and(|heard| self.now < heard + self.config.election_timeout);
            let at_least = context.log.start().index;
            let lacks = progress.next <= at_least;
            let waits = matches!(progress.state, State::Snapshot { .. });
            if lacks && !waits && active && progress.heard > progress.snapshot_failed {
                progress.await_snapshot(at_least);
                if !std::mem::replace(&mut progress.snapshot_asked, true) {
                    self.out.push(Effect::NeedSnapshot { to: *to, at_least });
                }
            }
            let asked = configuration.is_voter(*to) && progress.sent_round < context.round;
            let mut send = |body| {
                let message = Message { term, body };
                self.out.push(Effect::Send {
                    to: *to,
                    message,
                    after: None,
                });
            };
            context.feed(progress, heartbeat || asked, &mut send);
        }
    }

    /// The transport lost messages: what was sent optimistically may not have come.
    pub(crate) fn on_unreachable(&mut self, member: MemberId) {
        if let RoleState::Leader(leader) = &mut self.role
            && let Some(progress) = leader.progress.get_mut(&member)
            && progress.state == State::Replicate
        {
            progress.probe(progress.matched + 1);
            // The next heartbeat asks: there may be no connection yet.
            progress.state = State::Probe { waiting: true };
        }
    }

    pub(crate) fn on_snapshot_done(&mut self, member: MemberId, index: Option<Index>) {
        let last = self.log.last_index();
        let RoleState::Leader(leader) = &mut self.role else {
            return;
        };
        let Some(progress) = leader.progress.get_mut(&member) else {
            return;
        };
        progress.snapshot_asked = false;
        if !matches!(progress.state, State::Snapshot { .. }) {
            return;
        }
        match index {
            Some(index) => progress.probe(index.min(last) + 1),
            None => {
                progress.probe(progress.matched + 1);
                progress.snapshot_failed = Some(self.now);
            }
        }
    }

    /// A message of this term that rests on nothing.
    pub(crate) fn send(&mut self, to: MemberId, body: Body) {
        self.send_message(
            to,
            Message {
                term: self.vote.term,
                body,
            },
            Gate::None,
        );
    }
}

impl Context<'_> {
    /// Sends one member what its state allows; `beat` when it must hear something in any case.
    fn feed(&self, progress: &mut Progress, beat: bool, send: &mut impl FnMut(Body)) {
        let mut silent = true;
        let known = progress.next > self.log.start().index;
        match progress.state {
            State::Probe { waiting: false } if known => {
                self.send_from(progress, self.max_append_bytes, send);
                silent = false;
            }
            State::Replicate => {
                while progress.next <= self.log.last_index() && progress.has_room(self.window) {
                    self.send_from(progress, self.max_append_bytes, send);
                    silent = false;
                }
            }
            State::Probe { .. } | State::Snapshot { .. } => {}
        }
        let commit_known = self.commit.min(progress.next - 1);
        let commit_is_news =
            progress.state == State::Replicate && progress.sent_commit < commit_known;
        if silent && (beat || commit_is_news) {
            self.send_from(progress, 0, send);
        }
    }

    /// One append from `next` on; with `max_bytes` 0 an empty one. A member whose `prev` the log no longer has
    /// is sent one that begins before the first entry: it agrees with every log, and is answered all the same.
    fn send_from(&self, progress: &mut Progress, max_bytes: usize, send: &mut impl FnMut(Body)) {
        let compares = !matches!(progress.state, State::Snapshot { .. });
        let previous = progress.next - 1;
        let (prev_index, prev_term) = match self.log.term(previous) {
            Some(term) if compares => (previous, term),
            _ => (0, 0),
        };
        let entries = match max_bytes {
            0 => Vec::new(),
            max => self.log.slice(progress.next, Index::MAX, max),
        };
        let last = prev_index + entries.len() as u64;
        progress.sent_round = self.round;
        progress.sent_commit = progress.sent_commit.max(self.commit.min(last));
        if max_bytes > 0 {
            let bytes = self.log.bytes(previous, last);
            progress.sent(last.max(previous), bytes);
        }
        send(Body::Append {
            prev_index,
            prev_term,
            entries,
            commit: self.commit,
            round: self.round,
            acknowledged: progress.matched,
        });
    }
}
