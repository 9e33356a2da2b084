//! The vocabulary of the protocol: entries, configurations, votes, messages.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use bytes::Bytes;

/// Time since an arbitrary origin, never going back; the caller's clock, never our own.
pub type Now = Duration;
/// A term; 0 before the first election.
pub type Term = u64;
/// A log index; the first entry is 1.
pub type Index = u64;

/// The identity of a member: drawn at random when its disk was first opened, never the ordinal, never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub u64);

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the log.
    pub index: Index,
    /// The term of the leader that made it.
    pub term: Term,
    /// What it holds.
    pub payload: Payload,
}

/// What an entry holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// A leader's first entry of its term (paper, section 8).
    Empty,
    /// A command of the state machine, opaque to consensus.
    Command(Bytes),
    /// A configuration, in force as soon as it is in the log (paper, section 6).
    Configuration(Configuration),
}

/// Who belongs to the group. Joint while `outgoing` is not empty: then a majority of `voters` and one of
/// `outgoing` must agree (paper, section 6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    /// The voters; the new half of a joint configuration.
    pub voters: BTreeSet<MemberId>,
    /// The old half of a joint configuration, else empty.
    pub outgoing: BTreeSet<MemberId>,
    /// Members that take entries and do not vote.
    pub learners: BTreeSet<MemberId>,
    /// Name and address of everyone above.
    pub contacts: BTreeMap<MemberId, Contact>,
}

/// How to find a member; consensus carries it and looks at nothing in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    /// The member's name (its pod's).
    pub name: String,
    /// A DNS name and a port; never an IP address.
    pub address: String,
}

/// A place in a log: an index and the term of the entry there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The index.
    pub index: Index,
    /// The term of the entry at it.
    pub term: Term,
}

/// What must never be forgotten (paper, figure 2): the term and whom this member voted for in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vote {
    /// The latest term this member has seen.
    pub term: Term,
    /// Its vote in that term.
    pub voted_for: Option<MemberId>,
}

/// Where a snapshot stands: everything up to `index` is in the state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotMeta {
    /// The last index it covers.
    pub index: Index,
    /// The term of the entry at that index.
    pub term: Term,
    /// The configuration in force at that index (the latest applied at or before it; joint too).
    pub configuration: Configuration,
    /// The index of the entry that holds `configuration`.
    pub configuration_index: Index,
}

/// Numbers the writes that a group asks for, in order, from 1.
pub type WriteId = u64;
/// The caller's mark on a request, handed back with the answer.
pub type Ticket = u64;

/// A protocol message. Every message carries the sender's term (in [`Message::term`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The sender's term; of a pre-vote request and of its grant, the term that the candidate would have.
    pub term: Term,
    /// What it says.
    pub body: Body,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Asks for a vote (paper, section 5.2); with `pre`, whether one would be given (thesis, section 9.6).
    RequestVote {
        /// A question only: nothing is recorded.
        pre: bool,
        /// The candidate's last index.
        last_index: Index,
        /// The term of the candidate's last entry.
        last_term: Term,
        /// Sent on the leader's own word (TimeoutNow): voters do not shield the leader (thesis, section 4.2.3).
        transfer: bool,
    },
    /// Answers it.
    VoteReply {
        /// As asked.
        pre: bool,
        /// Whether the vote is given.
        granted: bool,
    },
    /// Entries, or none as a heartbeat (paper, section 5.3).
    Append {
        /// The index before the first entry.
        prev_index: Index,
        /// Its term.
        prev_term: Term,
        /// The entries, consecutive.
        entries: Vec<Entry>,
        /// The leader's commit index.
        commit: Index,
        /// The latest read round, to be echoed; 0 when none (thesis, section 6.4).
        round: u64,
        /// Up to here the receiver has acknowledged the leader's log in this term: where it disagrees now, its disk has
        /// lost what others count on.
        acknowledged: Index,
    },
    /// Answers it.
    AppendReply {
        /// `Ok(match index)` when `prev` matched, else where to go on looking.
        result: Result<Index, Conflict>,
        /// The round echoed: the sender still follows this leader.
        round: u64,
    },
    /// Tells the most caught-up voter to stand at once (thesis, section 3.10).
    TimeoutNow,
    /// A follower asks for an index at which its reads are linearizable.
    ReadIndex {
        /// The follower's mark.
        ticket: Ticket,
    },
    /// Answers it; `None` when the receiver cannot lead reads now.
    ReadIndexReply {
        /// As asked.
        ticket: Ticket,
        /// Serve once this index is applied.
        index: Option<Index>,
    },
}

/// Where a follower's log departs from the leader's, so that a whole term is skipped at a time
/// (paper, end of section 5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The `prev_index` that did not match: a late answer is told from a current one by it.
    pub rejected: Index,
    /// The highest index at which the logs may still agree.
    pub hint_index: Index,
    /// The follower's term at `hint_index`.
    pub hint_term: Term,
}
