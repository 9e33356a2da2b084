//! A RaftCluster on the embedded host, in real processes, under faults: at least eight clients write and read
//! throughout, every acknowledged write must be there at the end, and the history must be linearizable.
//!
//! They run one after the other (two cores), need root for iptables and FUSE, and print what they measured.
#![allow(clippy::unwrap_used, missing_docs)]

mod cluster;

mod full;
mod kills;
mod power;
mod scale;
mod supervision;
mod tls;
mod upgrade;
