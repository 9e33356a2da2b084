//! What the operator reports.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Endpoints, Release};

/// What the operator reports of a RaftCluster. It is made anew from what is observed, but for `group`, `stable` and
/// `rollout`, which outlive the operator.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RaftClusterStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, `Progressing` and `Degraded`.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The raft group: written before it is formed, and never taken back, since a group is formed once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Group>,
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
    /// Where the cluster can be reached.
    #[serde(default)]
    pub endpoints: Endpoints,
    /// How many pods there are.
    #[serde(default)]
    pub replicas: i32,
    /// How many of them are Ready: voters within their lag bound.
    #[serde(default)]
    pub ready_replicas: i32,
    /// The pods' labels, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// What every member ran when the cluster was last as specified: what an aborted upgrade goes back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<Release>,
    /// The upgrade that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// The lowest version that a member reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_version: Option<String>,
    /// Whether any member has a listener without the certificates that should protect it.
    #[serde(default)]
    pub insecure: bool,
}

/// The raft group of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// Its number inside the cluster.
    pub id: i64,
    /// The identity of the one member that forms it; no other disk may.
    pub incarnation: String,
    /// Whether that member may have been asked: written before it is. Until then another may take its place.
    #[serde(default)]
    pub asked: bool,
    /// Whether it is known to be formed. From then on an empty disk is only ever added to it.
    #[serde(default)]
    pub formed: bool,
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

/// An upgrade, or another change of the pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// What every member shall run.
    pub target: Release,
    /// How many members run it, Ready and caught up.
    #[serde(default)]
    pub updated: i32,
}
