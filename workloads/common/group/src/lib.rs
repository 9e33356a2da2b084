//! The shell of the groups: runs the sans-io groups of `quorate-group-core` (all raft groups of a process) on
//! threads, disks and sockets.
//!
//! - One task, the [`driver`], owns the groups: it takes in all that is at hand, lets the groups think once, and hands
//!   out what is to be done. It never blocks and never waits for anybody.
//! - One thread, the log [`writer`], writes for all groups: whatever waits shares one fsync. Messages that rest on a
//!   write leave when it is durable; all others leave at once, so a leader's disk runs beside the network.
//! - One thread applies committed commands in order; a few more read and write snapshot files ([`lanes`]).
//! - One connection leads to each peer, and one from each ([`transport`]), for all groups.
//!
//! A workload opens its [`data`] folder, calls [`start`] and keeps the [`Handle`]. Beside its own protocol it serves the
//! [`admin`] listener and [`GroupVitals`], and ends as [`life`] says.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod access;
pub mod admin;
mod budget;
pub mod data;
mod driver;
mod events;
mod fatal;
mod handle;
mod lanes;
mod latency;
pub mod life;
mod metrics;
mod options;
pub mod problems;
mod space;
mod spans;
mod start;
mod status;
mod transport;
mod vitals;
mod writer;

pub use access::{GroupAccess, GroupHandle};
pub use fatal::{EXIT_CODE, Fatal};
pub use handle::Handle;
pub use options::{Options, TransportLimits};
pub use start::{Disks, Running, StartError, start};
pub use status::GroupsStatus;
pub use vitals::GroupVitals;
