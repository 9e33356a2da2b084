//! One group's core from outside: which module takes which input, and what can be seen.

use std::collections::BTreeMap;

use crate::config::Config;
use crate::election::VoteRequest;
use crate::follower::Append;
use crate::io::{Effect, Input, Refusal};
use crate::log::weight;
use crate::readers::ForwardedReads;
use crate::restore::{RestoreError, Restored, recover};
use crate::state::{Gate, LIMIT, Leader, Raft, Reported, RoleState};
use crate::status::{Ignored, MemberProgress, Role};
use crate::tenure::Tenure;
use crate::types::*;

impl Raft {
    /// Starts from what is on disk, as a follower that knows no leader. Entries after the applied index count as
    /// uncommitted until a leader says otherwise. A single voter stands at the first tick: nobody else can.
    pub fn new(config: Config, restored: Restored, now: Now) -> Result<Self, RestoreError> {
        config.validate()?;
        let applied = restored.snapshot.index;
        let recovered = recover(restored)?;
        // The time is mixed in so that even a seed used twice does not repeat the marks of an earlier life.
        let mut rng = fastrand::Rng::with_seed(config.seed);
        let first_mark = (rng.u64(..) ^ (now.as_nanos() as u64).rotate_left(24)) >> 1;
        let mut raft = Self {
            config,
            now,
            rng,
            vote: recovered.vote,
            log: recovered.log,
            disk: recovered.disk,
            configurations: recovered.configurations,
            commit: applied,
            handed_out: applied,
            applied,
            role: RoleState::Follower,
            leader: None,
            leader_heard: now,
            tenure: Tenure::default(),
            election_deadline: now,
            forwarded: ForwardedReads::new(first_mark),
            transfer: None,
            ack: None,
            echoed: 0,
            outbox: Vec::new(),
            out: Vec::new(),
            ignored: BTreeMap::new(),
            reported: Reported::default(),
        };
        if !(raft.is_single_voter() && raft.is_voter()) {
            raft.arm_election();
        }
        Ok(raft)
    }

    /// Takes one input in. Answers to requests are added to `effects`; all else comes with [`Raft::flush`].
    pub fn step(&mut self, input: Input, now: Now, effects: &mut Vec<Effect>) {
        self.pass(now);
        match input {
            Input::Tick => self.tick(),
            Input::Receive { from, message } => self.receive(from, message),
            Input::Written(id) => {
                self.disk.written(id);
                self.count_votes();
            }
            Input::Propose { ticket, command } => self.propose(ticket, command),
            Input::Read { ticket } => self.read(ticket),
            Input::Change {
                ticket,
                expected,
                change,
            } => self.change(ticket, expected, &change),
            Input::Transfer { ticket, to } => self.transfer(ticket, to),
            Input::Applied(index) => {
                assert!(index <= self.handed_out, "{index} was never handed out");
                self.applied = self.applied.max(index);
            }
            // What was not given to the disk yet must still be, and what was not applied is still needed.
            Input::Compact(index) => self
                .log
                .compact(index.min(self.applied).min(self.disk.handed())),
            Input::SnapshotDone { to, index } => self.on_snapshot_done(to, index),
            Input::Installed(snapshot) => self.installed(&snapshot),
            Input::Unreachable(member) => self.on_unreachable(member),
        }
        effects.append(&mut self.out);
    }

    /// Ends a round: gives out one write, the messages, what is committed, for all that was taken in.
    pub fn flush(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.pass(now);
        if matches!(self.role, RoleState::Leader(_)) {
            self.advance_commit();
            self.settle_configuration();
        }
        self.flush_reads();
        self.flush_transfer();
        effects.append(&mut self.out);
        effects.extend(self.disk.take(self.vote, &self.log).map(Effect::Write));
        self.flush_ack();
        let all = self.disk.all();
        effects.extend(self.outbox.drain(..).map(|(to, message, gate)| {
            let after = if gate == Gate::AllWritten { all } else { None };
            Effect::Send { to, message, after }
        }));
        self.replicate();
        effects.append(&mut self.out);
        self.hand_out(effects);
        self.report(effects);
        self.check_invariants();
    }

