//! All groups of one process.

mod aside;
mod begun;
mod bootstrap;
mod status;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use quorate_raft::{Body, Index, MemberId, Now, Raft, Restored, Ticket, WriteId};

use crate::ask::{Refused, Reply, Request};
use crate::compaction::Compaction;
use crate::config::Config;
use crate::group::{Group, Start};
use crate::io::{Durable, Effect, Input};
use crate::log_index::LogIndex;
use crate::message::{PeerBody, PeerMessage};
use crate::record::Record;
use crate::round::{Round, Shared};
use crate::types::GroupId;
use crate::work::TaskResult;

use begun::{Aside, Bootstraps};

/// How many groups a member takes part in at most.
const MAX_GROUPS: usize = 1 << 16;

/// What one member decides, for all its groups. Take in all inputs at hand with [`Groups::step`], then end the round
/// with [`Groups::flush`]: so that all groups share one write, one fsync and one message per member.
pub struct Groups {
    shared: Shared,
    groups: BTreeMap<GroupId, Group>,
    /// When each group's tick is due.
    timers: BTreeSet<(Now, GroupId)>,
    armed: BTreeMap<GroupId, Now>,
    /// The groups that something happened to in this round.
    touched: BTreeSet<GroupId>,
    /// What is not durable yet.
    writes: VecDeque<Written>,
    index: LogIndex,
    bootstraps: Bootstraps,
    /// Why this member's data cannot be trusted.
    damage: Option<String>,
    aside: Aside,
}

/// One write of the common log.
#[derive(Debug)]
struct Written {
    id: WriteId,
    /// The highest index of each group's entries in it; 0: none.
    groups: BTreeMap<GroupId, Index>,
}

impl Groups {
    pub(crate) fn new(
        config: Config,
        id: MemberId,
        groups: BTreeMap<GroupId, Start>,
        index: LogIndex,
    ) -> Self {
        let touched = groups.keys().copied().collect();
        let mut groups = Self {
            shared: Shared::new(config, id),
            groups: groups
                .into_iter()
                .map(|(group, start)| (group, Group::new(start, id)))
                .collect(),
            timers: BTreeSet::new(),
            armed: BTreeMap::new(),
            touched,
            writes: VecDeque::new(),
            index,
            bootstraps: Bootstraps::default(),
            damage: None,
            aside: Aside::default(),
        };
        // Time runs from the start on, not from the first message: a group of one gets none.
        for group in groups.touched.clone() {
            groups.arm(group);
        }
        groups
    }

    /// A member whose data cannot be trusted: it serves its status and takes part in nothing.
    pub(crate) fn damaged(config: Config, id: MemberId, why: String) -> Self {
        let mut groups = Self::new(config, id, BTreeMap::new(), LogIndex::default());
        groups.damage = Some(why);
        groups
    }

    /// Takes one input in. `out` only grows.
    pub fn step(&mut self, input: Input, now: Now, out: &mut Vec<Effect>) {
        if self.out_of_service().is_some() {
            return self.refuse(input, out);
        }
        match input {
            Input::Tick => self.tick(now, out),
            Input::Peer {
                from,
                contact,
                message,
            } => {
                self.shared.hear(from, contact);
                self.receive(from, message, now, out);
            }
            Input::Unreachable(member) => {
                let groups: Vec<GroupId> = self.groups.keys().copied().collect();
                for group in groups {
                    self.with(group, now, out, |group, round| {
                        group.unreachable(member, round)
                    });
                }
            }
            Input::Written(durable) => self.written(durable, now, out),
            Input::Done { group, result } => self.done(group, result, now, out),
            Input::Request {
                ticket,
                group,
                request,
            } => self.request(ticket, group, request, now, out),
            Input::ReadOnly(read_only) => {
                if std::mem::replace(&mut self.shared.read_only, read_only) != read_only {
                    out.push(Effect::Changed);
                }
            }
            Input::Damaged(why) => self.give_up(why, now, out),
        }
    }

