//! How far a change has come: what `decide` hands to `build` beside the resource itself.

use std::collections::BTreeMap;

use quorate_api::Release;

/// The stage of every pool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stage {
    /// By the pool's name.
    pub pools: BTreeMap<String, PoolStage>,
}

/// The stage of one StatefulSet.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolStage {
    /// How many pods there should be now (a step of a scaling, not always the specified number).
    pub replicas: i32,
    /// Pods with a lower ordinal stay at, and come back at, the stable revision.
    pub partition: i32,
    /// Which pod template the StatefulSet carries.
    pub template: Template,
    /// The size that the claim templates of the living StatefulSet ask for. They are immutable, so they keep it when
    /// the specified size grows: the claims themselves are what is grown. `None` for one that is yet to be made.
    pub claim_size: Option<String>,
}

/// Which pod template a StatefulSet carries.
#[derive(Clone, Debug, PartialEq)]
pub enum Template {
    /// The one that the resource asks for now.
    Target,
    /// The one that ran before (an aborted upgrade), as `status.stable` keeps it.
    Stable(Release),
}

/// What a builder must know of its surroundings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Env {
    /// The cluster's DNS domain, as `cluster.local`.
    pub cluster_domain: String,
    /// Image of the kind's own binary when the resource names none.
    pub default_image: String,
    /// Where the operator's pods run, for they must reach the members' admin listeners. `None` when it runs outside:
    /// its address has no name then, and the admin listeners stay open to whoever has a certificate.
    pub operator_namespace: Option<String>,
}
