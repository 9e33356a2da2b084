//! One group on this member: its core, its requests and reads, its snapshots, its place in the log.

mod clients;
mod lanes;
mod peers;
mod status;

use std::collections::{BTreeSet, VecDeque};

use quorate_raft::{
    Configuration, Contact, Effect as Core, Entry, Index, Input as CoreInput, MemberId, Now,
    Payload, Position, Raft, Role, Ticket, Write, WriteId,
};

use crate::ask::{Refused, Reply};
use crate::compaction::Compaction;
use crate::io::Effect;
use crate::message::PeerBody;
use crate::reads::Reads;
use crate::record::Record;
use crate::requests::{Answer, Origin, Requests, Seen, plain};
use crate::round::Round;
use crate::snapshot_receive::Receiver;
use crate::snapshot_send::Sender;

/// What a group begins with.
pub(crate) struct Start {
    pub raft: Raft,
    /// The configuration applied last.
    pub configuration: Configuration,
    /// The identities that were removed from the group.
    pub removed: BTreeSet<MemberId>,
    /// Where its log durably begins.
    pub log_start: Position,
    /// What the log holds for members that lag.
    pub compaction: Compaction,
}

pub(crate) struct Group {
    raft: Raft,
    requests: Requests,
    seen: Seen,
    reads: Reads,
    sender: Sender,
    receiver: Receiver,
    compaction: Compaction,
    /// The configuration applied last, and those on their way into the state.
    configuration: Configuration,
    upcoming: VecDeque<(Index, Configuration)>,
    removed: BTreeSet<MemberId>,
    /// This identity was removed: nothing is done any more.
    gone: bool,
    /// Committed and not yet given to the state.
    queue: VecDeque<Entry>,
    /// A task of the state lane is under way.
    state_busy: bool,
    /// What was applied is to be made durable.
    flush_wanted: bool,
    /// Administrators who wait for a snapshot: first for the flush, then for the file.
    flush_first: Vec<Ticket>,
    file_next: Vec<Ticket>,
    /// Writes of the core that are not durable, with the write of the common log that each is part of.
    writes: VecDeque<(WriteId, WriteId)>,
    /// Where the log begins, as written but not yet durable, and as durable.
    starts: VecDeque<(WriteId, Index)>,
    durable_start: Index,
}

impl Group {
    pub(crate) fn new(start: Start, id: MemberId) -> Self {
        let Start {
            raft,
            configuration,
            removed,
            log_start,
            compaction,
        } = start;
        Self {
            compaction,
            gone: removed.contains(&id),
            seen: Seen::new(raft.term()),
            raft,
            requests: Requests::default(),
            reads: Reads::default(),
            sender: Sender::default(),
            receiver: Receiver::default(),
            configuration,
            upcoming: VecDeque::new(),
            removed,
            queue: VecDeque::new(),
            state_busy: false,
            flush_wanted: false,
            flush_first: Vec::new(),
            file_next: Vec::new(),
            writes: VecDeque::new(),
            starts: VecDeque::new(),
            durable_start: log_start.index,
        }
    }

    pub(crate) fn raft(&self) -> &Raft {
        &self.raft
    }

    pub(crate) fn latest_forwarded(&self, ticket: Ticket) -> Option<(MemberId, u64)> {
        self.requests.latest_forwarded(ticket)
    }

