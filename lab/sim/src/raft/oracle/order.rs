//! The linear order: the log, as it was applied first. Every answer is checked against it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quorate_group_core::Outcome;
use quorate_raft::{Index, Term};
use quorate_raft_cluster_core::{Answer, Command, Expect, Operation, Verdict};

use crate::raft::machine::Applied;
use crate::raft::queue::Time;

/// Everything that was applied, and a model of the state at every revision.
#[derive(Debug, Default)]
pub struct Order {
    applied: BTreeMap<Index, Applied>,
    places: BTreeMap<Bytes, Index>,
    outcomes: BTreeMap<Index, (Term, Outcome)>,
    /// Commands whose client was told that they have no effect and will have none.
    refused: BTreeSet<Bytes>,
    /// What each key was from a revision on.
    keys: BTreeMap<Bytes, Vec<(u64, Option<Bytes>)>>,
    /// The revision from an index on.
    revisions: Vec<(Index, u64)>,
    /// The highest index whose effect a client has been shown, and since when.
    shown: Vec<(Time, Index)>,
}

impl Order {
    /// A member's machine was given a command.
    pub fn apply(&mut self, new: Applied, committed: Index) {
        let index = new.index;
        assert!(
            index <= committed,
            "state machine safety: {index} was applied before it was committed"
        );
        if let Some(first) = self.applied.get(&index) {
            assert!(
                first.command == new.command,
                "state machine safety: two commands at {index}"
            );
            assert!(
                first.answer == new.answer,
                "state machine safety: two answers at {index}"
            );
            return;
        }
        let last = self.applied.last_key_value().map_or(0, |(last, _)| *last);
        assert!(
            index > last,
            "state machine safety: {index} is applied by one member and was passed over by another"
        );
        assert!(
            !self.refused.contains(&new.command),
            "a refused command was applied at {index}"
        );
        if let Some(place) = self.places.insert(new.command.clone(), index) {
            panic!("sessions: one command was applied at {place} and again at {index}");
        }
        let expected = self.model(index, &new.command);
        assert!(
            Answer::from_bytes(&new.answer) == Ok(expected),
            "the answer at {index} is wrong"
        );
        self.applied.insert(index, new);
    }

    /// What a command must answer; the model changes as it says.
    fn model(&mut self, index: Index, command: &[u8]) -> (u64, Verdict) {
        let revision = self.revision();
        let command = match Command::decode(command) {
            Ok(command) => command,
            Err(invalid) => return (revision, Verdict::Rejected(invalid.to_string())),
        };
        for (at, condition) in (0..).zip(&command.conditions) {
            let found = self.changed_at(&condition.key);
            let holds = match condition.expect {
                Expect::Missing => found == 0,
                Expect::Exists => found > 0,
                Expect::Revision(wanted) => found > 0 && found == wanted,
            };
            if !holds {
                return (
                    revision,
                    Verdict::Failed(quorate_raft_cluster_core::Failed {
                        condition: at,
                        found,
                    }),
                );
            }
        }
        let mut results = Vec::new();
        let mut changed = false;
        for operation in command.operations {
            let previous = self.changed_at(operation.key());
            results.push(quorate_raft_cluster_core::OperationResult { previous });
            let (key, value) = match operation {
                Operation::Put { key, value } => (key, Some(value)),
                Operation::Delete { key } => (key, None),
            };
            if value.is_some() || previous > 0 {
                changed = true;
                self.keys
                    .entry(key)
                    .or_default()
                    .push((revision + 1, value));
            }
        }
        if changed {
            self.revisions.push((index, revision + 1));
        }
        (
            revision + u64::from(changed),
            Verdict::Applied(quorate_raft_cluster_core::Applied { results }),
        )
    }

    /// The revision of a key's last change; 0 when there is no such key.
    fn changed_at(&self, key: &[u8]) -> u64 {
        let latest = self.keys.get(key).and_then(|versions| versions.last());
        latest
            .filter(|(_, value)| value.is_some())
            .map_or(0, |(revision, _)| *revision)
    }

