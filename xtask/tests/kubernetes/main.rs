//! Quorate on a real Kubernetes: the cluster that `cargo xtask cluster` makes, and the operator on it.
//!
//! They need root and a machine on which no such cluster runs, or another cluster (docs/cluster.md).
#![allow(clippy::unwrap_used, missing_docs)]

mod audit;
mod certificates;
mod cluster;
mod demo;
mod drain;
mod drift;
mod fast;
mod figures;
mod images;
mod install;
mod interrupted;
mod judged;
mod machine;
mod many;
mod mistakes;
mod objects;
mod pods;
mod raft_cluster;
mod simulated;
mod soak;
mod tenants;
mod together;
mod traces;
mod upgrades;
mod volumes;
mod web;
