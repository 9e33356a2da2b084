//! What a member's log must hold after a crash, kept beside the code that holds it.

use std::collections::BTreeMap;

use quorate_group_core::Record;
use quorate_raft::{Index, MemberId, Raft, Term, Vote};

/// The durable log and vote of one identity, and what was written to it since the last sync.
#[derive(Clone, Debug, Default)]
pub struct Mirror {
    durable: Image,
    pending: Vec<Record>,
}

#[derive(Clone, Debug, Default)]
struct Image {
    vote: Vote,
    entries: BTreeMap<Index, Term>,
}

impl Image {
    fn apply(&mut self, record: &Record) {
        match record {
            Record::Vote { vote, .. } => self.vote = *vote,
            Record::Start { start, .. } => {
                let keep = if start.drop_suffix {
                    BTreeMap::new()
                } else {
                    self.entries.split_off(&(start.index + 1))
                };
                self.entries = keep;
            }
            Record::Entries { entries, .. } => {
                if let Some(first) = entries.first() {
                    self.entries.split_off(&first.index);
                }
                self.entries
                    .extend(entries.iter().map(|entry| (entry.index, entry.term)));
            }
        }
    }

    /// Whether a member that started from this image may look like `raft`. It may have less at its front
    /// (compaction), and a later term without a vote (known from its entries or its state).
    fn explains(&self, raft: &Raft) -> bool {
        let vote = raft.vote();
        let same = vote == self.vote;
        let raised = vote.term > self.vote.term && vote.voted_for.is_none();
        if !same && !raised {
            return false;
        }
        let start = raft.log_start();
        if self
            .entries
            .get(&start.index)
            .is_some_and(|term| *term != start.term)
        {
            // The state shows that the log from there on was overwritten.
            return raft.last_index() == start.index;
        }
        let last = self
            .entries
            .last_key_value()
            .map_or(start.index, |(index, _)| *index)
            .max(start.index);
        raft.last_index() == last
            && self
                .entries
                .range(start.index + 1..)
                .all(|(index, term)| raft.term_at(*index) == Some(*term))
    }
}

impl Mirror {
    /// Records were appended.
    pub fn append(&mut self, records: &[Record]) {
        self.pending.extend_from_slice(records);
    }

    /// They are durable. Answers the entries among them.
    pub fn sync(&mut self) -> Vec<(Index, Term)> {
        let mut entries = Vec::new();
        for record in self.pending.drain(..) {
            self.durable.apply(&record);
            if let Record::Entries { entries: new, .. } = &record {
                entries.extend(new.iter().map(|entry| (entry.index, entry.term)));
            }
        }
        entries
    }

    /// Whether a crash now could not make the member vote for another in that term.
    pub fn has_voted(&self, term: Term, candidate: MemberId) -> bool {
        let vote = self.durable.vote;
        vote.term > term || (vote.term == term && vote.voted_for == Some(candidate))
    }

    /// After a restart: what was durable is there, and of what was not some prefix. Goes on from what was found,
    /// which is durable by now; answers the entries in it.
    pub fn restart(&mut self, raft: Option<&Raft>) -> Vec<(Index, Term)> {
        let mut image = self.durable.clone();
        let Some(raft) = raft else {
            let nothing = image.entries.is_empty() && image.vote == Vote::default();
            assert!(
                nothing,
                "durability: a member forgot its group; it held {image:?}"
            );
            self.pending.clear();
            return Vec::new();
        };
        let mut pending = std::mem::take(&mut self.pending).into_iter();
        while !image.explains(raft) {
            let Some(record) = pending.next() else {
                panic!(
                    "durability: a member came back with vote {:?}, log {:?} to {:?}; durable were {:?}",
                    raft.vote(),
                    raft.log_start(),
                    raft.last(),
                    self.durable
                );
            };
            image.apply(&record);
        }
        self.durable = image;
        self.durable
            .entries
            .iter()
            .map(|(index, term)| (*index, *term))
            .collect()
    }
}