    /// The latest revision.
    pub fn revision(&self) -> u64 {
        self.revisions.last().map_or(0, |(_, revision)| *revision)
    }

    /// A member reports outcomes.
    pub fn outcomes(&mut self, outcomes: &[(Index, Term, Outcome)]) {
        for (index, term, outcome) in outcomes {
            let first = self
                .outcomes
                .entry(*index)
                .or_insert_with(|| (*term, outcome.clone()));
            assert!(
                *first == (*term, outcome.clone()),
                "state machine safety: two outcomes at {index}"
            );
        }
    }

    /// A client's write was answered. True if that was a retry's answer.
    pub fn answered(&mut self, now: Time, command: &Bytes, index: Index, answer: &Bytes) -> bool {
        let place = self.places.get(command).copied();
        let Some(place) = place else {
            panic!("an answer for {index} to a command that was never applied")
        };
        assert!(
            place <= index,
            "the answer says {index}, the command was applied at {place}"
        );
        let first = self.applied.get(&place).map(|applied| &applied.answer);
        assert!(
            first == Some(answer),
            "sessions: a retry of {place} did not get the first answer"
        );
        self.show(now, place);
        place < index
    }

    /// A client was told that its command has no effect and will have none.
    pub fn refuse(&mut self, command: Bytes) {
        assert!(
            !self.places.contains_key(&command),
            "a command was refused that had been applied"
        );
        self.refused.insert(command);
    }

    /// The index that a linearizable read beginning now must reach.
    pub fn floor(&self) -> Index {
        self.shown.last().map_or(0, |(_, index)| *index)
    }

    /// The same, for a read that may be as old as `time`.
    pub fn floor_at(&self, time: Time) -> Index {
        let later = self.shown.partition_point(|(since, _)| *since < time);
        later.checked_sub(1).map_or(0, |at| self.shown[at].1)
    }

    /// A read found this. `floor` is [`Order::floor`] at the time that it must not be older than.
    pub fn read(&self, floor: Index, key: &Bytes, revision: u64, found: Option<(u64, Bytes)>) {
        assert!(
            revision <= self.revision(),
            "a read saw revision {revision}, which was never reached"
        );
        let least = self.revision_at(floor);
        assert!(
            revision >= least,
            "linearizability: a read saw revision {revision}, revision {least} had been shown before"
        );
        let expected = self.keys.get(key).and_then(|versions| {
            let later = versions.partition_point(|(since, _)| *since <= revision);
            let (since, value) = versions.get(later.checked_sub(1)?)?;
            Some((*since, value.clone()?))
        });
        assert!(
            expected == found,
            "linearizability: {key:?} at revision {revision} is {expected:?}, a read saw {found:?}"
        );
    }

    /// A linearizable read showed a client this revision.
    pub fn show_revision(&mut self, now: Time, revision: u64) {
        let at = self
            .revisions
            .partition_point(|(_, reached)| *reached < revision);
        if let Some((index, _)) = self.revisions.get(at) {
            self.show(now, *index);
        }
    }

    /// The latest value of every key.
    pub fn state(&self) -> BTreeMap<Bytes, (u64, Bytes)> {
        let latest = |(key, versions): (&Bytes, &Vec<(u64, Option<Bytes>)>)| {
            let (revision, value) = versions.last()?;
            Some((key.clone(), (*revision, value.clone()?)))
        };
        self.keys.iter().filter_map(latest).collect()
    }

    fn revision_at(&self, index: Index) -> u64 {
        let later = self.revisions.partition_point(|(at, _)| *at <= index);
        later.checked_sub(1).map_or(0, |at| self.revisions[at].1)
    }

    fn show(&mut self, now: Time, index: Index) {
        if index > self.floor() {
            self.shown.push((now, index));
        }
    }
}
