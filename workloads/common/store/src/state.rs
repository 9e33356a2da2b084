//! The state store: an ordered map of bytes with atomic batches. One map for the simulator, RocksDB for the
//! binary, one conformance suite for both.

use bytes::Bytes;

/// An atomic batch of writes, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// What it does.
    pub writes: Vec<BatchWrite>,
}

/// One write of a [`Batch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchWrite {
    /// Sets a key.
    Put(Bytes, Bytes),
    /// Removes a key.
    Delete(Bytes),
    /// Removes all keys from the first (inclusive) to the second (exclusive).
    DeleteRange(Bytes, Bytes),
}

/// The store could not do what was asked; the process must not go on as if it had.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The disk refused.
    #[error("state store: {0}")]
    Io(#[from] std::io::Error),
    /// What is on the disk cannot be trusted.
    #[error("state store is damaged: {0}")]
    Corrupt(String),
}

/// Something to read from: the store itself, or a frozen view of it.
pub trait Read: Send {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StateError>;
    /// Pairs in order from `start` (inclusive) to `end` (exclusive), until `visit` answers false.
    fn scan(
        &self,
        start: &[u8],
        end: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StateError>;
}

/// The store. Batches become visible at once and durable no later than the next [`StateStore::flush`]; a crash
/// keeps a prefix of the batches: all that were flushed, and perhaps some after them, none in part.
pub trait StateStore: Read + Sync {
    /// Applies a batch atomically.
    fn write(&self, batch: Batch) -> Result<(), StateError>;
    /// Makes all earlier batches durable.
    fn flush(&self) -> Result<(), StateError>;
    /// A view that later writes do not change.
    fn view(&self) -> Result<Box<dyn Read>, StateError>;
}
