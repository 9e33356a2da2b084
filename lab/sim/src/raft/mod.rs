//! A raft group of whole members (core, log, recovery, snapshots, sessions, state) in one thread, with faults from
//! a seed.
//!
//! | module | |
//! |---|---|
//! | `swarm` | which faults this seed has |
//! | `queue`, `network`, `process` | time, links, members with their disks |
//! | `world`, `effects` | the event loop; carrying out what members ask for |
//! | `client`, `admin`, `nemesis` | who makes requests, who mends the group, who breaks it |
//! | `oracle`, `mirror` | what must be true |
//! | `ending` | faults end, and progress is demanded |
//! | `counters`, `trace`, `runs` | what was reached; the same seed twice; many seeds |

mod admin;
mod client;
mod counters;
mod effects;
mod ending;
mod machine;
mod mirror;
mod nemesis;
mod network;
mod oracle;
mod process;
mod queue;
mod runs;
mod swarm;
#[cfg(test)]
mod tests;
mod trace;
mod world;

use quorate_group_core::GroupId;

pub use counters::{Counters, Reached};
/// See [`crate::Simulation`].
#[derive(Debug)]
pub struct Raft;

const GROUP: GroupId = 1;
const CLUSTER: &str = "simulated";
