//! RaftCluster: a replicated key-value store in one raft group.

mod spec;
mod status;

pub use spec::*;
pub use status::*;

/// Good, bad and changed resources, as YAML: a list of [`crate::cases::Case`].
pub const CASES: &str = include_str!("../../testdata/raftcluster.yaml");
