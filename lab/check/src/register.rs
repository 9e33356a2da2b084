//! A key-value history as independent registers: reads, writes of unique values, deletes.

use std::collections::{BTreeMap, HashSet};

use quorate_history::{Action, Operation, Outcome};

use crate::wgl::{Call, Limits, Model, Verdict, check};

/// One register; `None` is the missing key.
struct Register;

impl Model for Register {
    type State = Option<u32>;
    type Input = RegisterInput;
    type Output = Option<u32>;

    fn init(&self) -> Self::State {
        None
    }

    fn step(
        &self,
        state: &Self::State,
        input: &Self::Input,
        output: Option<&Self::Output>,
    ) -> Option<Self::State> {
        match input {
            RegisterInput::Write(value) => Some(*value),
            RegisterInput::Read => match output {
                Some(read) if read != state => None,
                _ => Some(*state),
            },
        }
    }
}

enum RegisterInput {
    Read,
    Write(Option<u32>),
}

/// What was found of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyVerdict {
    /// The key.
    pub key: String,
    /// Its verdict; indices point into `operations`.
    pub verdict: Verdict,
    /// The key's operations that were judged.
    pub operations: Vec<Operation>,
}

/// What was found of a history.
#[derive(Clone, Debug, Default)]
pub struct RegisterReport {
    /// Operations judged.
    pub operations: usize,
    /// Keys judged.
    pub keys: usize,
    /// The keys that are not linearizable, or for which the search gave up.
    pub bad: Vec<KeyVerdict>,
}

impl RegisterReport {
    /// Whether every key was found linearizable.
    pub fn is_linearizable(&self) -> bool {
        self.bad.is_empty()
    }

    /// The report in words, for a test's message.
    pub fn explain(&self) -> String {
        let mut text = format!("{} operations on {} keys: ", self.operations, self.keys);
        if self.bad.is_empty() {
            return text + "linearizable";
        }
        text += &format!("{} keys are not linearizable or undecided", self.bad.len());
        for bad in self.bad.iter().take(3) {
            text += &match &bad.verdict {
                Verdict::Violation {
                    explained,
                    unexplained,
                } => {
                    let last: Vec<_> = explained
                        .iter()
                        .rev()
                        .take(4)
                        .rev()
                        .map(|i| &bad.operations[*i])
                        .collect();
                    format!(
                        "\nkey {}: after {last:#?}\nnothing explains {:#?}",
                        bad.key, bad.operations[*unexplained]
                    )
                }
                _ => format!(
                    "\nkey {}: gave up on {} operations",
                    bad.key,
                    bad.operations.len()
                ),
            };
        }
        text
    }
}

/// Judges every key of a history by itself (linearizability is local: Herlihy and Wing 1990, theorem 1).
pub fn check_registers(history: &[Operation], limits: Limits) -> RegisterReport {
    let mut by_key: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for operation in history {
        by_key.entry(&operation.key).or_default().push(operation);
    }
    let mut report = RegisterReport::default();
    for (key, operations) in by_key {
        let operations = relevant(&operations);
        report.keys += 1;
        report.operations += operations.len();
        let verdict = check(&Register, &calls(&operations), limits);
        if !matches!(verdict, Verdict::Linearizable(_)) {
            report.bad.push(KeyVerdict {
                key: key.to_owned(),
                verdict,
                operations,
            });
        }
    }
    report
}

/// Leaves out what cannot matter: refused operations, reads without an answer, and writes of unknown outcome whose
/// value nobody read. (Whatever order explains the history with such a write explains it without, since values are
/// unique; each one kept would double the search.)
fn relevant(operations: &[&Operation]) -> Vec<Operation> {
    let read: HashSet<&str> = operations
        .iter()
        .filter_map(|o| match (&o.action, &o.outcome) {
            (Action::Read, Outcome::Done(Some(value))) => Some(value.as_str()),
            _ => None,
        })
        .collect();
    let matters = |o: &&&Operation| match (&o.outcome, &o.action) {
        (Outcome::Done(_), _) => true,
        (Outcome::Refused, _) | (Outcome::Unknown, Action::Read) => false,
        (Outcome::Unknown, Action::Write(value)) => read.contains(value.as_str()),
        (Outcome::Unknown, Action::Delete) => true,
    };
    operations
        .iter()
        .filter(matters)
        .map(|o| (*o).clone())
        .collect()
}

fn calls(operations: &[Operation]) -> Vec<Call<RegisterInput, Option<u32>>> {
    let mut numbers: BTreeMap<&str, u32> = BTreeMap::new();
    let mut calls = Vec::with_capacity(operations.len());
    for operation in operations {
        let mut number = |value| {
            let next = numbers.len() as u32;
            *numbers.entry(value).or_insert(next)
        };
        let input = match &operation.action {
            Action::Read => RegisterInput::Read,
            Action::Write(value) => RegisterInput::Write(Some(number(value.as_str()))),
            Action::Delete => RegisterInput::Write(None),
        };
        let output = match &operation.outcome {
            Outcome::Done(value) => Some(value.as_deref().map(number)),
            Outcome::Refused | Outcome::Unknown => None,
        };
        calls.push(Call {
            invoked: operation.invoked,
            returned: operation.returned,
            input,
            output,
        });
    }
    calls
}