    /// When [`Input::Tick`] is due at the latest; may lie in the past.
    pub fn deadline(&self) -> Now {
        let role = match &self.role {
            RoleState::Leader(leader) => leader.next_heartbeat,
            _ => self.election_deadline,
        };
        let transfer = self.transfer.as_ref().map(|transfer| transfer.deadline);
        [transfer, self.forwarded.deadline()]
            .into_iter()
            .flatten()
            .fold(role, Now::min)
    }

    fn tick(&mut self) {
        self.expire_transfer();
        self.refuse_late_reads();
        match &mut self.role {
            RoleState::Leader(leader) if leader.next_heartbeat <= self.now => {
                leader.next_heartbeat = self.now + self.config.heartbeat_interval;
                leader.heartbeat_due = true;
                self.check_quorum();
            }
            RoleState::Leader(_) => {}
            _ if self.election_deadline <= self.now => self.on_election_timeout(),
            _ => {}
        }
    }

    fn propose(&mut self, ticket: Ticket, command: bytes::Bytes) {
        let payload = Payload::Command(command);
        let reason = match self.role {
            RoleState::Leader(_) if self.transfer.is_some() || !self.is_voter() => {
                Refusal::Transferring
            }
            RoleState::Leader(_) => {
                let waiting = self.log.bytes(self.applied, self.log.last_index()) as usize;
                let limit = self.config.max_uncommitted_bytes;
                if waiting == 0 || waiting.saturating_add(weight(&payload) as usize) <= limit {
                    let index = self.append(payload);
                    return self.out.push(Effect::Proposed {
                        ticket,
                        index,
                        term: self.vote.term,
                    });
                }
                Refusal::Busy(waiting)
            }
            _ => Refusal::NotLeader(self.leader),
        };
        self.out.push(Effect::Refused { ticket, reason });
    }

    fn receive(&mut self, from: MemberId, message: Message) {
        let Message { term, body } = message;
        if from == self.config.id || term == 0 || term > LIMIT || !body_is_sane(&body) {
            return self.ignore(Ignored::Impossible);
        }
        if term < self.vote.term {
            return self.answer_outdated(from, &body);
        }
        if term > self.vote.term && !self.raise_term(from, term, &body) {
            return;
        }
        match body {
            Body::RequestVote {
                pre,
                last_index,
                last_term,
                ..
            } => {
                let last = Position {
                    index: last_index,
                    term: last_term,
                };
                self.on_request_vote(from, term, &VoteRequest { pre, last });
            }
            Body::VoteReply { pre, granted } => self.on_vote_reply(from, term, pre, granted),
            Body::Append {
                prev_index,
                prev_term,
                entries,
                commit,
                round,
                acknowledged,
            } => {
                let prev = Position {
                    index: prev_index,
                    term: prev_term,
                };
                self.on_append(
                    from,
                    Append {
                        prev,
                        entries,
                        commit,
                        round,
                        acknowledged,
                    },
                );
            }
            Body::AppendReply { result, round } => self.on_append_reply(from, result, round),
            Body::TimeoutNow => self.on_timeout_now(from),
            Body::ReadIndex { ticket } => self.on_read_index(from, ticket),
            Body::ReadIndexReply { ticket, index } => self.on_read_index_reply(ticket, index),
        }
    }

