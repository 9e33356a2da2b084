//! Resources on the embedded host, in real processes, under faults: a folder for each kind.
//!
//! They run one after the other (two cores), need root for iptables and FUSE, and print what they measured.
#![allow(clippy::unwrap_used, missing_docs)]

mod raft_cluster;
