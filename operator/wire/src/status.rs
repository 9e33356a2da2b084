//! `GET /status` on a member's health listener.

use serde::{Deserialize, Serialize};

/// The version of [`MemberStatus`] that this code writes.
pub const STATUS_VERSION: &str = "quorate.dev/member-status/v1";

/// What a member says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberStatus {
    /// Always [`STATUS_VERSION`].
    pub schema: String,
    /// The kind of resource that this member belongs to, as `RaftCluster`.
    pub kind: String,
    /// The member's name, which is its pod's name.
    pub name: String,
    /// The version of the running binary.
    pub version: String,
    /// The highest feature level that the binary can write; see DESIGN section 4.
    pub feature_level: u32,
    /// The cluster that the member is configured for: the UID of its resource.
    pub cluster: String,
    /// The identity on this member's disk: 16 hexadecimal digits, drawn when an empty disk was first opened.
    pub incarnation: String,
    /// What the member is able to do.
    pub state: MemberState,
    /// Why, when `state` is not [`MemberState::Running`]; what to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether a damaged member's data can make way for a new identity on the same disk, by `POST /admin/set-aside`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub can_set_aside: bool,
    /// Whether it can serve: `/readyz` answers the same.
    pub ready: bool,
    /// True when any listener that should be protected is not (no certificates were given).
    pub insecure: bool,
    /// What is wrong although the member runs, and what to do about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<MemberProblem>,
    /// What a restart of this member would interrupt now. Empty: it may be restarted as far as it knows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restart_blockers: Vec<RestartBlocker>,
    /// The groups that the member takes part in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupStatus>,
}

/// What a member is able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum MemberState {
    /// It has an identity and belongs to no group yet: it waits to be bootstrapped or to be added.
    Empty,
    /// It takes part in its groups.
    Running,
    /// Its log, vote or state failed verification: it neither votes, acknowledges nor leads, and must be replaced.
    Damaged,
    /// Its identity was removed from the group, or its damaged data made way: the next start sets aside what is on its
    /// disk.
    Removed,
}

/// Something that is wrong with a member that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberProblem {
    /// A stable name, as [`DISK_FULL`].
    pub code: String,
    /// The same in words, and what to do.
    pub message: String,
}

/// The [`MemberProblem::code`] of a member that refuses client writes since its disk has less free space than the
/// reserve.
pub const DISK_FULL: &str = "DiskFull";

/// The [`MemberProblem::code`] of a member whose changed certificates cannot be used: it goes on with the old ones, and
/// would not start again.
pub const BAD_CERTIFICATES: &str = "BadCertificates";

/// One reason not to restart a member now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestartBlocker {
    /// A stable name, as `Leader`, `CatchingUp`, `SendingSnapshot`, `JointConfiguration`.
    pub code: String,
    /// The same in words.
    pub message: String,
}

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
