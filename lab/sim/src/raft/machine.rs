//! The members' state machine: the RaftCluster's own, with a note of every command that it was given.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use quorate_group_core::{StateMachine, Txn};
use quorate_raft::Index;
use quorate_raft_cluster_core::KeyValue;
use quorate_store::StateError;

/// A command that a member's machine was given, and its answer.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The command's place in the log.
    pub index: Index,
    /// The command.
    pub command: Bytes,
    /// The answer.
    pub answer: Bytes,
}

/// [`KeyValue`] that takes notes; its clones share them.
#[derive(Clone, Debug, Default)]
pub struct NotedMachine {
    notes: Arc<Mutex<Vec<Applied>>>,
}

impl NotedMachine {
    /// What it was given since the last call.
    pub fn take(&self) -> Vec<Applied> {
        std::mem::take(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl StateMachine for NotedMachine {
    fn apply(
        &self,
        txn: &mut Txn<'_, '_>,
        index: u64,
        command: Bytes,
    ) -> Result<Bytes, StateError> {
        let answer = KeyValue.apply(txn, index, command.clone())?;
        let applied = Applied {
            index,
            command,
            answer: answer.clone(),
        };
        self.notes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(applied);
        Ok(answer)
    }
}
