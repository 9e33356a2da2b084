//! What a workload adds to a group: its state machine.

use bytes::Bytes;
use quorate_store::StateError;

use crate::keys::{self, Space};
use crate::overlay::Overlay;
use crate::types::GroupId;

/// A replicated state machine. Deterministic in the command alone: no clock, no randomness, no other state than
/// the transaction's.
pub trait StateMachine: Send + Sync + 'static {
    /// Applies one command and answers it. The answer is kept for the session's retry, so keep it small.
    /// `index` is the command's place in the log. An undecodable command must be answered, not panicked on.
    fn apply(&self, txn: &mut Txn<'_, '_>, index: u64, command: Bytes)
    -> Result<Bytes, StateError>;
}

/// The machine's own part of the group's state, reading its own writes. Everything written through it lands in
/// one atomic batch with the sessions, the configuration and the applied index. Keys are the machine's own: the
/// group's prefix ([`machine_prefix`]) is put before them here.
pub struct Txn<'a, 'b> {
    group: GroupId,
    overlay: &'a mut Overlay<'b>,
}

impl<'a, 'b> Txn<'a, 'b> {
    pub(crate) fn new(group: GroupId, overlay: &'a mut Overlay<'b>) -> Self {
        Self { group, overlay }
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        self.overlay.get(&self.key(key))
    }

    /// Sets a key.
    pub fn put(&mut self, key: &[u8], value: Bytes) {
        self.overlay.put(self.key(key), value);
    }

    /// Removes a key.
    pub fn delete(&mut self, key: &[u8]) {
        self.overlay.delete(self.key(key));
    }

    /// Pairs in order from `start` (inclusive) to `end` (exclusive; `None`: to the last), until `visit` answers
    /// false.
    pub fn scan(
        &self,
        start: &[u8],
        end: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StateError> {
        let prefix = machine_prefix(self.group);
        let end = match end {
            Some(end) => self.key(end),
            None => Bytes::copy_from_slice(&keys::end(self.group, Space::Machine)),
        };
        self.overlay
            .scan(&self.key(start), &end, &mut |key, value| {
                visit(&key[prefix.len()..], value)
            })
    }

    fn key(&self, key: &[u8]) -> Bytes {
        keys::key(self.group, Space::Machine, key)
    }
}

/// The prefix of a group's machine keys: workloads read with it (a `scan` from the prefix on), outside of apply.
pub fn machine_prefix(group: GroupId) -> [u8; 9] {
    keys::prefix(group, Space::Machine)
}
