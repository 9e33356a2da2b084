//! Quorate on a real Kubernetes: the cluster that `cargo xtask cluster` makes, and the operator on it.
//!
//! They need root and a machine on which no such cluster runs, or another cluster (docs/cluster.md).
#![allow(clippy::unwrap_used, missing_docs)]

mod audit;
mod certificates;
mod cluster;
mod demo;
mod drain;
mod figures;
mod install;
mod interrupted;
mod losses;
mod many;
mod nodes;
mod operator;
mod simulated;
mod traces;
mod upgrades;
mod volumes;
