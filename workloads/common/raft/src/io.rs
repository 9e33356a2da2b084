//! What goes into the core and what comes out of it.

use crate::types::*;

/// What happened. Every input comes with the time at which it is taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Time has passed (at the latest when [`crate::Raft::deadline`] says so).
    Tick,
    /// A message came from a member.
    Receive {
        /// Who sent it; the transport has verified that.
        from: MemberId,
        /// What it says.
        message: Message,
    },
    /// Every write up to and including this one is durable.
    Written(WriteId),
    /// A member asks to append a command. Answered by [`Effect::Proposed`] or [`Effect::Refused`].
    Propose {
        /// The caller's mark.
        ticket: Ticket,
        /// The command.
        command: bytes::Bytes,
    },
    /// Asks for an index at which a read is linearizable; a follower asks its leader.
    /// Answered by [`Effect::Read`] or [`Effect::Refused`].
    Read {
        /// The caller's mark.
        ticket: Ticket,
    },
    /// Asks for a change of the configuration. Answered by [`Effect::Proposed`] or [`Effect::Refused`].
    Change {
        /// The caller's mark.
        ticket: Ticket,
        /// The configuration index that it was decided on.
        expected: Index,
        /// The change.
        change: Change,
    },
    /// Asks to hand leadership over; without a name to the most caught-up voter.
    /// Answered by [`Effect::Transferred`] or [`Effect::Refused`].
    Transfer {
        /// The caller's mark.
        ticket: Ticket,
        /// To whom.
        to: Option<MemberId>,
    },
    /// The state machine has applied everything up to this index.
    Applied(Index),
    /// The log up to this index is no longer needed (state at or beyond it is durable).
    Compact(Index),
    /// A snapshot that [`Effect::NeedSnapshot`] asked for has been installed by `to` at `index`, or has failed.
    SnapshotDone {
        /// The receiver.
        to: MemberId,
        /// `Some(index)` when it is installed there.
        index: Option<Index>,
    },
    /// This member's state now is that of a snapshot (durably). The log before it goes; what follows it stays
    /// when the entry at the snapshot's index has the snapshot's term.
    /// The shell asks [`crate::Raft::wants_snapshot`] first; entries may be handed out while it installs, so its
    /// state skips those at or below the index it has, and never goes back.
    Installed(SnapshotMeta),
    /// The transport lost its connection to a member, or messages to it: probe instead of pipelining.
    Unreachable(MemberId),
}

/// A change of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Adds a learner. Takes one entry: nobody's vote changes.
    AddLearner(MemberId, Contact),
    /// Sets the voters through a joint configuration: the leader leaves it by itself as soon as it is committed.
    /// `promote` are learners that become voters, `remove` are voters or learners that leave.
    Reconfigure {
        /// Learners to make voters; each must have caught up.
        promote: std::collections::BTreeSet<MemberId>,
        /// Members to remove.
        remove: std::collections::BTreeSet<MemberId>,
    },
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Make durable. Writes are numbered and become durable in order; several may be under way at once.
    Write(Write),
    /// Send, but not before the write `after` is durable. The leader's own appends carry `None`: its disk and
    /// the network run in parallel (thesis, section 10.2.1).
    Send {
        /// The receiver.
        to: MemberId,
        /// What to send.
        message: Message,
        /// The write that must be durable first: a vote or an acknowledgement rests on it.
        after: Option<WriteId>,
    },
    /// These entries are committed: apply them, in order, each exactly once.
    Apply(Vec<Entry>),
    /// The command or change of this ticket is in the log here; whether it will be applied is known when
    /// an entry of that index is.
    Proposed {
        /// The caller's mark.
        ticket: Ticket,
        /// Its place.
        index: Index,
        /// Its term.
        term: Term,
    },
    /// The read of this ticket is linearizable once `index` is applied.
    Read {
        /// The caller's mark.
        ticket: Ticket,
        /// Serve once this is applied.
        index: Index,
    },
    /// The request of this ticket was not taken: it has had no effect, and will have none.
    Refused {
        /// The caller's mark.
        ticket: Ticket,
        /// Why.
        reason: Refusal,
    },
    /// The transfer of this ticket ended: another leads now, or the time is over.
    Transferred {
        /// The caller's mark.
        ticket: Ticket,
        /// What came of it.
        handover: Handover,
    },
    /// A member needs what the log no longer has: send it a snapshot at or beyond `at_least`, then answer with
    /// [`Input::SnapshotDone`].
    NeedSnapshot {
        /// The receiver.
        to: MemberId,
        /// The first index that the log still has, minus one.
        at_least: Index,
    },
    /// The entry at this index was acknowledged to the leader of this term, and is not here any more: the disk lost what
    /// others count on. This member must not go on.
    Forgot {
        /// Where the logs should agree, and do not.
        index: Index,
    },
    /// Role, term, leader or configuration changed; for status, metrics and waiting requests.
    Changed,
}

