//! What goes into the groups of one process and what comes out of them.

use quorate_raft::{Contact, MemberId, Ticket, WriteId};

use crate::ask::{Reply, Request};
use crate::message::PeerMessage;
use crate::record::Record;
use crate::types::GroupId;
use crate::work::{Task, TaskResult};

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// Time has passed (at the latest when `Groups::deadline` says so).
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
