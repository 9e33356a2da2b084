//! Raft (Ongaro and Ousterhout 2014, "the paper"; Ongaro's thesis of 2014, "the thesis") as a state machine
//! without I/O: `step(input, now)` takes in, `flush(now)` gives out (see [`Raft`]).
//!
//! | module | |
//! |---|---|
//! | `types`, `io` | the vocabulary; what goes in, what comes out |
//! | `state`, `raft` | the parts together; which module takes what |
//! | `election` | pre-vote, vote, check-quorum |
//! | `replication`, `follower` | the two sides of appends and acknowledgements |
//! | `read`, `readers` | linearizable reads |
//! | `membership`, `configurations`, `quorum` | configurations and their majorities |
//! | `transfer` | handing leadership over |
//! | `log`, `disk`, `progress` | the log in memory; what the disk has of it; what other members have |
//! | `restore` | what a restart makes of a disk |
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod config;
mod configurations;
mod disk;
mod election;
mod follower;
mod io;
mod log;
mod membership;
mod planted;
mod progress;
mod quorum;
mod raft;
mod read;
mod readers;
mod replication;
mod restore;
mod state;
mod status;
mod tenure;
mod transfer;
mod types;

pub use config::{Config, ConfigError};
pub use io::*;
#[cfg(feature = "planted-bugs")]
pub use planted::{Bug, plant};
pub use restore::{RestoreError, Restored};
pub use state::Raft;
pub use status::{Ignored, MemberProgress, Role};
pub use types::*;
