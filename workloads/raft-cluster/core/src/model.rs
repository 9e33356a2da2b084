//! What the tests compare with: the state machine as one would write it with no store beneath.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use quorate_group_core::machine_prefix;
use quorate_store::{Read, StateError};

use crate::machine::Table;
use crate::view::View;
use crate::{
    Answer, Applied, Command, Condition, Expect, Failed, Operation, OperationResult, Record,
    Verdict,
};

/// The naive machine.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) revision: u64,
    pub(crate) records: BTreeMap<Bytes, Record>,
}

impl Model {
    pub(crate) fn apply(&mut self, command: &Command) -> Answer {
        if let Err(invalid) = command.check() {
            return Answer::new(self.revision, Verdict::Rejected(invalid.to_string()));
        }
        let found = |key: &Bytes| {
            self.records
                .get(key)
                .map_or(0, |record| record.mod_revision)
        };
        for (at, Condition { key, expect }) in command.conditions.iter().enumerate() {
            let holds = match expect {
                Expect::Missing => found(key) == 0,
                Expect::Exists => found(key) != 0,
                Expect::Revision(revision) => found(key) == *revision && *revision != 0,
            };
            if !holds {
                return Answer::new(
                    self.revision,
                    Verdict::Failed(Failed {
                        condition: at as u32,
                        found: found(key),
                    }),
                );
            }
        }
        let results: Vec<_> = command
            .operations
            .iter()
            .map(|operation| OperationResult {
                previous: found(operation.key()),
            })
            .collect();
        let puts = command
            .operations
            .iter()
            .any(|operation| matches!(operation, Operation::Put { .. }));
        if puts || results.iter().any(|result| result.previous > 0) {
            self.revision += 1;
        }
        for operation in command.operations.clone() {
            match operation {
                Operation::Delete { key } => drop(self.records.remove(&key)),
                Operation::Put { key, value } => {
                    let new = Record {
                        create_revision: self.revision,
                        ..Record::default()
                    };
                    let record = self.records.entry(key).or_insert(new);
                    record.mod_revision = self.revision;
                    record.version += 1;
                    record.value = value;
                }
            }
        }
        Answer::new(self.revision, Verdict::Applied(Applied { results }))
    }
}

/// The stored state of group 1, in a map.
#[derive(Default)]
pub(crate) struct Stored(BTreeMap<Vec<u8>, Bytes>);

impl Stored {
    pub(crate) fn view<T>(&self, read: impl FnOnce(&View<'_>) -> Result<T, StateError>) -> T {
        read(&View::new(self, 1)).unwrap()
    }

    fn at(key: &[u8]) -> Vec<u8> {
        [&machine_prefix(1)[..], key].concat()
    }
}

impl Table for Stored {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        Ok(self.0.get(&Self::at(key)).cloned())
    }

    fn put(&mut self, key: &[u8], value: Bytes) {
        self.0.insert(Self::at(key), value);
    }

    fn delete(&mut self, key: &[u8]) {
        self.0.remove(&Self::at(key));
    }
}

impl Read for Stored {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        Ok(self.0.get(key).cloned())
    }

    fn scan(
        &self,
        start: &[u8],
        end: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StateError> {
        let mut range = self.0.range(start.to_vec()..end.to_vec());
        range.all(|(key, value)| visit(key, value));
        Ok(())
    }
}

/// Keys from a small alphabet, so that they meet.
pub(crate) fn key() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(prop::sample::select(vec![0u8, b'a', 255]), 0..3).prop_map(Bytes::from)
}

/// Commands, a few of them invalid.
pub(crate) fn command() -> impl Strategy<Value = Command> {
    let expect = prop_oneof![
        Just(Expect::Missing),
        Just(Expect::Exists),
        (0u64..20).prop_map(Expect::Revision)
    ];
    let condition = (key(), expect).prop_map(|(key, expect)| Condition { key, expect });
    let value = prop::collection::vec(any::<u8>(), 0..4).prop_map(Bytes::from);
    let operation = prop_oneof![
        3 => (key(), value).prop_map(|(key, value)| Operation::Put { key, value }),
        1 => key().prop_map(|key| Operation::Delete { key }),
    ];
    (
        prop::collection::vec(condition, 0..2),
        prop::collection::vec(operation, 0..4),
    )
        .prop_map(|(conditions, operations)| Command {
            conditions,
            operations,
            single: false,
        })
}
