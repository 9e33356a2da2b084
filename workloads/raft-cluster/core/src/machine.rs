//! How a command changes the state.

use bytes::Bytes;
use quorate_group_core::{StateMachine, Txn};
use quorate_store::StateError;

use crate::answer::{Answer, Applied, Failed, OperationResult, Verdict};
use crate::command::{Command, Operation};
use crate::layout::{REVISION, decode_revision, record_key};
use crate::record::Record;

/// The state machine of a RaftCluster.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyValue;

impl StateMachine for KeyValue {
    fn apply(
        &self,
        txn: &mut Txn<'_, '_>,
        _index: u64,
        command: Bytes,
    ) -> Result<Bytes, StateError> {
        Ok(apply(txn, command)?.to_bytes())
    }
}

/// What a command needs of the state.
pub(crate) trait Table {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StateError>;
    fn put(&mut self, key: &[u8], value: Bytes);
    fn delete(&mut self, key: &[u8]);
}

impl Table for Txn<'_, '_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        Txn::get(self, key)
    }

    fn put(&mut self, key: &[u8], value: Bytes) {
        Txn::put(self, key, value);
    }

    fn delete(&mut self, key: &[u8]) {
        Txn::delete(self, key);
    }
}

pub(crate) fn apply(txn: &mut impl Table, command: Bytes) -> Result<Answer, StateError> {
    let revision = decode_revision(txn.get(REVISION)?.as_deref())?;
    let command = match Command::decode(command) {
        Ok(command) => command,
        Err(invalid) => {
            return Ok(Answer::new(
                revision,
                Verdict::Rejected(invalid.to_string()),
            ));
        }
    };
    if let Some(failed) = first_failed(txn, &command)? {
        return Ok(Answer::new(revision, Verdict::Failed(failed)));
    }
    let mut changed = false;
    let mut results = Vec::with_capacity(command.operations.len());
    for operation in command.operations {
        let previous = find(txn, operation.key())?;
        changed |= write(txn, operation, previous.as_ref(), revision + 1);
        results.push(OperationResult {
            previous: previous.map_or(0, |record| record.mod_revision),
        });
    }
    let revision = if changed { revision + 1 } else { revision };
    if changed {
        txn.put(REVISION, Bytes::copy_from_slice(&revision.to_be_bytes()));
    }
    Ok(Answer::new(revision, Verdict::Applied(Applied { results })))
}

/// All conditions are judged before any write.
fn first_failed(txn: &impl Table, command: &Command) -> Result<Option<Failed>, StateError> {
    for (at, condition) in (0..).zip(&command.conditions) {
        let found = find(txn, &condition.key)?.map(|record| record.mod_revision);
        if !condition.expect.holds(found) {
            return Ok(Some(Failed {
                condition: at,
                found: found.unwrap_or(0),
            }));
        }
    }
    Ok(None)
}

fn find(txn: &impl Table, key: &[u8]) -> Result<Option<Record>, StateError> {
    txn.get(&record_key(key))?
        .map(Record::from_bytes)
        .transpose()
}

