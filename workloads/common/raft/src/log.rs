//! The log in memory: every entry from the log's start on, in order, with what it weighs.

use std::collections::VecDeque;

use crate::types::*;

/// What an entry costs beside its command, about: index, term, place in the queue, frame on the wire.
const ENTRY_OVERHEAD: u64 = 64;

struct Slot {
    entry: Entry,
    /// Bytes of all entries up to and including this one since the log was made, so that the weight of any
    /// range is one subtraction.
    end: u64,
}

/// Consecutive entries that follow `start`.
pub(crate) struct Log {
    start: Position,
    start_end: u64,
    slots: VecDeque<Slot>,
}

pub(crate) fn weight(payload: &Payload) -> u64 {
    let body = match payload {
        Payload::Empty => 0,
        Payload::Command(command) => command.len() as u64,
        Payload::Configuration(configuration) => {
            let contacts = configuration.contacts.values();
            contacts
                .map(|contact| (contact.name.len() + contact.address.len() + 32) as u64)
                .sum()
        }
    };
    ENTRY_OVERHEAD + body
}

impl Log {
    pub(crate) fn new(start: Position) -> Self {
        Self {
            start,
            start_end: 0,
            slots: VecDeque::new(),
        }
    }

    /// The entry before the first.
    pub(crate) fn start(&self) -> Position {
        self.start
    }

    pub(crate) fn last(&self) -> Position {
        self.slots.back().map_or(self.start, |slot| Position {
            index: slot.entry.index,
            term: slot.entry.term,
        })
    }

    pub(crate) fn last_index(&self) -> Index {
        self.start.index + self.slots.len() as u64
    }

    /// Where an index stands in `slots`; `None` at or before the start and beyond the end.
    fn slot(&self, index: Index) -> Option<&Slot> {
        let place = index.checked_sub(self.start.index + 1)?;
        self.slots.get(usize::try_from(place).ok()?)
    }

    /// The term at an index; known for the start too.
    pub(crate) fn term(&self, index: Index) -> Option<Term> {
        if index == self.start.index {
            return Some(self.start.term);
        }
        self.slot(index).map(|slot| slot.entry.term)
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        assert_eq!(entry.index, self.last_index() + 1, "the log has no holes");
        assert!(
            entry.term >= self.last().term,
            "terms never fall along a log"
        );
        let end = self.end(self.last_index()) + weight(&entry.payload);
        self.slots.push_back(Slot { entry, end });
    }

    /// Drops every entry from `from` on.
    pub(crate) fn truncate(&mut self, from: Index) {
        assert!(
            from > self.start.index,
            "what is compacted cannot be truncated"
        );
        self.slots.truncate((from - self.start.index - 1) as usize);
    }

    /// Forgets entries up to and including `index`.
    pub(crate) fn compact(&mut self, index: Index) {
        if index <= self.start.index {
            return;
        }
        let term = self.term(index);
        let (Some(term), end) = (term, self.end(index)) else {
            unreachable!("compaction beyond the last entry is the caller's error: {index}")
        };
        self.slots.drain(..(index - self.start.index) as usize);
        self.start = Position { index, term };
        self.start_end = end;
    }

    /// Begins anew after `start`.
    pub(crate) fn reset(&mut self, start: Position) {
        *self = Self::new(start);
    }

    fn end(&self, index: Index) -> u64 {
        self.slot(index).map_or(self.start_end, |slot| slot.end)
    }

    /// What the entries in `(after, up_to]` weigh.
    pub(crate) fn bytes(&self, after: Index, up_to: Index) -> u64 {
        self.end(up_to).saturating_sub(self.end(after))
    }

    pub(crate) fn bytes_held(&self) -> u64 {
        self.bytes(self.start.index, self.last_index())
    }

