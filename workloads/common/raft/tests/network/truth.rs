//! What is true of the whole group, and what a run reached.

use std::collections::BTreeMap;

use quorate_raft::*;

use crate::support::*;

/// What the whole group has done, as nobody in it can see.
#[derive(Default)]
pub struct Truth {
    pub leaders: BTreeMap<Term, MemberId>,
    /// By index and term: the payload, and the term of the entry before.
    pub entries: BTreeMap<(Index, Term), (Payload, Term)>,
    /// By index.
    pub committed: BTreeMap<Index, Entry>,
}

impl Truth {
    pub fn last_committed(&self) -> Index {
        self.committed.keys().next_back().copied().unwrap_or(0)
    }

    /// Log matching (by induction): an index and a term name one entry, and one entry before it.
    pub fn write(&mut self, member: &Member, write: &Write) {
        for entry in &write.entries {
            let before = member
                .raft
                .term_at(entry.index - 1)
                .expect("the log holds the entry before");
            let known = self
                .entries
                .entry((entry.index, entry.term))
                .or_insert((entry.payload.clone(), before));
            assert_eq!(
                *known,
                (entry.payload.clone(), before),
                "log matching at {} of {}",
                entry.index,
                entry.term
            );
        }
    }

    /// The configuration in force is that of the entry at its index: it went when its entry was truncated.
    pub fn configure(&self, raft: &Raft) {
        let index = raft.configuration_index();
        if raft.configuration().members().is_empty() {
            return; // started on an empty disk, and has not heard of the group yet
        }
        let entry = raft
            .term_at(index)
            .and_then(|term| self.entries.get(&(index, term)));
        if let Some((payload, _)) = entry {
            let in_force = Payload::Configuration(raft.configuration().clone());
            assert_eq!(
                *payload,
                in_force,
                "the configuration at {index} of {}",
                raft.id()
            );
        }
    }

    /// State machine safety: one entry per index, everywhere.
    pub fn apply(&mut self, entry: &Entry) {
        let known = self
            .committed
            .entry(entry.index)
            .or_insert_with(|| entry.clone());
        assert_eq!(known, entry, "state machine safety at {}", entry.index);
    }

    /// Election safety and leader completeness.
    pub fn lead(&mut self, raft: &Raft) {
        let leader = self.leaders.entry(raft.term()).or_insert(raft.id());
        assert_eq!(*leader, raft.id(), "two leaders in term {}", raft.term());
        for (index, entry) in self.committed.range(raft.log_start().index..) {
            if entry.term < raft.term() {
                assert_eq!(
                    raft.term_at(*index),
                    Some(entry.term),
                    "leader completeness at {index}"
                );
            }
        }
    }
}

/// What a run reached.
#[derive(Default, Debug, Clone, Copy)]
pub struct Reached {
    pub leaders: u64,
    pub commits: u64,
    pub truncations: u64,
    pub snapshots: u64,
    pub joints: u64,
    pub reads: u64,
    pub transfers: u64,
    pub crashes: u64,
    pub lost_writes: u64,
}
