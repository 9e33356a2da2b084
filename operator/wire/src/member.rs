//! `GET /status` on a member's health listener.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::GroupStatus;

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
    /// What people are shown of it, in the kind's own words, the most telling first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub summary: Vec<SummaryPair>,
    /// The groups that the member takes part in, by number: the first [`MAX_GROUPS`] of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupStatus>,
    /// What only this kind of member has to say, as its folder here defines it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<Value>,
}

/// How many groups a [`MemberStatus`] holds at most: whoever decides on a group reads the first ones, and a document of
/// thousands would be built and read several times a second.
pub const MAX_GROUPS: usize = 16;

/// A figure or a word that tells a person how a member is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SummaryPair {
    /// As a table's heading, `term`.
    pub name: String,
    /// As it is shown.
    pub value: String,
    /// Whether it moves all the time: a change of it alone is no news.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub moves: bool,
}

impl SummaryPair {
    /// What seldom changes.
    pub fn steady(name: &str, value: impl ToString) -> Self {
        Self {
            name: name.to_owned(),
            value: value.to_string(),
            moves: false,
        }
    }

    /// What moves all the time.
    pub fn moving(name: &str, value: impl ToString) -> Self {
        Self {
            moves: true,
            ..Self::steady(name, value)
        }
    }
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
