//! The operator with kinds of one and of several pools, which run nowhere: the engine and the decisions that ship, the pure
//! model of StatefulSets, members as simple stand-ins, and faults between any two effects. What only groups can suffer is
//! tried in [`crate::operator`].

mod api;
mod host;
mod judge;
mod members;
mod runs;
#[cfg(test)]
mod tests;
mod user;
mod world;

pub use runs::{Counters, Outcome, Report, bugs, run_seed, run_seeds};

/// The resource's name.
const NAME: &str = "a";
