//! How far a change has come: what `decide` hands to `build` beside the resource itself.

use std::collections::BTreeMap;

/// The stage of every pool; a RaftCluster has one, named `member`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stage {
    /// By the pool's name.
    pub pools: BTreeMap<String, PoolStage>,
}

/// The stage of one StatefulSet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolStage {
    /// How many pods there should be now (a step of a scaling, not always the specified number).
    pub replicas: i32,
    /// Pods with a lower ordinal stay at, and come back at, the stable revision.
    pub partition: i32,
    /// Which pod template the StatefulSet carries.
    pub template: Template,
}

/// Which pod template a StatefulSet carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Template {
    /// The one that the resource asks for now.
    Target,
    /// The one that ran before (an aborted upgrade): its image and version, as status keeps them.
    Stable {
        /// The image.
        image: String,
        /// The version label.
        version: String,
    },
}

/// What a builder must know of its surroundings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Env {
    /// The cluster's DNS domain, as `cluster.local`.
    pub cluster_domain: String,
    /// Image of the kind's own binary when the resource names none.
    pub default_image: String,
}