/// What came of a transfer of leadership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handover {
    /// Another leads.
    Done,
    /// The successor was never told to stand: it does not, because of this transfer.
    Failed,
    /// It was told to, and nobody knows whether it will: it may have yet to hear of it, or to win.
    Unknown,
}

/// Something to make durable. Parts that are absent stay as they were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Its number.
    pub id: WriteId,
    /// The vote, when it changed.
    pub vote: Option<Vote>,
    /// The log now begins after this snapshot (index, term); entries up to it, and when `drop_suffix` all
    /// entries, are gone.
    pub reset: Option<LogStart>,
    /// Entries to put at their index; whatever was at or after the first one is gone.
    pub entries: Vec<Entry>,
}

/// Where a log begins after a snapshot was installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogStart {
    /// The snapshot's index.
    pub index: Index,
    /// The snapshot's term.
    pub term: Term,
    /// True when nothing after it is kept either.
    pub drop_suffix: bool,
}

/// Why a request was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Somebody else leads, or nobody.
    #[error("this member does not lead (leader: {0:?})")]
    NotLeader(Option<MemberId>),
    /// Leadership is being handed over.
    #[error("leadership is being handed over")]
    Transferring,
    /// The log not yet committed holds as much as it may.
    #[error("{0} bytes are waiting to be committed; try again")]
    Busy(usize),
    /// A member (as a leader of this term) has not yet committed an entry of its term.
    #[error("the leader has not committed an entry of its term yet")]
    NotReady,
    /// Another configuration is in force.
    #[error("decided on configuration {expected}, but {actual} is in force")]
    Outdated {
        /// What the request said.
        expected: Index,
        /// What is in force.
        actual: Index,
    },
    /// The last change is not finished.
    #[error("the change of configuration at index {0} is not finished")]
    ChangeInProgress(Index),
    /// The member to promote, or to lead, lags.
    #[error(
        "{member} is at {matched}, {lag} entries behind the leader, or has not answered it for too long"
    )]
    Lagging {
        /// Who.
        member: MemberId,
        /// The highest index it is known to hold.
        matched: Index,
        /// How far that is from the leader's last.
        lag: u64,
    },
    /// Too few of the voters that would remain are known to be there and caught up.
    #[error("only {healthy} of the {voters} voters that would remain are there and caught up")]
    WouldLoseQuorum {
        /// The voters that would remain.
        voters: usize,
        /// Those of them that answer and have caught up.
        healthy: usize,
    },
    /// The member is not in the configuration, or not in the part that the request needs.
    #[error("{0} is not a member that this can be done to")]
    NoSuchMember(MemberId),
    /// Leadership goes to another voter than the leader, and none was named or is there.
    #[error("there is nobody to hand leadership to: it goes to another voter than the leader")]
    NoSuccessor,
    /// The identity is, or was, in the group: identities are never used twice.
    #[error("{0} is, or was, a member of this group: an identity is added once")]
    AlreadyMember(MemberId),
    /// The member to promote votes already.
    #[error("{0} is a voter already")]
    AlreadyVoter(MemberId),
}
