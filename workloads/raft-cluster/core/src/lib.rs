//! The replicated key-value state machine of a RaftCluster.
