//! Real processes under faults: clients that keep a history, a file system that forgets, kills and cuts.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod authority;
mod cut;
mod forgetful;
mod load;
mod raft_cluster;
mod trust;
mod up;
mod workload;

pub use authority::{Authority, certificates};
pub use cut::Cut;
pub use forgetful::{Crash, Forgetful};
pub use load::{Expect, Load, soaks};
pub use raft_cluster::{ClientOptions, Clients};
pub use trust::Trust;
pub use up::{Member, Up, condition, signal};
pub use workload::{AtWork, Workload};