/// The same history with one read made stale, which a checker must reject: a read that began after an acknowledged
/// write of another value is given the value from before. `None` if the history has no such read.
pub fn make_one_read_stale(history: &[Operation]) -> Option<Vec<Operation>> {
    for (i, read) in history.iter().enumerate() {
        let (Action::Read, Outcome::Done(Some(seen))) = (&read.action, &read.outcome) else {
            continue;
        };
        let acknowledged = |o: &&Operation| {
            o.key == read.key && matches!(o.outcome, Outcome::Done(_)) && o.returned < read.invoked
        };
        let Some(newer) = history
            .iter()
            .filter(acknowledged)
            .find(|o| matches!(&o.action, Action::Write(value) if value == seen))
        else {
            continue;
        };
        let older = history
            .iter()
            .filter(acknowledged)
            .filter(|o| o.returned < newer.invoked)
            .find_map(|o| match &o.action {
                Action::Write(value) if value != seen => Some(value.clone()),
                _ => None,
            });
        if let Some(older) = older {
            let mut stale = history.to_vec();
            stale[i].outcome = Outcome::Done(Some(older));
            return Some(stale);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(
        client: u64,
        action: Action,
        invoked: u64,
        returned: u64,
        outcome: Outcome,
    ) -> Operation {
        Operation {
            client,
            key: "k".into(),
            action,
            invoked,
            returned,
            outcome,
            member: None,
        }
    }

    fn write(value: &str, invoked: u64, returned: u64) -> Operation {
        operation(
            0,
            Action::Write(value.into()),
            invoked,
            returned,
            Outcome::Done(None),
        )
    }

    fn read(value: Option<&str>, invoked: u64, returned: u64) -> Operation {
        operation(
            1,
            Action::Read,
            invoked,
            returned,
            Outcome::Done(value.map(str::to_owned)),
        )
    }

    fn verdict(history: &[Operation]) -> bool {
        check_registers(history, Limits::default()).is_linearizable()
    }

    #[test]
    fn a_read_sees_the_last_write_or_a_concurrent_one() {
        assert!(verdict(&[write("a", 0, 10), read(Some("a"), 11, 12)]));
        assert!(verdict(&[write("a", 0, 10), read(None, 5, 6)]));
        assert!(!verdict(&[write("a", 0, 10), read(None, 11, 12)]));
        assert!(!verdict(&[
            write("a", 0, 10),
            write("b", 11, 12),
            read(Some("a"), 13, 14)
        ]));
    }

    #[test]
    fn reads_do_not_go_back() {
        let history = [
            write("a", 0, 1),
            write("b", 2, 20),
            read(Some("b"), 3, 4),
            read(Some("a"), 5, 6),
        ];
        assert!(!verdict(&history));
    }

    #[test]
    fn an_unknown_write_may_happen_late_or_never() {
        let unknown = operation(2, Action::Write("u".into()), 0, 5, Outcome::Unknown);
        assert!(verdict(&[
            unknown.clone(),
            write("a", 6, 7),
            read(Some("a"), 8, 9)
        ]));
        assert!(verdict(&[
            unknown.clone(),
            write("a", 6, 7),
            read(Some("a"), 8, 9),
            read(Some("u"), 10, 11)
        ]));
        assert!(!verdict(&[
            read(Some("u"), 0, 1),
            operation(2, Action::Write("u".into()), 2, 5, Outcome::Unknown)
        ]));
        let twice = [
            unknown,
            read(Some("u"), 6, 7),
            write("a", 8, 9),
            read(Some("u"), 10, 11),
        ];
        assert!(!verdict(&twice), "it takes effect once");
    }

    #[test]
    fn a_refused_write_never_happened() {
        let refused = operation(2, Action::Write("r".into()), 0, 5, Outcome::Refused);
        assert!(!verdict(&[refused, read(Some("r"), 6, 7)]));
    }

    #[test]
    fn a_delete_leaves_nothing() {
        let gone = operation(0, Action::Delete, 2, 3, Outcome::Done(None));
        assert!(verdict(&[write("a", 0, 1), gone.clone(), read(None, 4, 5)]));
        assert!(!verdict(&[write("a", 0, 1), gone, read(Some("a"), 4, 5)]));
    }

    #[test]
    fn one_stale_read_is_found() {
        let good = [write("a", 0, 1), write("b", 2, 3), read(Some("b"), 4, 5)];
        assert!(verdict(&good));
        let stale = make_one_read_stale(&good).unwrap();
        assert!(!verdict(&stale));
        assert!(make_one_read_stale(&good[..2]).is_none());
    }
}
