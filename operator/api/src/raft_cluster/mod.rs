//! RaftCluster: a replicated key-value store in one raft group.

mod spec;
mod status;

pub use spec::*;
pub use status::*;
