//! A group's work on disk: what is under way in the state lane, and what its end brings about.

use quorate_raft::{Entry, Index, Input as CoreInput, MemberId, SnapshotMeta, Term};

use super::{Group, pace};
use crate::apply::leavers;
use crate::ask::{Refused, Reply};
use crate::message::PeerBody;
use crate::planted::planted;
use crate::round::Round;
use crate::types::Outcome;
use crate::work::{Task, TaskKind, TaskResult};

/// How many entries one [`Task::Apply`] holds at most: bounds its batch.
const MAX_APPLY: usize = 4096;

/// How much more than usual the log may hold for a snapshot under way.
const HOLD_FACTOR: u64 = 4;

impl Group {
    /// Begins the next task of the state lane if none is under way.
    pub(super) fn pump(&mut self, round: &mut Round<'_>) {
        self.flush_wanted |= self.compaction.begin_flush(&round.shared.config);
        if self.state_busy {
            return;
        }
        if let Some(snapshot) = self.receiver.whole() {
            if self.raft.wants_snapshot(&snapshot.meta) {
                self.state_busy = true;
                let install = self
                    .receiver
                    .install()
                    .map(|snapshot| Task::Install { snapshot });
                return install.into_iter().for_each(|task| round.task(task));
            }
            if let Some((to, snapshot)) = self.receiver.end() {
                self.send(
                    to,
                    PeerBody::SnapshotWant {
                        snapshot,
                        offset: None,
                    },
                    None,
                    round,
                );
            }
        }
        if std::mem::take(&mut self.flush_wanted) {
            if planted!(LogCutBeyondDurable) {
                return self.flushed(self.raft.applied(), round);
            }
            self.state_busy = true;
            return round.task(Task::Flush {
                applied: self.raft.applied(),
            });
        }
        if !self.queue.is_empty() {
            self.state_busy = true;
            let count = self.queue.len().min(MAX_APPLY);
            let entries: Vec<Entry> = self.queue.drain(..count).collect();
            self.compaction.applying(&entries, &round.shared.config);
            round.task(Task::Apply(entries));
        }
    }

    /// A task is done. The error is why this member must not go on.
    pub(crate) fn done(&mut self, result: TaskResult, round: &mut Round<'_>) -> Result<(), String> {
        match result {
            TaskResult::Applied { index, outcomes } => self.applied(index, outcomes, round),
            TaskResult::Flushed { applied } => {
                self.state_busy = false;
                self.flushed(applied, round);
            }
            TaskResult::SnapshotTaken(file) => {
                let actions = self.sender.taken(file, round.now, pace(round));
                self.send_snapshots(actions, round);
                self.snapshot_written(&Reply::Done, round);
            }
            TaskResult::ChunkRead {
                to,
                snapshot,
                offset,
                data,
            } => {
                let actions = self.sender.read(to, &snapshot, offset, data, pace(round));
                self.send_snapshots(actions, round);
            }
            TaskResult::PartOpened { snapshot, have, .. } => {
                let action = self.receiver.opened(&snapshot, have);
                self.receive_snapshots(action, round);
            }
            TaskResult::PartWritten { snapshot, have } => {
                let actions = self.receiver.written(&snapshot, have);
                self.receive_snapshots(actions, round);
            }
            TaskResult::Installed { meta, removed } => self.installed(meta, removed, round),
            TaskResult::BadSnapshot { .. } => {
                self.state_busy = false;
                self.receiver.end();
            }
            TaskResult::Removed | TaskResult::StoodAside | TaskResult::NotSetAside(_) => {}
            TaskResult::Failed { task, why } => self.failed(task, &why, round),
            TaskResult::Fatal(why) | TaskResult::Unusable(why) => return Err(why),
        }
        Ok(())
    }