/// Whether the operation changes something.
fn write(
    txn: &mut impl Table,
    operation: Operation,
    previous: Option<&Record>,
    revision: u64,
) -> bool {
    match operation {
        Operation::Put { key, value } => {
            txn.put(
                &record_key(&key),
                Record::written(previous, revision, value).to_bytes(),
            );
            true
        }
        Operation::Delete { key } => {
            txn.delete(&record_key(&key));
            previous.is_some()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::command::{Condition, Expect};
    use crate::model::{Model, Stored, command};
    use crate::view::PageQuery;

    fn put(key: &'static str, value: &'static str) -> Operation {
        Operation::Put {
            key: key.into(),
            value: value.into(),
        }
    }

    fn delete(key: &'static str) -> Operation {
        Operation::Delete { key: key.into() }
    }

    fn when(key: &'static str, expect: Expect) -> Condition {
        Condition {
            key: key.into(),
            expect,
        }
    }

    fn run(
        stored: &mut Stored,
        conditions: Vec<Condition>,
        operations: Vec<Operation>,
    ) -> (u64, Verdict) {
        let answer = apply(
            stored,
            Command {
                conditions,
                operations,
                single: false,
            }
            .encode(),
        )
        .unwrap();
        (answer.revision, answer.verdict.unwrap())
    }

    fn applied(previous: &[u64]) -> Verdict {
        Verdict::Applied(Applied {
            results: previous
                .iter()
                .map(|previous| OperationResult {
                    previous: *previous,
                })
                .collect(),
        })
    }

    #[test]
    fn each_change_takes_one_revision() {
        let stored = &mut Stored::default();
        assert_eq!(run(stored, vec![], vec![put("a", "1")]), (1, applied(&[0])));
        assert_eq!(
            run(stored, vec![], vec![put("a", "1")]),
            (2, applied(&[1])),
            "the same value is a change too"
        );
        assert_eq!(
            run(stored, vec![], vec![delete("b")]),
            (2, applied(&[0])),
            "nothing to delete, no change"
        );
        assert_eq!(
            run(
                stored,
                vec![],
                vec![put("b", "1"), put("c", "1"), delete("a")]
            ),
            (3, applied(&[0, 0, 2]))
        );
        assert_eq!(run(stored, vec![], vec![put("a", "1")]), (4, applied(&[0])));
        let a = stored.view(|view| view.get(b"a")).unwrap();
        assert_eq!(
            (a.create_revision, a.mod_revision, a.version),
            (4, 4, 1),
            "a new life after the deletion"
        );
    }

    #[test]
    fn all_conditions_are_judged_before_any_write() {
        let stored = &mut Stored::default();
        run(stored, vec![], vec![put("a", "1")]);
        let failed = Verdict::Failed(Failed {
            condition: 1,
            found: 0,
        });
        let conditions = || vec![when("a", Expect::Revision(1)), when("b", Expect::Exists)];
        assert_eq!(
            run(stored, conditions(), vec![put("b", "1"), put("a", "2")]),
            (1, failed)
        );
        assert_eq!(stored.view(|view| view.get(b"a")).unwrap().value, "1");
        assert_eq!(
            run(stored, vec![when("a", Expect::Revision(1))], vec![]),
            (1, applied(&[])),
            "a question is no change"
        );
    }

    #[test]
    fn an_invalid_command_is_answered_and_changes_nothing() {
        let stored = &mut Stored::default();
        run(stored, vec![], vec![put("a", "1")]);
        for command in [&b""[..], b"\xff\xff", &Command::default().encode()] {
            let answer = apply(stored, Bytes::copy_from_slice(command)).unwrap();
            assert!(
                matches!(
                    answer,
                    Answer {
                        revision: 1,
                        verdict: Some(Verdict::Rejected(_))
                    }
                ),
                "{answer:?}"
            );
        }
    }

    #[test]
    fn damage_is_no_answer() {
        let stored = &mut Stored::default();
        stored.put(&record_key(b"a"), Bytes::from_static(b"\xff"));
        assert!(matches!(
            apply(stored, Command::single(vec![], put("a", "1")).encode()),
            Err(StateError::Corrupt(_))
        ));
    }

    proptest! {
        #[test]
        fn it_does_what_the_naive_model_does(commands in prop::collection::vec(command(), 1..40)) {
            let (mut stored, mut model) = (Stored::default(), Model::default());
            for command in commands {
                let answer = apply(&mut stored, command.encode()).unwrap();
                prop_assert_eq!(answer, model.apply(&command));
                let all = stored.view(|view| view.page(&PageQuery { limit: usize::MAX, bytes: usize::MAX, ..PageQuery::default() }));
                prop_assert_eq!(all.revision, model.revision);
                let all: Vec<_> = all.entries.into_iter().map(|entry| (entry.key, entry.record)).collect();
                prop_assert_eq!(all, model.records.clone().into_iter().collect::<Vec<_>>());
            }
        }

        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(apply(&mut Stored::default(), bytes.into()).is_ok());
        }
    }
}
