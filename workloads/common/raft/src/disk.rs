//! What this member's disk has been given and what it is known to hold. Several writes may be under way at once;
//! they become durable in order.

use std::collections::VecDeque;

use crate::io::{LogStart, Write};
use crate::log::Log;
use crate::planted::planted;
use crate::types::*;

pub(crate) struct Disk {
    /// The last write given out.
    issued: WriteId,
    /// The last write known to be durable.
    done: WriteId,
    /// Writes under way, and up to where the log will be durable with each. An index leaves a write's claim when
    /// the entry is overwritten: else a late report for the old entry would vouch for the new one (the ABA race
    /// of asynchronous appends, etcd `async_storage_writes_append_aba_race.txt`).
    under_way: VecDeque<(WriteId, Index)>,
    /// The log is durable up to here.
    durable: Index,
    /// Entries up to here were given out.
    handed: Index,
    /// The vote is newer than the last write.
    vote_changed: bool,
    /// The write that holds the current vote.
    vote_write: WriteId,
    /// A new start of the log that has not been given out yet.
    reset: Option<LogStart>,
}

impl Disk {
    /// A disk that holds the log up to `durable`, and the vote.
    pub(crate) fn new(durable: Index) -> Self {
        Self {
            issued: 0,
            done: 0,
            under_way: VecDeque::new(),
            durable,
            handed: durable,
            vote_changed: false,
            vote_write: 0,
            reset: None,
        }
    }

    pub(crate) fn durable(&self) -> Index {
        self.durable
    }

    /// Entries beyond it have not been given to the disk.
    pub(crate) fn handed(&self) -> Index {
        self.handed
    }

    pub(crate) fn vote_changed(&mut self) {
        self.vote_changed = true;
    }

    pub(crate) fn vote_is_durable(&self) -> bool {
        !self.vote_changed && self.vote_write <= self.done
    }

    /// The log now ends at `last`: what any write put beyond it is gone.
    pub(crate) fn truncated(&mut self, last: Index) {
        self.handed = self.handed.min(last);
        self.durable = self.durable.min(last);
        if planted!(WrittenCountsOverwritten) {
            return;
        }
        for (_, up_to) in &mut self.under_way {
            *up_to = (*up_to).min(last);
        }
    }

    /// The log begins anew. Up to its start the state is durable, which is as good as the entries.
    pub(crate) fn reset(&mut self, start: LogStart) {
        if start.drop_suffix {
            self.truncated(start.index);
        }
        self.durable = self.durable.max(start.index);
        self.handed = self.handed.max(start.index);
        let drop_suffix =
            start.drop_suffix || self.reset.is_some_and(|earlier| earlier.drop_suffix);
        self.reset = Some(LogStart {
            drop_suffix,
            ..start
        });
    }

    /// All that changed since the last write, as one write.
    pub(crate) fn take(&mut self, vote: Vote, log: &Log) -> Option<Write> {
        let entries = log.slice(self.handed + 1, log.last_index(), usize::MAX);
        if entries.is_empty() && !self.vote_changed && self.reset.is_none() {
            return None;
        }
        self.issued += 1;
        let voted_for = vote.voted_for.filter(|_| !planted!(VoteNotWritten));
        let vote = std::mem::take(&mut self.vote_changed).then(|| {
            self.vote_write = self.issued;
            Vote { voted_for, ..vote }
        });
        self.handed = log.last_index();
        self.under_way.push_back((self.issued, self.handed));
        Some(Write {
            id: self.issued,
            vote,
            reset: self.reset.take(),
            entries,
        })
    }

    /// Every write up to `id` is durable.
    pub(crate) fn written(&mut self, id: WriteId) {
        assert!(
            id <= self.issued,
            "write {id} was reported durable, but only {} were asked for",
            self.issued
        );
        while let Some((_, up_to)) = self.under_way.pop_front_if(|(write, _)| *write <= id) {
            self.durable = self.durable.max(up_to);
        }
        self.done = self.done.max(id);
    }

    /// What a message must wait for that rests on everything given out so far.
    pub(crate) fn all(&self) -> Option<WriteId> {
        (self.done < self.issued).then_some(self.issued)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(log: &mut Log, term: Term) {
        let index = log.last_index() + 1;
        log.push(Entry {
            index,
            term,
            payload: Payload::Empty,
        });
    }

    #[test]
    fn a_late_report_does_not_vouch_for_what_replaced_the_entry() {
        let (mut log, mut disk) = (Log::new(Position::default()), Disk::new(0));
        push(&mut log, 1);
        push(&mut log, 1);
        let first = disk.take(Vote::default(), &log).unwrap();
        log.truncate(2);
        disk.truncated(1);
        push(&mut log, 2);
        let second = disk.take(Vote::default(), &log).unwrap();
        assert_eq!(second.entries[0].index, 2);
        disk.written(first.id);
        assert_eq!(
            disk.durable(),
            1,
            "index 2 of term 1 is durable, not that of term 2"
        );
        disk.written(second.id);
        assert_eq!(disk.durable(), 2);
        assert_eq!(disk.all(), None);
    }

    #[test]
    fn the_vote_rests_on_the_write_that_holds_it() {
        let (log, mut disk) = (Log::new(Position::default()), Disk::new(0));
        assert!(disk.vote_is_durable());
        disk.vote_changed();
        assert!(!disk.vote_is_durable());
        let write = disk
            .take(
                Vote {
                    term: 3,
                    voted_for: None,
                },
                &log,
            )
            .unwrap();
        assert_eq!(
            write.vote,
            Some(Vote {
                term: 3,
                voted_for: None
            })
        );
        assert!(!disk.vote_is_durable());
        assert_eq!(disk.all(), Some(1));
        disk.written(1);
        assert!(disk.vote_is_durable());
        assert!(disk.take(Vote::default(), &log).is_none());
    }

    #[test]
    fn two_resets_in_one_round_drop_what_either_drops() {
        let (mut log, mut disk) = (Log::new(Position::default()), Disk::new(0));
        disk.reset(LogStart {
            index: 10,
            term: 1,
            drop_suffix: true,
        });
        log.reset(Position { index: 10, term: 1 });
        push(&mut log, 1);
        push(&mut log, 1);
        disk.reset(LogStart {
            index: 11,
            term: 1,
            drop_suffix: false,
        });
        log.compact(11);
        let write = disk.take(Vote::default(), &log).unwrap();
        assert_eq!(
            write.reset,
            Some(LogStart {
                index: 11,
                term: 1,
                drop_suffix: true
            })
        );
        assert_eq!(write.entries.len(), 1);
    }
}
