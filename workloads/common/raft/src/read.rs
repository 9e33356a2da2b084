//! Linearizable reads without a log entry (thesis, section 6.4): the leader notes its commit index, makes sure by a
//! round of appends that it still leads, and lets the read be served once that index is applied. Followers ask
//! their leader for such an index and serve the read themselves.

use crate::io::{Effect, Refusal};
use crate::planted::planted;
use crate::readers::{Asked, LeaderReads, Reader};
use crate::state::{Gate, Raft, RoleState};
use crate::status::Ignored;
use crate::types::*;

/// How many reads (or followers' batches of reads) may wait here before the next is refused.
const WAITING_MAX: usize = 100_000;

impl Raft {
    pub(crate) fn read(&mut self, ticket: Ticket) {
        match &mut self.role {
            RoleState::Leader(_) => self.read_here(Reader::Here(ticket)),
            _ if self.leader.is_none() => self.refuse_read(ticket),
            _ if self.forwarded.arrived.len() >= WAITING_MAX => self.refuse_busy(ticket),
            _ => self.forwarded.arrived.push(ticket),
        }
    }

    fn read_here(&mut self, reader: Reader) {
        if planted!(ReadWithoutRound) {
            return self.answer_read(reader, Some(self.commit));
        }
        let RoleState::Leader(leader) = &mut self.role else {
            return;
        };
        if leader.reads.waiting() < WAITING_MAX {
            return leader.reads.add(reader);
        }
        match reader {
            Reader::Here(ticket) => self.refuse_busy(ticket),
            Reader::There(..) => self.answer_read(reader, None),
        }
    }

    pub(crate) fn on_read_index(&mut self, from: MemberId, mark: Ticket) {
        let reader = Reader::There(from, mark);
        match self.role {
            RoleState::Leader(_) if self.configuration().contains(from) => self.read_here(reader),
            RoleState::Leader(_) => self.ignore(Ignored::NotMember),
            _ => self.answer_read(reader, None),
        }
    }

    pub(crate) fn on_read_index_reply(&mut self, mark: Ticket, index: Option<Index>) {
        let Some(asked) = self.forwarded.asked.remove(&mark) else {
            return self.ignore(Ignored::Stale);
        };
        for ticket in asked.tickets {
            match index {
                Some(index) => self.out.push(Effect::Read { ticket, index }),
                None => self.refuse_read(ticket),
            }
        }
    }

    /// Answers what a quorum has confirmed, then begins the next round. An index is good only once an entry of
    /// this term is committed: before, this leader may not know all that was committed (thesis, section 6.4).
    pub(crate) fn flush_reads(&mut self) {
        self.confirm_reads();
        let may_begin = self.is_ready() || planted!(ReadBeforeFirstCommit);
        let commit = self.commit;
        if let RoleState::Leader(leader) = &mut self.role
            && may_begin
            && leader.reads.begin(commit)
        {
            // A single voter is its own quorum.
            self.confirm_reads();
        }
        self.ask_leader();
    }

    fn confirm_reads(&mut self) {
        let me = self.config.id;
        let RoleState::Leader(leader) = &mut self.role else {
            return;
        };
        if leader.reads.under_way.is_empty() {
            return;
        }
        let (round, progress) = (leader.reads.round, &leader.progress);
        let echoed = |id| {
            if id == me {
                round
            } else {
                progress.get(&id).map_or(0, |progress| progress.echoed)
            }
        };
        let confirmed = self.configurations.in_force().reached(echoed).unwrap_or(0);
        let answers: Vec<(Reader, Index)> = leader.reads.confirm(confirmed).collect();
        for (reader, index) in answers {
            self.answer_read(reader, Some(index));
        }
    }

    fn ask_leader(&mut self) {
        if self.forwarded.arrived.is_empty() {
            return;
        }
        let tickets = std::mem::take(&mut self.forwarded.arrived);
        let Some(leader) = self.leader.filter(|leader| *leader != self.config.id) else {
            return tickets
                .into_iter()
                .for_each(|ticket| self.refuse_read(ticket));
        };
        let mark = self.forwarded.next_mark;
        self.forwarded.next_mark += 1;
        let deadline = self.now + self.config.election_timeout;
        self.forwarded
            .asked
            .insert(mark, Asked { tickets, deadline });
        self.send(leader, Body::ReadIndex { ticket: mark });
    }

    fn answer_read(&mut self, reader: Reader, index: Option<Index>) {
        match (reader, index) {
            (Reader::Here(ticket), Some(index)) => self.out.push(Effect::Read { ticket, index }),
            (Reader::Here(ticket), None) => self.refuse_read(ticket),
            (Reader::There(from, ticket), index) => {
                let message = Message {
                    term: self.vote.term,
                    body: Body::ReadIndexReply { ticket, index },
                };
                self.send_message(from, message, Gate::None);
            }
        }
    }

    fn refuse_read(&mut self, ticket: Ticket) {
        let reason = Refusal::NotLeader(self.leader);
        self.out.push(Effect::Refused { ticket, reason });
    }

    fn refuse_busy(&mut self, ticket: Ticket) {
        let reason = Refusal::Busy(WAITING_MAX * size_of::<Reader>());
        self.out.push(Effect::Refused { ticket, reason });
    }

    /// This member leads no more.
    pub(crate) fn refuse_reads(&mut self, reads: LeaderReads) {
        let LeaderReads {
            arrived, under_way, ..
        } = reads;
        let readers = under_way
            .into_iter()
            .flat_map(|round| round.readers)
            .chain(arrived);
        for reader in readers.collect::<Vec<_>>() {
            self.answer_read(reader, None);
        }
    }

    /// Another leads than the one that was asked.
    pub(crate) fn refuse_forwarded_reads(&mut self) {
        for ticket in self.forwarded.take_all() {
            self.refuse_read(ticket);
        }
    }

    /// Questions and answers get lost.
    pub(crate) fn refuse_late_reads(&mut self) {
        for ticket in self.forwarded.take_late(self.now) {
            self.refuse_read(ticket);
        }
    }
}
