//! The consensus groups that a member takes part in: its section of `GET /status`.

use serde::{Deserialize, Serialize};

use crate::SummaryPair;

/// One raft group as one member sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupStatus {
    /// The group's number inside the cluster.
    pub group: u64,
    /// This member's part in it.
    pub role: Role,
    /// The current term.
    pub term: u64,
    /// The leader's identity, if this member knows one in the current term.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
    /// The last index in the log.
    pub last: u64,
    /// The commit index.
    pub commit: u64,
    /// The last index applied to the state.
    pub applied: u64,
    /// Whether this member is a voter (or learner) within its lag bound of what it knows to be committed.
    pub caught_up: bool,
    /// The configuration in force (the latest in the log, committed or not).
    pub configuration: ConfigurationStatus,
}

impl GroupStatus {
    /// What people are shown of a member that takes part in this group alone.
    pub fn summary(&self) -> Vec<SummaryPair> {
        vec![
            SummaryPair::steady("role", format!("{:?}", self.role)),
            SummaryPair::steady("term", self.term),
            SummaryPair::moving("commit", self.commit),
            SummaryPair::moving("lag", self.commit.saturating_sub(self.applied)),
        ]
    }
}

/// This member's part in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Role {
    /// Takes entries from the leader and votes.
    Follower,
    /// Asks whether it could win, without disturbing a working leader (thesis, section 9.6).
    PreCandidate,
    /// Asks for votes.
    Candidate,
    /// Leads.
    Leader,
    /// Takes entries from the leader, does not vote.
    Learner,
}

/// A configuration, with what the leader knows of each member's progress.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigurationStatus {
    /// The index of the entry that holds it; admin requests name the index that they were decided on.
    pub index: u64,
    /// Whether that entry is committed.
    pub committed: bool,
    /// True in a joint configuration: both halves must agree.
    pub joint: bool,
    /// Everyone in it, by identity.
    pub members: Vec<ConfiguredMember>,
}

/// One member of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfiguredMember {
    /// Its identity: 16 hexadecimal digits.
    pub id: String,
    /// Its name (the pod's).
    pub name: String,
    /// Where its peer listener is: a DNS name and a port.
    pub address: String,
    /// Its part in the configuration.
    pub part: Part,
    /// The highest index it is known to hold; only the leader knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub match_index: Option<u64>,
    /// Whether the leader would promote it now (learner), or count on it (voter); only the leader knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caught_up: Option<bool>,
}

/// A member's part in a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Part {
    /// Votes, in the only or in both halves.
    Voter,
    /// Votes in the new half only: it is being promoted.
    Incoming,
    /// Votes in the old half only: it is being removed.
    Outgoing,
    /// Does not vote.
    Learner,
}
