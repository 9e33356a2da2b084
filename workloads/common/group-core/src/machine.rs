//! What a workload adds to a group: its state machine.

use bytes::Bytes;
use quorate_store::{Read, StateError};

use crate::GroupId;

/// A replicated state machine. Deterministic in the command alone: no clock, no randomness, no other state than
/// the transaction's.
pub trait StateMachine: Send + Sync + 'static {
    /// Applies one command and answers it. The answer is kept for the session's retry, so keep it small.
    /// `index` is the command's place in the log. An undecodable command must be answered, not panicked on.
    fn apply(&self, txn: &mut Txn<'_>, index: u64, command: &[u8]) -> Result<Bytes, StateError>;
}

/// The machine's own part of the group's state, reading its own writes. Everything written through it lands in
/// one atomic batch with the sessions, the configuration and the applied index.
pub struct Txn<'a> {
    pub(crate) group: GroupId,
    pub(crate) base: &'a dyn Read,
    pub(crate) overlay: &'a mut std::collections::BTreeMap<Bytes, Option<Bytes>>,
}

/// The prefix of a group's machine keys: workloads read with it (a `scan` from the prefix on), outside of apply.
pub fn machine_prefix(group: GroupId) -> [u8; 9] {
    crate::keys::prefix(group, crate::keys::Space::Machine)
}