    /// Whether this identity was removed from the group.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone
    }

    pub(crate) fn removed(&self) -> &BTreeSet<MemberId> {
        &self.removed
    }

    /// Where the group's log durably begins.
    pub(crate) fn durable_start(&self) -> Index {
        self.durable_start
    }

    /// When [`Group::tick`] is due.
    pub(crate) fn deadline(&self) -> Option<Now> {
        if self.gone {
            return None;
        }
        let others = [
            self.requests.deadline(),
            self.reads.deadline(),
            self.sender.deadline(),
        ];
        others
            .into_iter()
            .flatten()
            .chain([self.raft.deadline()])
            .min()
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, round: &mut Round<'_>) {
        if self.gone {
            return;
        }
        self.core(CoreInput::Tick, round);
        let late = self.requests.expire(round.shared, round.now);
        self.answer(late, round);
        let late = self.reads.expire(round.now);
        self.refuse_reads(late, &self.no_leader(), round);
        let actions = self
            .sender
            .tick(round.now, self.raft.log_start().index, pace(round));
        self.send_snapshots(actions, round);
    }

    /// The connection to a member broke.
    pub(crate) fn unreachable(&mut self, member: MemberId, round: &mut Round<'_>) {
        if self.gone {
            return;
        }
        self.core(CoreInput::Unreachable(member), round);
        let lost = self.requests.unreachable(round.shared, member);
        self.answer(lost, round);
    }

    /// The common log is durable up to a write.
    pub(crate) fn written(&mut self, up_to: WriteId, round: &mut Round<'_>) {
        let mut durable = None;
        while let Some((own, _)) = self.writes.pop_front_if(|(_, common)| *common <= up_to) {
            durable = Some(own);
        }
        while let Some((_, start)) = self.starts.pop_front_if(|(common, _)| *common <= up_to) {
            self.durable_start = start;
        }
        if let Some(own) = durable
            && !self.gone
        {
            self.core(CoreInput::Written(own), round);
        }
    }

    /// Cuts the log up to `index` even if nothing is due: it holds back a segment of the common log.
    pub(crate) fn let_go(&mut self, index: Index) {
        if index <= self.raft.applied() {
            self.compaction.ask(index);
        }
    }

    /// Ends a round.
    pub(crate) fn flush(&mut self, round: &mut Round<'_>) {
        if self.gone {
            return;
        }
        if let Some(ticket) = self.reads.begin(round.shared, round.now) {
            self.core(CoreInput::Read { ticket }, round);
        }
        let mut effects = Vec::new();
        self.raft.flush(round.now, &mut effects);
        self.carry_out(effects, round);
        if self.raft.role() != Role::Leader {
            self.sender.stop();
        }
        self.pump(round);
    }

    /// This member goes out of service: everybody who waits is told that nothing more will be known here.
    pub(crate) fn retire(&mut self, why: &str, round: &mut Round<'_>) {
        let waiting = self.requests.abandon(round.shared);
        self.answer(waiting, round);
        let readers = self.reads.abandon();
        let refused = Refused::OutOfService(why.into());
        self.refuse_reads(readers, &refused, round);
        let snapshots = [
            std::mem::take(&mut self.flush_first),
            std::mem::take(&mut self.file_next),
        ]
        .concat();
        self.refuse_reads(snapshots, &refused, round);
        self.queue.clear();
    }

    fn core(&mut self, input: CoreInput, round: &mut Round<'_>) {
        let mut effects = Vec::new();
        self.raft.step(input, round.now, &mut effects);
        self.carry_out(effects, round);
    }

    fn carry_out(&mut self, effects: Vec<Core>, round: &mut Round<'_>) {
        for effect in effects {
            match effect {
                Core::Write(write) => self.write(write, round),
                Core::Send { to, message, after } => {
                    let after = after.and_then(|own| self.common(own));
                    self.send(to, PeerBody::Raft(message), after, round);
                }
                Core::Apply(entries) => self.committed(entries, round),
                Core::Proposed {
                    ticket,
                    index,
                    term,
                } => self.requests.proposed(ticket, index, term),
                Core::Read { ticket, index } => {
                    self.reads.confirm(ticket, index, round.now);
                    self.release_reads(round);
                }
                Core::Refused { ticket, reason } => match self.reads.refuse(ticket) {
                    Some(readers) => self.refuse_reads(readers, &plain(reason), round),
                    None => {
                        let answer = self.requests.refused(round.shared, ticket, reason);
                        self.answer(answer, round);
                    }
                },
                Core::Transferred { ticket, handover } => {
                    let answer = self.requests.transferred(round.shared, ticket, handover);
                    self.answer(answer, round);
                }
                Core::NeedSnapshot { to, at_least } => {
                    let actions = self.sender.need(to, at_least, round.now, pace(round));
                    self.send_snapshots(actions, round);
                }
                Core::Forgot { index } => {
                    let words = format!(
                        "group {}: the disk has lost entry {index}, which this member had acknowledged",
                        round.group
                    );
                    round.shared.lost.get_or_insert(words);
                }
                Core::Changed => round.out.push(Effect::Changed),
            }
        }
    }

    /// Puts a write of the core into the round's write of the common log.
    fn write(&mut self, write: Write, round: &mut Round<'_>) {
        let Write {
            id,
            vote,
            reset,
            entries,
        } = write;
        let (group, common) = (round.group, round.shared.write);
        self.writes.push_back((id, common));
        let records = &mut round.shared.records;
        if let Some(start) = reset {
            records.push(Record::Start { group, start });
            self.starts.push_back((common, start.index));
        }
        records.extend(vote.map(|vote| Record::Vote { group, vote }));
        if !entries.is_empty() {
            records.push(Record::Entries { group, entries });
        }
    }

    /// The write of the common log that holds one of the core's; `None` when it is durable.
    fn common(&self, own: WriteId) -> Option<WriteId> {
        self.writes
            .iter()
            .find(|(write, _)| *write >= own)
            .map(|(_, common)| *common)
    }

    fn committed(&mut self, entries: Vec<Entry>, round: &mut Round<'_>) {
        let lost = self
            .requests
            .committed(round.shared, &entries, self.raft.leader());
        self.answer(lost, round);
        for entry in entries {
            if let Payload::Configuration(configuration) = &entry.payload {
                self.upcoming
                    .push_back((entry.index, configuration.clone()));
            }
            self.queue.push_back(entry);
        }
    }

    fn send(&self, to: MemberId, body: PeerBody, after: Option<WriteId>, round: &mut Round<'_>) {
        if let Some(contact) = self.contact(to).or_else(|| round.shared.heard(to)).cloned() {
            round.send(to, contact, body, after);
        }
    }

    /// Where a member is, by the configuration in force or the one applied last.
    pub(crate) fn contact(&self, id: MemberId) -> Option<&Contact> {
        let in_force = self.raft.configuration().contacts.get(&id);
        in_force.or_else(|| self.configuration.contacts.get(&id))
    }

    fn answer(&self, answers: impl IntoIterator<Item = Answer>, round: &mut Round<'_>) {
        for (origin, reply) in answers {
            match origin {
                Origin::Client(ticket) => round.reply(ticket, reply),
                Origin::Member { from, id } => {
                    self.send(from, PeerBody::ForwardReply { id, reply }, None, round)
                }
            }
        }
    }

    fn refuse_reads(&self, tickets: Vec<Ticket>, why: &Refused, round: &mut Round<'_>) {
        for ticket in tickets {
            round.shared.discharge(0);
            round.reply(ticket, Reply::Refused(why.clone()));
        }
    }

    fn no_leader(&self) -> Refused {
        Refused::NoLeader {
            hint: self.raft.leader(),
        }
    }
}

fn pace(round: &Round<'_>) -> crate::snapshot_send::Pace {
    let config = &round.shared.config;
    crate::snapshot_send::Pace {
        chunk: config.chunk_bytes,
        window: config.chunk_window,
        retry: config.election_timeout,
    }
}

fn is_member(configuration: &Configuration, id: MemberId) -> bool {
    let Configuration {
        voters,
        outgoing,
        learners,
        ..
    } = configuration;
    [voters, outgoing, learners]
        .into_iter()
        .any(|members| members.contains(&id))
}
