//! What can be seen of the core from outside.

use crate::types::*;

/// What a member does in its term (paper, figure 4; thesis, section 9.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Follows, or waits for a leader; learners always.
    Follower,
    /// Asks whether it would be elected.
    PreCandidate,
    /// Stands for election.
    Candidate,
    /// Leads.
    Leader,
}

/// What the leader knows of another member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberProgress {
    /// The member.
    pub id: MemberId,
    /// The highest index that it is known to hold durably.
    pub matched: Index,
    /// Within [`crate::Config::lag_bound`] entries of the leader's last.
    pub caught_up: bool,
    /// Heard within an election timeout.
    pub active: bool,
    /// It needs what the log no longer has, or is being sent a snapshot.
    pub needs_snapshot: bool,
}

/// Why a message was ignored. Nothing that a peer sends may stop this member; what cannot be used is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ignored {
    /// Of an earlier term, or an answer to what is no longer asked.
    Stale,
    /// A vote was asked for while a leader is heard (thesis, section 4.2.3).
    LeaderHeard,
    /// From somebody who is not a member, where only a member's word counts.
    NotMember,
    /// Not for a member in this role.
    WrongRole,
    /// Malformed, or against an invariant of the protocol: the sender is broken.
    Impossible,
}
