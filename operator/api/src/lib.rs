//! The custom resources of quorate.dev.
//!
//! A kind is a folder ([`raft_cluster`]); what kinds share (pods, storage, TLS, monitoring, the service, conditions)
//! are types of their own in [`common`]. Each rule of the CRD is a constant beside the type that it guards, a pair of
//! CEL expression and message; the API server runs it, and so does quorate-plan, for the embedded host has none. The
//! bounds of numbers are made of a kind's table in quorate-wire.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod cases;
pub mod common;
pub mod quantity;
pub mod raft_cluster;
pub mod rules;

pub use common::*;
pub use raft_cluster::*;

/// The API group of every kind.
pub const GROUP: &str = "quorate.dev";
