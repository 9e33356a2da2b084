//! What a restart makes of the log's records: each group's vote, where its log begins, and its entries.

use std::collections::BTreeMap;

use quorate_raft::{Entry, Index, LogStart, Position, Vote};

use crate::log_index::LogIndex;
use crate::log_writer::Marks;
use crate::record::Record;
use crate::types::GroupId;

/// The log of all groups, as it is read.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    pub groups: BTreeMap<GroupId, GroupLog>,
    pub index: LogIndex,
    pub marks: Marks,
}

/// One group's part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GroupLog {
    pub vote: Vote,
    pub start: Position,
    /// Consecutive, but where they begin is only known to fit `start` at the end: see [`GroupLog::finish`].
    entries: Vec<Entry>,
}

impl Replay {
    /// Takes one record in; the error says why it cannot be one of this log's.
    pub(crate) fn visit(&mut self, segment: u64, bytes: &[u8]) -> Result<(), String> {
        let record = Record::decode(bytes).map_err(|error| error.to_string())?;
        self.index.touch(segment);
        self.marks.note(&record);
        let group = self.groups.entry(record.group()).or_default();
        match record {
            Record::Vote { group: id, vote } => {
                if vote.term < group.vote.term {
                    return Err(format!(
                        "the term of group {id} goes back from {} to {}",
                        group.vote.term, vote.term
                    ));
                }
                group.vote = vote;
            }
            Record::Start { start, .. } => group.begin(start),
            Record::Entries { group: id, entries } => {
                if let Some(last) = entries.last() {
                    self.index.note(segment, id, last.index);
                }
                group.append(entries);
            }
        }
        Ok(())
    }
}

impl GroupLog {
    fn begin(&mut self, start: LogStart) {
        if start.drop_suffix {
            self.entries.clear();
        }
        if start.index >= self.start.index {
            self.start = Position {
                index: start.index,
                term: start.term,
            };
            let before = self
                .entries
                .partition_point(|entry| entry.index <= start.index);
            self.entries.drain(..before);
        }
    }

    fn append(&mut self, entries: Vec<Entry>) {
        let (Some(first), Some(end)) = (entries.first().map(|entry| entry.index), self.end())
        else {
            self.entries = entries;
            return;
        };
        if first > end {
            // A gap: what stood in it lies in a segment that was dropped. The start that allowed it comes later.
            self.entries.clear();
        } else {
            let kept = self.entries.partition_point(|entry| entry.index < first);
            self.entries.truncate(kept);
        }
        self.entries.extend(entries);
    }

    fn end(&self) -> Option<Index> {
        self.entries.last().map(|entry| entry.index + 1)
    }

    /// The entries after `start`, or where some of them are missing.
    pub(crate) fn finish(mut self) -> Result<(Vote, Position, Vec<Entry>), String> {
        let before = self
            .entries
            .partition_point(|entry| entry.index <= self.start.index);
        self.entries.drain(..before);
        match self.entries.first() {
            Some(first) if first.index != self.start.index + 1 => Err(format!(
                "the log begins after {}, but its first entry is {}",
                self.start.index, first.index
            )),
            _ => Ok((self.vote, self.start, self.entries)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use quorate_raft::Payload;

    use super::*;

    fn entry(index: Index, term: u64) -> Entry {
        Entry {
            index,
            term,
            payload: Payload::Empty,
        }
    }

    fn entries(range: std::ops::RangeInclusive<u64>, term: u64) -> Record {
        Record::Entries {
            group: 1,
            entries: range.map(|index| entry(index, term)).collect(),
        }
    }

    fn start(index: Index, drop_suffix: bool) -> Record {
        Record::Start {
            group: 1,
            start: LogStart {
                index,
                term: 1,
                drop_suffix,
            },
        }
    }

    fn replay(records: &[Record]) -> Result<(Index, Vec<(Index, u64)>), String> {
        let mut replay = Replay::default();
        for record in records {
            replay.visit(1, &record.encode())?;
        }
        let (_, start, entries) = replay.groups.remove(&1).unwrap_or_default().finish()?;
        Ok((
            start.index,
            entries
                .iter()
                .map(|entry| (entry.index, entry.term))
                .collect(),
        ))
    }

    #[test]
    fn later_entries_replace_what_was_at_their_place() {
        let found = replay(&[entries(1..=5, 1), entries(3..=3, 2)]).unwrap();
        assert_eq!(found, (0, vec![(1, 1), (2, 1), (3, 2)]));
    }

    #[test]
    fn a_start_drops_what_is_before_it_and_after_it_only_if_it_says_so() {
        assert_eq!(
            replay(&[entries(1..=5, 1), start(3, false)]).unwrap(),
            (3, vec![(4, 1), (5, 1)])
        );
        assert_eq!(
            replay(&[entries(1..=5, 1), start(3, true)]).unwrap(),
            (3, vec![])
        );
        assert_eq!(
            replay(&[start(8, true), entries(9..=9, 1)]).unwrap(),
            (8, vec![(9, 1)])
        );
    }

    #[test]
    fn a_gap_is_only_good_below_a_later_start() {
        let records = [start(2, false), entries(6..=8, 1)];
        assert!(replay(&records).is_err());
        assert_eq!(
            replay(&[&records[..], &[start(6, false)]].concat()).unwrap(),
            (6, vec![(7, 1), (8, 1)])
        );
        assert!(replay(&[&records[..], &[start(4, false)]].concat()).is_err());
    }

    #[test]
    fn terms_never_go_back() {
        let vote = |term| Record::Vote {
            group: 1,
            vote: Vote {
                term,
                voted_for: None,
            },
        };
        assert!(replay(&[vote(3), vote(3), vote(4)]).is_ok());
        assert!(replay(&[vote(3), vote(2)]).is_err());
    }

    proptest! {
        /// Against a plain model: dropping whole leading segments below the start changes nothing.
        #[test]
        fn dropped_segments_are_not_missed(steps in proptest::collection::vec((0u8..4, 1u64..6), 1..60)) {
            let (mut model, mut first, mut segments) = (Vec::<(Index, u64)>::new(), 0u64, vec![vec![]]);
            let mut index = LogIndex::default();
            for (at, (kind, size)) in steps.into_iter().enumerate() {
                let (last, term) = (first + model.len() as u64, at as u64 + 1);
                let segment = segments.len();
                index.touch(segment as u64);
                let record = match kind {
                    0 | 1 => {
                        let from = if kind == 0 { last + 1 } else { last + 1 - (size - 1).min(model.len() as u64) };
                        model.truncate((from - first - 1) as usize);
                        model.extend((from..from + size).map(|index| (index, term)));
                        index.note(segment as u64, 1, from + size - 1);
                        entries(from..=from + size - 1, term)
                    }
                    2 => {
                        let cut = (first + size).min(last);
                        model.drain(..(cut - first) as usize);
                        first = cut;
                        start(cut, false)
                    }
                    _ => {
                        segments.push(vec![]);
                        start(first, false)
                    }
                };
                segments.last_mut().unwrap().push(record);
            }
            let needed = index.first_needed(|_| first).unwrap_or(1) as usize;
            let found = replay(&segments[needed - 1..].concat());
            prop_assert_eq!(found, Ok((first, model)));
        }
    }
}
