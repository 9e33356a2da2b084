//! The words that all of this crate shares.

use bytes::Bytes;
use quorate_raft::SnapshotMeta;

/// The number of a group inside its cluster.
pub type GroupId = u64;

/// A snapshot file on this member's disk (or on the sender's).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFile {
    /// What it covers.
    pub meta: SnapshotMeta,
    /// Its length in bytes.
    pub size: u64,
    /// The CRC-32 of all of it.
    pub crc: u32,
}

/// What came of an applied command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The state machine's answer: the first one, however often the write was retried.
    Answer(Bytes),
    /// A session was opened.
    Opened {
        /// Its id.
        session: u64,
        /// How long it lives after its last write.
        lifetime_ms: u64,
    },
    /// A session was closed.
    Closed,
    /// The session is unknown or has expired; nothing was applied.
    SessionGone,
    /// The number is lower than the session's last; nothing was applied.
    SequenceTooLow {
        /// The session's last number.
        last: u64,
    },
    /// The number was used for another request; nothing was applied.
    SequenceReused,
    /// The table of sessions is full; nothing was applied.
    SessionsFull,
}
