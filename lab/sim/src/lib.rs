//! Whole clusters in one thread, with faults from a seed.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod operator;
pub mod pools;
pub mod raft;
mod seeds;

pub use seeds::{Bug, Failure, each};