    /// A message of a later term. False when it is to be ignored.
    fn raise_term(&mut self, from: MemberId, term: Term, body: &Body) -> bool {
        match body {
            // Of a term that may never be.
            Body::RequestVote { pre: true, .. }
            | Body::VoteReply {
                pre: true,
                granted: true,
            } => return true,
            // Whoever hears a leader helps nobody to depose it, a member that was removed or cut off least of
            // all; only the leader itself may say so (thesis, section 4.2.3).
            Body::RequestVote {
                transfer: false, ..
            } if self.hears_leader() => {
                self.ignore(Ignored::LeaderHeard);
                return false;
            }
            Body::AppendReply { .. } | Body::VoteReply { .. } | Body::ReadIndex { .. }
                if !self.configuration().contains(from) =>
            {
                self.ignore(Ignored::NotMember);
                return false;
            }
            Body::Append { .. } => self.become_follower(term, Some(from)),
            _ => self.become_follower(term, None),
        }
        true
    }

    /// A message of an earlier term. Its sender must learn that terms have moved on, else a member that once stood
    /// for election in vain, at a term above the leader's, would never again take what the leader sends.
    fn answer_outdated(&mut self, from: MemberId, body: &Body) {
        let reply = match *body {
            Body::RequestVote { pre, .. } => Body::VoteReply {
                pre,
                granted: false,
            },
            Body::Append { prev_index, .. } => {
                let last = self.log.last();
                let conflict = Conflict {
                    rejected: prev_index,
                    hint_index: last.index.min(prev_index),
                    hint_term: last.term,
                };
                Body::AppendReply {
                    result: Err(conflict),
                    round: 0,
                }
            }
            _ => return self.ignore(Ignored::Stale),
        };
        self.send(from, reply);
    }

    /// Hands out what is committed, in batches.
    fn hand_out(&mut self, effects: &mut Vec<Effect>) {
        while self.handed_out < self.commit {
            let entries = self.log.slice(
                self.handed_out + 1,
                self.commit,
                self.config.max_apply_bytes,
            );
            assert!(!entries.is_empty(), "what is not applied is in the log");
            self.handed_out += entries.len() as u64;
            effects.push(Effect::Apply(entries));
        }
    }

    fn report(&mut self, effects: &mut Vec<Effect>) {
        let now = Reported {
            role: Some(self.role()),
            term: self.vote.term,
            leader: self.leader,
            configuration: self.configurations.index(),
            configuration_committed: self.configuration_committed(),
            transferee: self.lead_transferee(),
        };
        if now != self.reported {
            self.reported = now;
            effects.push(Effect::Changed);
        }
    }

    fn check_invariants(&self) {
        let (start, last) = (self.log.start().index, self.log.last_index());
        assert!(
            start <= self.handed_out && self.applied <= self.handed_out,
            "compaction follows application"
        );
        assert!(
            self.handed_out <= self.commit && self.commit <= last,
            "application follows commitment"
        );
        assert!(
            self.disk.durable() <= last && self.disk.handed() == last,
            "a flush gives all to the disk"
        );
        assert!(
            self.log.last().term <= self.vote.term,
            "no entry is of a term to come"
        );
    }

    pub(crate) fn send_message(&mut self, to: MemberId, message: Message, gate: Gate) {
        self.outbox.push((to, message, gate));
    }

    pub(crate) fn ignore(&mut self, why: Ignored) {
        *self.ignored.entry(why).or_default() += 1;
    }

    pub(crate) fn leader_state(&self) -> Option<&Leader> {
        match &self.role {
            RoleState::Leader(leader) => Some(leader),
            _ => None,
        }
    }
}

/// Indexes that sums can be made of.
fn body_is_sane(body: &Body) -> bool {
    match body {
        Body::Append {
            prev_index, commit, ..
        } => *prev_index <= LIMIT && *commit <= LIMIT,
        Body::AppendReply {
            result: Ok(matched),
            ..
        } => *matched <= LIMIT,
        Body::AppendReply {
            result: Err(conflict),
            ..
        } => conflict.rejected <= LIMIT && conflict.hint_index <= conflict.rejected,
        _ => true,
    }
}

/// What can be seen from outside.
impl Raft {
    /// This member.
    pub fn id(&self) -> MemberId {
        self.config.id
    }

