//! What is RaftCluster's own.

mod limits;

pub use limits::*;