    /// Ends a round: one [`Effect::Log`] for all groups, then the messages; each group's next task.
    pub fn flush(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.out_of_service().is_some() {
            return;
        }
        for group in std::mem::take(&mut self.touched) {
            self.with(group, now, out, |group, round| group.flush(round));
            self.arm(group);
        }
        // Whatever else happened to a group in this round was part of its flush.
        self.touched.clear();
        if let Some(why) = self.shared.lost.take() {
            return self.give_up(why, now, out);
        }
        self.write(out);
        out.append(&mut self.shared.sends);
        self.stand_aside(now, out);
    }

    /// When [`Input::Tick`] is due at the latest; may lie in the past.
    pub fn deadline(&self) -> Option<Now> {
        self.timers.first().map(|(deadline, _)| *deadline)
    }

    fn tick(&mut self, now: Now, out: &mut Vec<Effect>) {
        let due: Vec<GroupId> = self
            .timers
            .iter()
            .take_while(|(deadline, _)| *deadline <= now)
            .map(|(_, group)| *group)
            .collect();
        for group in due {
            self.with(group, now, out, |group, round| group.tick(round));
        }
    }

    fn receive(&mut self, from: MemberId, message: PeerMessage, now: Now, out: &mut Vec<Effect>) {
        let PeerMessage { group, body } = message;
        if !self.groups.contains_key(&group) && !self.join(group, &body, now) {
            return;
        }
        self.with(group, now, out, |group, round| {
            group.receive(from, body, round)
        });
    }

    /// A group appears here when its leader addresses this member: then it stands in the group's configuration, or
    /// stood there.
    fn join(&mut self, group: GroupId, body: &PeerBody, now: Now) -> bool {
        let is_or_was_member = match body {
            PeerBody::Raft(message) => matches!(message.body, Body::Append { .. }),
            PeerBody::SnapshotOffer { .. } | PeerBody::YouWereRemoved => true,
            _ => false,
        };
        is_or_was_member && self.may_add(group) && self.add(group, Restored::default(), now)
    }

    fn may_add(&self, group: GroupId) -> bool {
        let alone = self.groups.is_empty() && self.bootstraps.is_empty();
        let room = alone || (self.shared.config.many_groups && self.groups.len() < MAX_GROUPS);
        room && !self.bootstraps.contains(group)
    }

    fn add(&mut self, group: GroupId, restored: Restored, now: Now) -> bool {
        let configuration = restored.snapshot.configuration.clone();
        // The configuration was validated at the start and the log is of our own making.
        let Ok(raft) = Raft::new(
            self.shared.config.raft(self.shared.id, group),
            restored,
            now,
        ) else {
            return false;
        };
        let start = Start {
            log_start: raft.log_start(),
            compaction: Compaction::new(raft.applied()),
            raft,
            configuration,
            removed: BTreeSet::new(),
        };
        self.groups.insert(group, Group::new(start, self.shared.id));
        self.touched.insert(group);
        true
    }

    fn request(
        &mut self,
        ticket: Ticket,
        group: GroupId,
        request: Request,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        if let Request::Bootstrap { incarnation } = request {
            return self.bootstrap(ticket, group, incarnation, out);
        }
        if let Request::SetAside { incarnation } = request {
            return self.set_aside(ticket, group, incarnation, out);
        }
        if !self.groups.contains_key(&group) {
            let reply = Reply::Refused(Refused::NoGroup(group));
            return out.push(Effect::Reply { ticket, reply });
        }
        self.with(group, now, out, |group, round| {
            group.request(ticket, request, round)
        });
    }

    fn done(&mut self, group: GroupId, result: TaskResult, now: Now, out: &mut Vec<Effect>) {
        let mut fatal = None;
        self.with(group, now, out, |group, round| {
            fatal = group.done(result, round).err()
        });
        if let Some(why) = fatal {
            self.give_up(why, now, out);
        }
    }