    /// What it does in its term.
    pub fn role(&self) -> Role {
        match self.role {
            RoleState::Follower => Role::Follower,
            RoleState::PreCandidate(_) => Role::PreCandidate,
            RoleState::Candidate(_) => Role::Candidate,
            RoleState::Leader(_) => Role::Leader,
        }
    }

    /// The latest term it has seen.
    pub fn term(&self) -> Term {
        self.vote.term
    }

    /// Its term and its vote in it, durable or not.
    pub fn vote(&self) -> Vote {
        self.vote
    }

    /// Who leads this term, when known; itself when it leads.
    pub fn leader(&self) -> Option<MemberId> {
        self.leader
    }

    /// Whether this member leads and has committed an entry of its term: then it knows all that is committed.
    pub fn is_ready(&self) -> bool {
        self.leader_state()
            .is_some_and(|leader| self.commit >= leader.first_index)
    }

    /// The last entry of the log.
    pub fn last(&self) -> Position {
        self.log.last()
    }

    /// The index of the last entry of the log.
    pub fn last_index(&self) -> Index {
        self.log.last_index()
    }

    /// The entry before the first that the log still holds.
    pub fn log_start(&self) -> Position {
        self.log.start()
    }

    /// The term of the entry at an index, from the log's start on.
    pub fn term_at(&self, index: Index) -> Option<Term> {
        self.log.term(index)
    }

    /// Up to here the log is durable on this member.
    pub fn durable(&self) -> Index {
        self.disk.durable()
    }

    /// Up to here the log is known to be committed.
    pub fn commit(&self) -> Index {
        self.commit
    }

    /// Up to here committed entries were handed out by [`Effect::Apply`].
    pub fn handed_out(&self) -> Index {
        self.handed_out
    }

    /// Up to here the state machine has reported.
    pub fn applied(&self) -> Index {
        self.applied
    }

    /// Whether the state machine is so far behind that a follower takes no more in. Only what is committed counts: it
    /// will be applied whatever others do, while what is not may need what follows to be committed at all.
    pub fn is_full(&self) -> bool {
        self.log.bytes(self.applied, self.commit) > self.config.max_uncommitted_bytes as u64
    }

    /// What the entries in memory weigh, in bytes.
    pub fn bytes_held(&self) -> u64 {
        self.log.bytes_held()
    }

    /// The configuration in force: the latest in the log, committed or not.
    pub fn configuration(&self) -> &Configuration {
        self.configurations.in_force()
    }

    /// The index of its entry.
    pub fn configuration_index(&self) -> Index {
        self.configurations.index()
    }

    /// Whether its entry is known to be committed.
    pub fn configuration_committed(&self) -> bool {
        self.configurations.index() <= self.commit
    }

    /// Whether two majorities must agree now.
    pub fn is_joint(&self) -> bool {
        self.configuration().is_joint()
    }

    /// Whether this member votes.
    pub fn is_voter(&self) -> bool {
        self.configuration().is_voter(self.config.id)
    }

    /// Whether one member alone makes a quorum.
    pub fn is_single_voter(&self) -> bool {
        self.configuration().voters.len() == 1 && !self.is_joint()
    }

    /// To whom leadership is being handed over.
    pub fn lead_transferee(&self) -> Option<MemberId> {
        self.transfer.as_ref().map(|transfer| transfer.to)
    }

    /// What a leader knows of every other member; nothing when this member does not lead.
    pub fn progress(&self) -> Vec<MemberProgress> {
        let Some(leader) = self.leader_state() else {
            return Vec::new();
        };
        let seen = leader.progress.iter().map(|(id, progress)| MemberProgress {
            id: *id,
            matched: progress.matched,
            caught_up: self.check_caught_up(*id).is_ok(),
            active: self.is_active(*id),
            needs_snapshot: progress.needs_snapshot(),
        });
        seen.collect()
    }

    /// How many messages were ignored, by reason.
    pub fn ignored(&self) -> impl Iterator<Item = (Ignored, u64)> + '_ {
        self.ignored.iter().map(|(why, count)| (*why, *count))
    }
}