    /// Entries from `from` to `to` that weigh at most `max_bytes`, one at least. Commands are shared, not copied.
    pub(crate) fn slice(&self, from: Index, to: Index, max_bytes: usize) -> Vec<Entry> {
        let to = to.min(self.last_index());
        if from <= self.start.index || from > to {
            return Vec::new();
        }
        let first = (from - self.start.index - 1) as usize;
        let limit = self.end(from - 1).saturating_add(max_bytes as u64);
        let most = (to - from + 1) as usize;
        let fit = if self.end(to) <= limit {
            most
        } else {
            let fits = self
                .slots
                .range(first..first + most)
                .take_while(|slot| slot.end <= limit);
            fits.count().max(1)
        };
        self.slots
            .range(first..first + fit)
            .map(|slot| slot.entry.clone())
            .collect()
    }

    /// The highest index at or before `index` whose term is at most `term`: entries of a higher term cannot be
    /// those of a log that has `term` there (paper, end of section 5.3; here for both sides at once, as etcd does).
    /// May be below the start, when all that is held has a higher term.
    pub(crate) fn highest_at_most(&self, index: Index, term: Term) -> Index {
        let index = index.min(self.last_index());
        if index < self.start.index {
            return index;
        }
        let held = (index - self.start.index) as usize;
        let fitting = self
            .slots
            .partition_point(|slot| slot.entry.term <= term)
            .min(held);
        if fitting == 0 && self.start.term > term {
            return self.start.index.saturating_sub(1);
        }
        self.start.index + fitting as u64
    }

    /// Whether a log that ends in `other` is at least as up to date as this one (paper, section 5.4.1).
    pub(crate) fn is_at_most(&self, other: Position) -> bool {
        let last = self.last();
        (other.term, other.index) >= (last.term, last.index)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn log(start: Position, terms: &[Term]) -> Log {
        let mut log = Log::new(start);
        for (i, term) in terms.iter().enumerate() {
            let index = start.index + 1 + i as u64;
            log.push(Entry {
                index,
                term: *term,
                payload: Payload::Command(Bytes::from(vec![0; 36])),
            });
        }
        log
    }

    #[test]
    fn a_slice_holds_one_entry_at_least_and_keeps_to_its_bytes() {
        let log = log(Position { index: 5, term: 1 }, &[1, 1, 2, 2]);
        assert_eq!(log.slice(6, 9, 1).len(), 1);
        assert_eq!(log.slice(6, 9, 299).len(), 2);
        assert_eq!(log.slice(6, 9, 300).len(), 3);
        assert_eq!(log.slice(6, 7, 1000).len(), 2);
        assert_eq!(log.slice(5, 7, 1000).len(), 0);
        assert_eq!(log.slice(10, 12, 1000).len(), 0);
    }

    #[test]
    fn compaction_keeps_the_term_of_the_last_entry_it_takes() {
        let mut log = log(Position::default(), &[1, 1, 2, 3]);
        let held = log.bytes_held();
        log.compact(3);
        assert_eq!(log.start(), Position { index: 3, term: 2 });
        assert_eq!(
            (log.term(2), log.term(3), log.term(4), log.term(5)),
            (None, Some(2), Some(3), None)
        );
        assert_eq!(log.bytes_held(), held / 4);
        log.compact(2);
        assert_eq!(log.start().index, 3);
    }

    proptest! {
        #[test]
        fn highest_at_most_is_what_a_walk_finds(
            start_term in 1u64..4, steps in prop::collection::vec(0u64..3, 0..12), index in 0u64..20, term in 0u64..20,
        ) {
            let mut terms = Vec::new();
            let mut last = start_term;
            for step in steps {
                last += step;
                terms.push(last);
            }
            let log = log(Position { index: 4, term: start_term }, &terms);
            let mut walk = index.min(log.last_index());
            while log.term(walk).is_some_and(|found| found > term) {
                walk -= 1;
            }
            prop_assert_eq!(log.highest_at_most(index, term), walk);
        }
    }
}
