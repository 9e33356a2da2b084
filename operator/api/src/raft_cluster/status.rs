//! What the operator reports.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Formation, Status};

/// What the operator reports of a RaftCluster.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RaftClusterStatus {
    /// What every kind says.
    #[serde(flatten)]
    pub common: Status,
    /// The raft group: written before it is formed, and never taken back, since a group is formed once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Formation>,
    /// Each member as it reports itself, with what the leader knows of it.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub members: Vec<Member>,
    /// The leader's name (the pod's).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
    /// The leader's term.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<i64>,
}

/// One member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Its name (the pod's).
    pub name: String,
    /// The identity on its disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<String>,
    /// `Leader`, `Follower`, `Candidate`, `PreCandidate` or `Learner`; or, of a member that takes no part, `Empty`,
    /// `Damaged`, `Removed` or `Unreachable`.
    pub role: String,
    /// Its term.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<i64>,
    /// The last index that the leader knows it to hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub match_index: Option<i64>,
    /// The last index that it has applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<i64>,
    /// How many committed entries it has yet to apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<i64>,
    /// The version of its binary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Whether it can serve.
    #[serde(default)]
    pub ready: bool,
}