    fn give_up(&mut self, why: String, now: Now, out: &mut Vec<Effect>) {
        let words = format!("{why}; this member must be restarted, or removed and replaced");
        self.retire(&words, now, out);
        self.damage = Some(why);
    }

    fn written(&mut self, durable: Durable, now: Now, out: &mut Vec<Effect>) {
        let mut begun = false;
        let mut up_to = 0;
        for (id, segment) in durable.writes {
            up_to = up_to.max(id);
            while let Some(written) = self.writes.pop_front_if(|written| written.id <= id) {
                begun |= self.index.touch(segment);
                for (group, index) in written.groups {
                    self.index.note(segment, group, index);
                    self.touched.insert(group);
                }
            }
        }
        let groups: Vec<GroupId> = self.touched.iter().copied().collect();
        for group in groups {
            self.with(group, now, out, |group, round| group.written(up_to, round));
        }
        self.bootstrapped(up_to, now, out);
        self.drop_segments(begun, out);
    }

    /// Gives up what no group needs; when too much is held back, asks those that hold it back to let go.
    fn drop_segments(&mut self, begun: bool, out: &mut Vec<Effect>) {
        let groups = &self.groups;
        let start = |group: GroupId| groups.get(&group).map_or(0, Group::durable_start);
        if let Some(below) = self.index.first_needed(start)
            && self.index.drop_below(below)
        {
            out.push(Effect::DropSegments { below });
        }
        if begun && self.index.len() > self.shared.config.max_segments {
            for (group, index) in self.index.holders(start) {
                if let Some(holder) = self.groups.get_mut(&group) {
                    holder.let_go(index);
                    self.touched.insert(group);
                }
            }
        }
    }

    /// Gives the round's records out as one write.
    fn write(&mut self, out: &mut Vec<Effect>) {
        let records = std::mem::take(&mut self.shared.records);
        if records.is_empty() {
            return;
        }
        let mut groups: BTreeMap<GroupId, Index> = BTreeMap::new();
        for record in &records {
            let highest = groups.entry(record.group()).or_default();
            if let Record::Entries { entries, .. } = record {
                *highest = entries
                    .last()
                    .map_or(*highest, |last| last.index.max(*highest));
            }
        }
        let id = self.shared.write;
        self.shared.write += 1;
        self.writes.push_back(Written { id, groups });
        out.push(Effect::Log { id, records });
    }

    fn retire(&mut self, why: &str, now: Now, out: &mut Vec<Effect>) {
        let groups: Vec<GroupId> = self.groups.keys().copied().collect();
        for group in groups {
            self.with(group, now, out, |group, round| group.retire(why, round));
        }
        self.bootstraps.retire(why, out);
        // Answers to forwarded commands go out; nothing that would rest on the disk does.
        out.extend(
            self.shared
                .sends
                .drain(..)
                .filter(|send| matches!(send, Effect::Send { after: None, .. })),
        );
        self.shared.records.clear();
        self.timers.clear();
        out.push(Effect::Changed);
    }

    fn with(
        &mut self,
        id: GroupId,
        now: Now,
        out: &mut Vec<Effect>,
        act: impl FnOnce(&mut Group, &mut Round<'_>),
    ) {
        if let Some(group) = self.groups.get_mut(&id) {
            act(
                group,
                &mut Round {
                    shared: &mut self.shared,
                    group: id,
                    now,
                    out,
                },
            );
            self.touched.insert(id);
        }
    }

    fn arm(&mut self, id: GroupId) {
        let deadline = self.groups.get(&id).and_then(Group::deadline);
        if let Some(armed) = self.armed.remove(&id) {
            self.timers.remove(&(armed, id));
        }
        if let Some(deadline) = deadline {
            self.armed.insert(id, deadline);
            self.timers.insert((deadline, id));
        }
    }
}