    fn applied(
        &mut self,
        index: Index,
        outcomes: Vec<(Index, Term, Outcome)>,
        round: &mut Round<'_>,
    ) {
        self.state_busy = false;
        self.core(CoreInput::Applied(index), round);
        for (index, term, outcome) in outcomes {
            let answer = self
                .requests
                .applied(round.shared, index, term, || Reply::Outcome {
                    index,
                    outcome,
                });
            self.answer(answer, round);
        }
        while let Some((at, configuration)) = self.upcoming.pop_front_if(|(at, _)| *at <= index) {
            self.removed
                .extend(leavers(&self.configuration, &configuration));
            self.configuration = configuration;
            if self.configuration.outgoing.is_empty() {
                let done = self.requests.settled(round.shared, at);
                self.answer(done, round);
            }
        }
        self.release_reads(round);
        self.gone |= self.removed.contains(&round.shared.id);
    }

    /// Everything up to `flushed` is durable in the state: the log may be cut.
    fn flushed(&mut self, flushed: Index, round: &mut Round<'_>) {
        let (config, applied) = (&round.shared.config, self.raft.applied());
        let room = self.raft.bytes_held() < config.compact_after_bytes.saturating_mul(HOLD_FACTOR);
        let hold = self.sender.lowest().filter(|_| room);
        let cut = self.compaction.flushed(flushed, applied, config, hold);
        let before = self.raft.log_start();
        if cut > before.index {
            self.core(CoreInput::Compact(cut), round);
        }
        let start = self.raft.log_start();
        if start != before {
            round.log_start(start.index, start.term);
            self.starts.push_back((round.shared.write, start.index));
        }
        let asked = std::mem::take(&mut self.flush_first);
        if !asked.is_empty() {
            self.file_next.extend(asked);
            let actions = self.sender.take();
            self.send_snapshots(actions, round);
        }
    }

    fn installed(
        &mut self,
        meta: SnapshotMeta,
        removed: std::collections::BTreeSet<MemberId>,
        round: &mut Round<'_>,
    ) {
        self.state_busy = false;
        let index = meta.index;
        self.configuration = meta.configuration.clone();
        self.removed = removed;
        while self
            .queue
            .pop_front_if(|entry| entry.index <= index)
            .is_some()
        {}
        while self.upcoming.pop_front_if(|(at, _)| *at <= index).is_some() {}
        self.compaction.installed(index);
        self.core(CoreInput::Installed(meta), round);
        let covered = self.requests.covered(round.shared, index);
        self.answer(covered, round);
        self.release_reads(round);
        if let Some((to, snapshot)) = self.receiver.end() {
            let offset = Some(snapshot.size);
            self.send(to, PeerBody::SnapshotWant { snapshot, offset }, None, round);
        }
        self.gone |= self.removed.contains(&round.shared.id);
    }

    fn failed(&mut self, task: TaskKind, why: &str, round: &mut Round<'_>) {
        match task {
            TaskKind::TakeSnapshot => {
                let actions = self.sender.not_taken(round.now, pace(round));
                self.send_snapshots(actions, round);
                let refused = Refused::Busy(format!("the snapshot could not be written: {why}"));
                self.snapshot_written(&Reply::Refused(refused), round);
            }
            TaskKind::ReadChunk(to) => {
                let actions = self.sender.unreadable(to);
                self.send_snapshots(actions, round);
            }
            TaskKind::OpenPart | TaskKind::WritePart => self.receiver.failed(),
            // The first three never fail like this; the others have left nothing that is not done again.
            TaskKind::Apply
            | TaskKind::Flush
            | TaskKind::Install
            | TaskKind::RemoveSnapshot
            | TaskKind::StandAside
            | TaskKind::SetAside => {}
        }
    }

    fn snapshot_written(&mut self, reply: &Reply, round: &mut Round<'_>) {
        for ticket in std::mem::take(&mut self.file_next) {
            round.shared.discharge(0);
            round.reply(ticket, reply.clone());
        }
    }
}
