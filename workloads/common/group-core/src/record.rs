//! What the process's one log holds, for all its groups.

use quorate_raft::{Entry, LogStart, Vote};

use crate::GroupId;

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A group's vote.
    Vote {
        /// The group.
        group: GroupId,
        /// Its vote.
        vote: Vote,
    },
    /// A group's log begins after this.
    Start {
        /// The group.
        group: GroupId,
        /// Where.
        start: LogStart,
    },
    /// Entries of a group, consecutive; what was at or after the first is gone.
    Entries {
        /// The group.
        group: GroupId,
        /// The entries.
        entries: Vec<Entry>,
    },
}
