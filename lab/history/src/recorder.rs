//! Collects what many clients did, on one clock.

use std::sync::Mutex;
use std::time::Instant;

use crate::{Action, Operation, Outcome};

/// A recorder shared by all clients of a run.
#[derive(Debug)]
pub struct Recorder {
    origin: Instant,
    operations: Mutex<Vec<Operation>>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            origin: Instant::now(),
            operations: Mutex::new(Vec::new()),
        }
    }
}

impl Recorder {
    /// Microseconds since the recorder was made.
    pub fn now(&self) -> u64 {
        self.origin.elapsed().as_micros() as u64
    }

    /// Takes one operation down that was invoked at `invoked` and has just returned.
    pub fn record(
        &self,
        client: u64,
        member: Option<String>,
        key: &str,
        action: Action,
        invoked: u64,
        outcome: Outcome,
    ) {
        let returned = self.now();
        let operation = Operation {
            client,
            key: key.to_owned(),
            action,
            invoked,
            returned,
            outcome,
            member,
        };
        self.operations
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .push(operation);
    }

    /// All that was recorded so far.
    pub fn operations(&self) -> Vec<Operation> {
        self.operations
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .clone()
    }

    /// How many operations with a known, good outcome returned within `[from, to]`, and how many of them were writes.
    pub fn acknowledged(&self, from: u64, to: u64) -> (usize, usize) {
        let operations = self
            .operations
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let within = |o: &&Operation| {
            matches!(o.outcome, Outcome::Done(_)) && (from..=to).contains(&o.returned)
        };
        let acknowledged = || operations.iter().filter(within);
        let writes = acknowledged().filter(|o| o.action != Action::Read);
        (acknowledged().count(), writes.count())
    }

    /// The longest time within `[from, to]` in which no write was acknowledged, in microseconds.
    pub fn longest_without_writes(&self, from: u64, to: u64) -> u64 {
        let operations = self
            .operations
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut acknowledged: Vec<u64> = operations
            .iter()
            .filter(|o| o.action != Action::Read && matches!(o.outcome, Outcome::Done(_)))
            .map(|o| o.returned)
            .filter(|t| (from..=to).contains(t))
            .collect();
        acknowledged.sort_unstable();
        let mut last = from;
        let mut longest = 0;
        for t in acknowledged.into_iter().chain([to]) {
            longest = longest.max(t - last);
            last = t;
        }
        longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_measured_from_edge_to_edge() {
        let recorder = Recorder::default();
        for returned in [10, 40] {
            let mut all = recorder.operations.lock().unwrap();
            all.push(Operation {
                client: 0,
                key: "k".into(),
                action: Action::Write(returned.to_string()),
                invoked: 0,
                returned,
                outcome: Outcome::Done(None),
                member: None,
            });
        }
        assert_eq!(recorder.longest_without_writes(0, 50), 30);
        assert_eq!(recorder.longest_without_writes(0, 100), 60);
        assert_eq!(recorder.longest_without_writes(20, 30), 10);
        assert_eq!(recorder.acknowledged(0, 39), (1, 1));
    }
}
