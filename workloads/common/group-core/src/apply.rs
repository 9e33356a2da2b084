//! Applying committed entries: everything that they change (the machine's keys, sessions, configuration, removed
//! identities, applied index) becomes one atomic batch, so that a crash leaves all of it or nothing.

use std::collections::BTreeSet;

use bytes::Bytes;
use quorate_raft::{Configuration, Entry, Index, MemberId, Payload, SnapshotMeta, Term};
use quorate_store::{Batch, BatchWrite, StateError, StateStore};

use crate::command::{Body, Command};
use crate::keys::{self, Space};
use crate::machine::{StateMachine, Txn};
use crate::meta::{Meta, damaged};
use crate::overlay::Overlay;
use crate::planted::planted;
use crate::sessions::{Sessions, Verdict};
use crate::types::GroupId;
use crate::types::Outcome;

/// What came of the entries.
pub(crate) struct Applied {
    pub index: Index,
    pub outcomes: Vec<(Index, Term, Outcome)>,
}

/// Applies entries that follow what is applied; what is applied already is passed over.
pub(crate) fn apply(
    store: &dyn StateStore,
    machine: &dyn StateMachine,
    group: GroupId,
    entries: Vec<Entry>,
) -> Result<Applied, StateError> {
    let mut meta = Meta::read(store, group)?;
    let mut overlay = Overlay::new(store);
    let mut outcomes = Vec::new();
    for entry in entries {
        if entry.index <= meta.applied.index {
            continue;
        }
        if entry.index != meta.applied.index + 1 {
            let why = format!(
                "entry {} is to be applied, but the state stands at {}",
                entry.index, meta.applied.index
            );
            return Err(damaged(group, why));
        }
        let (index, term) = (entry.index, entry.term);
        if term != meta.applied.term {
            meta.term_began_ms = meta.clock_ms;
        }
        let mut one = One {
            group,
            machine,
            meta: &mut meta,
            overlay: &mut overlay,
        };
        if let Some(outcome) = one.apply(entry)? {
            outcomes.push((index, term, outcome));
        }
        meta.applied.index = index;
        meta.applied.term = term;
    }
    let mut batch = overlay.into_batch();
    let place = BatchWrite::Put(keys::key(group, Space::Meta, keys::META), meta.encode());
    if planted!(AppliedIndexNotAtomic) {
        store.write(batch)?;
        batch = Batch::default();
    }
    batch.writes.push(place);
    store.write(batch)?;
    Ok(Applied {
        index: meta.applied.index,
        outcomes,
    })
}

/// The identities that belong to `old` and no more to `new`.
pub(crate) fn leavers(old: &Configuration, new: &Configuration) -> BTreeSet<MemberId> {
    let members = |configuration: &Configuration| -> BTreeSet<MemberId> {
        let Configuration {
            voters,
            outgoing,
            learners,
            ..
        } = configuration;
        voters
            .iter()
            .chain(outgoing)
            .chain(learners)
            .copied()
            .collect()
    };
    &members(old) - &members(new)
}

struct One<'t, 'b> {
    group: GroupId,
    machine: &'t dyn StateMachine,
    meta: &'t mut Meta,
    overlay: &'t mut Overlay<'b>,
}

impl One<'_, '_> {
    fn apply(&mut self, entry: Entry) -> Result<Option<Outcome>, StateError> {
        match entry.payload {
            Payload::Empty => Ok(None),
            Payload::Configuration(configuration) => {
                self.configure(entry.index, configuration);
                Ok(None)
            }
            Payload::Command(bytes) => {
                // Every member decodes alike, except one of an older version: it must stop rather than pass over.
                let command = Command::decode(bytes).map_err(|error| damaged(self.group, error))?;
                Ok(Some(self.command(entry.index, command)?))
            }
        }
    }

    fn configure(&mut self, index: Index, configuration: Configuration) {
        for id in leavers(&self.meta.applied.configuration, &configuration) {
            let key = keys::number(self.group, Space::Removed, id.0);
            self.overlay.put(key, index.to_be_bytes().to_vec().into());
        }
        let SnapshotMeta {
            configuration: current,
            configuration_index,
            ..
        } = &mut self.meta.applied;
        *current = configuration;
        *configuration_index = index;
    }

    fn command(&mut self, index: Index, command: Command) -> Result<Outcome, StateError> {
        let mut sessions = Sessions {
            group: self.group,
            meta: self.meta,
            overlay: self.overlay,
        };
        sessions.advance(command.led_ms)?;
        match command.body {
            Body::Open {
                lifetime_ms,
                max_sessions,
            } => Ok(sessions.open(index, lifetime_ms, max_sessions)),
            Body::Close { session } => sessions.close(session),
            Body::Write {
                session: None,
                command,
            } => self.machine(index, command),
            Body::Write {
                session: Some(write),
                command,
            } => {
                let session = match sessions.judge(&write)? {
                    Verdict::Answered(outcome) => return Ok(outcome),
                    Verdict::Apply(session) => session,
                };
                let outcome = self.machine(index, command)?;
                let mut sessions = Sessions {
                    group: self.group,
                    meta: self.meta,
                    overlay: self.overlay,
                };
                sessions.keep(&write, session, &outcome);
                Ok(outcome)
            }
        }
    }

    fn machine(&mut self, index: Index, command: Bytes) -> Result<Outcome, StateError> {
        let mut txn = Txn::new(self.group, self.overlay);
        Ok(Outcome::Answer(
            self.machine.apply(&mut txn, index, command)?,
        ))
    }
}
