//! Whole clusters in one thread, with faults from a seed.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod counters;
pub mod operator;
pub mod pools;
pub mod raft;
mod runs;
mod seeds;

pub use counters::Counters;
pub use runs::{Count, Outcome, Report, Simulation, run_seed, run_seeds};
pub use seeds::{Bug, Failure, each};
