//! Quorate on a real Kubernetes: the cluster that `cargo xtask cluster` makes, and the operator on it.
//!
//! They need root, and a machine on which no such cluster runs.
#![allow(clippy::unwrap_used, missing_docs)]

mod audit;
mod cluster;
mod demo;
mod nodes;
mod operator;
mod traces;
mod volumes;
