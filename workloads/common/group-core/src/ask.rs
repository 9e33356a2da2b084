//! What clients and administrators ask, and what they are answered.

use bytes::Bytes;
use quorate_raft::{Change, Index, MemberId};

use crate::types::{GroupId, Outcome};

/// What a client or an administrator asks. Every request gets exactly one [`Reply`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Applies a command once, wherever the leader is. Answered by `Outcome`, `Refused` or `Unknown`.
    Write(Write),
    /// Opens a session. Answered by `Outcome(Outcome::Opened)`, `Refused` or `Unknown`.
    OpenSession {
        /// How long it lives after its last write.
        lifetime_ms: u64,
    },
    /// Closes a session.
    CloseSession {
        /// Its id.
        session: u64,
    },
    /// A linearizable read may be served from this member's state when `Reply::Ready` comes.
    Read,
    /// Whether, and how stale, this member's state may be read now.
    StaleRead,
    /// Makes a group of this one member. Idempotent.
    Bootstrap {
        /// The identity that must be on the disk.
        incarnation: MemberId,
    },
    /// Changes the configuration. Answered when the change is applied here.
    Change {
        /// The configuration index that it was decided on.
        expected: Index,
        /// The change.
        change: Change,
    },
    /// Hands leadership over. Answered when another leads or the time is over.
    Transfer {
        /// To whom.
        to: Option<MemberId>,
    },
    /// Makes the state durable, cuts the log and writes a snapshot file.
    Snapshot,
    /// Gives the data of a damaged member up: the next start sets it aside and draws another identity. Idempotent.
    SetAside {
        /// The identity that must be on the disk.
        incarnation: MemberId,
    },
}

/// A command with what makes its retry safe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The session and the number of this write in it.
    pub session: Option<(u64, u64)>,
    /// The command, opaque to everything but the state machine.
    pub command: Bytes,
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The command was applied; this is what came of it.
    Outcome {
        /// Its place in the log.
        index: Index,
        /// What came of it.
        outcome: Outcome,
    },
    /// A linearizable read may be served from the state now.
    Ready,
    /// A stale read may be served. `sent` is the time (the groups' own `now`) at which this member sent its latest
    /// ReadIndex request that was confirmed and whose index is applied here.
    Stale {
        /// `None`: no bound can be given.
        sent: Option<std::time::Duration>,
    },
    /// Done (bootstrap, change, snapshot).
    Done,
    /// Leadership was handed over (true), or the time ran out before the successor was told (false).
    Transferred(bool),
    /// It had no effect and will have none.
    Refused(Refused),
    /// It may or may not have had an effect, or may have one later.
    Unknown,
}

/// Why a request certainly has no effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No leader is known here, or the one asked does not lead.
    #[error("no leader can take it now")]
    NoLeader {
        /// Who may know more.
        hint: Option<MemberId>,
    },
    /// A queue is full.
    #[error("too much is waiting: {0}")]
    Busy(String),
    /// Too little free space on the disk of the member that would have to write.
    #[error("free space is below the reserve")]
    ReadOnly,
    /// The group is not here.
    #[error("this member has no group {0}")]
    NoGroup(GroupId),
    /// The disk already knows another identity or group than a bootstrap names.
    #[error("{0}")]
    Bootstrap(String),
    /// What is on this disk cannot be set aside, or must not.
    #[error("{0}")]
    SetAside(String),
    /// The identity to be added was removed before.
    #[error("{0} was removed from the group, and no identity is used twice")]
    Removed(MemberId),
    /// The member cannot be trusted any more, or was removed.
    #[error("{0}")]
    OutOfService(String),
    /// The consensus core refused (change, transfer).
    #[error("{0}")]
    Raft(#[from] quorate_raft::Refusal),
}
