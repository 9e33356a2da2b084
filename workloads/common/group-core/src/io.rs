//! What goes into a node (all groups of one process) and what comes out of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use quorate_raft::{Change, Contact, Entry, Index, MemberId, SnapshotMeta, Term, Ticket, WriteId};

use crate::message::PeerMessage;
use crate::record::Record;

/// The number of a group inside its cluster.
pub type GroupId = u64;

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// Time has passed (at the latest when `Node::deadline` says so).
    Tick,
    /// A message came from a member whose identity the transport has verified.
    Peer {
        /// Who sent it.
        from: MemberId,
        /// Where the sender says it is, so that a member which knows no configuration yet can answer.
        contact: Contact,
        /// What it says.
        message: PeerMessage,
    },
    /// The transport lost its connection to a member, or could not make one: what was sent may or may not have come.
    Unreachable(MemberId),
    /// These [`Effect::Log`]s are durable: what [`crate::LogWriter::sync`] answers.
    Written(Durable),
    /// A task is done.
    Done {
        /// The group that asked.
        group: GroupId,
        /// What came of it.
        result: TaskResult,
    },
    /// A client's (or an administrator's) request.
    Request {
        /// The caller's mark; the answer carries it. Unique in the process.
        ticket: Ticket,
        /// The group.
        group: GroupId,
        /// What is asked.
        request: Request,
    },
    /// Free space fell below the reserve, or is back: client writes are refused meanwhile.
    ReadOnly(bool),
    /// A reader of the state found that it fails its checksums.
    Damaged(String),
}

/// What one fsync made durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Durable {
    /// Number of each write and the segment of the log that holds it, in order.
    pub writes: Vec<(WriteId, u64)>,
}

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
    /// A stale read may be served. `sent` is the time (the node's own `now`) at which this member sent its latest
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

/// What is to be done, in this order.
#[derive(Debug)]
pub enum Effect {
    /// Append these records to the process's one log and make them durable; all `Log` effects of a round share
    /// one write and one fsync. Answered by [`Input::Written`].
    Log {
        /// Its number: consecutive over all groups.
        id: WriteId,
        /// What to append.
        records: Vec<Record>,
    },
    /// Send to a member, but not before the write `after` is durable.
    Send {
        /// The receiver.
        to: MemberId,
        /// Where it is.
        contact: Contact,
        /// What to send.
        message: PeerMessage,
        /// The write that must be durable first.
        after: Option<WriteId>,
    },
    /// Run this; answered by [`Input::Done`]. Tasks of a group's [`Lane::State`] run one at a time in order.
    Task {
        /// The group.
        group: GroupId,
        /// What to run, with [`crate::run`].
        task: Task,
    },
    /// The answer to a request.
    Reply {
        /// The caller's mark.
        ticket: Ticket,
        /// The answer.
        reply: Reply,
    },
    /// All segments of the log below this one may go: [`crate::LogWriter::drop_below`].
    DropSegments {
        /// The first to keep.
        below: u64,
    },
    /// Role, term, leader, configuration or state changed: status and metrics should be read again.
    Changed,
}

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
