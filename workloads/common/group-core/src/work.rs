//! Work on disk that a group asks for, and what comes of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use quorate_raft::{Entry, Index, MemberId, SnapshotMeta, Term};

use crate::types::{Outcome, SnapshotFile};

/// Which queue a task belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// One at a time, in order: whatever changes the group's state.
    State,
    /// At any time beside the others.
    File,
}

/// Work on disk that a group asks for.
#[derive(Debug)]
pub enum Task {
    /// Apply committed entries to the state.
    Apply(Vec<Entry>),
    /// Make everything applied so far durable.
    Flush {
        /// The index that is applied already.
        applied: Index,
    },
    /// Write a snapshot file of the state as it is now.
    TakeSnapshot,
    /// Read a piece of a snapshot file.
    ReadChunk {
        /// The file.
        snapshot: Arc<SnapshotFile>,
        /// Who it is for.
        to: MemberId,
        /// From where.
        offset: u64,
        /// How much at most.
        len: usize,
    },
    /// Open (or go on with) the part file of a snapshot that a leader offers.
    OpenPart {
        /// Who offers.
        from: MemberId,
        /// What.
        snapshot: SnapshotFile,
    },
    /// Write a piece into the part file.
    WritePart {
        /// What is being received.
        snapshot: SnapshotFile,
        /// Where the piece belongs.
        offset: u64,
        /// The piece.
        data: Bytes,
    },
    /// Verify a complete part file and make it this group's state, durably.
    Install {
        /// What was received.
        snapshot: SnapshotFile,
    },
    /// Remove a snapshot file that nobody needs.
    RemoveSnapshot(Arc<SnapshotFile>),
    /// Note durably that this identity was removed: the next start sets its data aside.
    StandAside,
    /// The same of damaged data, which may fill so much of the disk that none is left for a new member's.
    SetAside,
}

impl Task {
    /// Which queue of the group it belongs to.
    pub fn lane(&self) -> Lane {
        match self {
            Task::Apply(_) | Task::Flush { .. } | Task::Install { .. } => Lane::State,
            _ => Lane::File,
        }
    }

    /// What it is, for [`TaskResult::Failed`] and for metrics.
    pub fn kind(&self) -> TaskKind {
        match self {
            Task::Apply(_) => TaskKind::Apply,
            Task::Flush { .. } => TaskKind::Flush,
            Task::TakeSnapshot => TaskKind::TakeSnapshot,
            Task::ReadChunk { to, .. } => TaskKind::ReadChunk(*to),
            Task::OpenPart { .. } => TaskKind::OpenPart,
            Task::WritePart { .. } => TaskKind::WritePart,
            Task::Install { .. } => TaskKind::Install,
            Task::RemoveSnapshot(_) => TaskKind::RemoveSnapshot,
            Task::StandAside => TaskKind::StandAside,
            Task::SetAside => TaskKind::SetAside,
        }
    }
}

/// Which [`Task`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskKind {
    /// [`Task::Apply`].
    Apply,
    /// [`Task::Flush`].
    Flush,
    /// [`Task::TakeSnapshot`].
    TakeSnapshot,
    /// [`Task::ReadChunk`], for this member.
    ReadChunk(MemberId),
    /// [`Task::OpenPart`].
    OpenPart,
    /// [`Task::WritePart`].
    WritePart,
    /// [`Task::Install`].
    Install,
    /// [`Task::RemoveSnapshot`].
    RemoveSnapshot,
    /// [`Task::StandAside`].
    StandAside,
    /// [`Task::SetAside`].
    SetAside,
}

/// What came of a [`Task`].
#[derive(Debug)]
pub enum TaskResult {
    /// Entries up to `index` are in the state (not necessarily durable).
    Applied {
        /// The last of them.
        index: Index,
        /// Place, term and outcome of each command among them.
        outcomes: Vec<(Index, Term, Outcome)>,
    },
    /// Everything up to `applied` is durable in the state.
    Flushed {
        /// As asked.
        applied: Index,
    },
    /// A snapshot file was written.
    SnapshotTaken(SnapshotFile),
    /// A piece was read.
    ChunkRead {
        /// Who it is for.
        to: MemberId,
        /// The file.
        snapshot: Arc<SnapshotFile>,
        /// From where.
        offset: u64,
        /// The piece.
        data: Bytes,
    },
    /// The part file is open: go on at `have`.
    PartOpened {
        /// Who offers.
        from: MemberId,
        /// What.
        snapshot: SnapshotFile,
        /// How much is there already.
        have: u64,
    },
    /// A piece was written: go on at `have`.
    PartWritten {
        /// What is being received.
        snapshot: SnapshotFile,
        /// How much is there now.
        have: u64,
    },
    /// The state is that of the snapshot, durably.
    Installed {
        /// Where it stands.
        meta: SnapshotMeta,
        /// The identities that were removed from the group until then.
        removed: BTreeSet<MemberId>,
    },
    /// A received snapshot failed verification: it was thrown away, the old state stands.
    BadSnapshot {
        /// What failed.
        snapshot: SnapshotFile,
        /// How.
        why: String,
    },
    /// The file was removed.
    Removed,
    /// The removal of this identity is noted.
    StoodAside,
    /// The damaged data stays where it is, and why.
    NotSetAside(String),
    /// A file could not be read or written (disk full, say): it is asked for again later.
    Failed {
        /// Which task.
        task: TaskKind,
        /// What failed.
        why: String,
    },
    /// The state cannot be trusted any more: the member must not go on, and is to be replaced.
    Fatal(String),
    /// The disk refused what the state cannot do without (it is full, say), which tells nothing of what is on it: the
    /// process must end, and a new one sees.
    Unusable(String),
}
