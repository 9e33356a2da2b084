//! The shell of the groups: runs the sans-io node of `quorate-group-core` (all raft groups of a process) on
//! threads, disks and sockets.
//!
//! - One task, the [`driver`], owns the node: it takes in all that is at hand, lets the node think once, and hands
//!   out what is to be done. It never blocks and never waits for anybody.
//! - One thread, the log [`writer`], writes for all groups: whatever waits shares one fsync. Messages that rest on a
//!   write leave when it is durable; all others leave at once, so a leader's disk runs beside the network.
//! - One thread applies committed commands in order; a few more read and write snapshot files ([`lanes`]).
//! - One connection leads to each peer, and one from each ([`transport`]), for all groups.
//!
//! A workload calls [`start`] and keeps the [`Handle`].
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod budget;
mod driver;
mod fatal;
mod handle;
mod lanes;
mod latency;
mod metrics;
mod options;
mod space;
mod spans;
mod start;
mod status;
mod trace;
mod transport;
mod writer;

pub use fatal::{EXIT_CODE, Fatal};
pub use handle::Handle;
pub use options::{Options, TransportLimits};
pub use start::{Disks, Running, StartError, start};
pub use status::NodeStatus;
pub use trace::TraceContext;
