//! What lies between a workload and its disk: the file-system seam, checksummed segments, the state store.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod atomic_file;
mod bytes_le;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod fs;
mod log;
mod map;
mod mem;
mod real;
mod state;

pub use fs::*;
pub use log::{LogError, LogOptions, NEWEST, Position, Recovered, SegmentLog, TornTail, Visit};
pub use map::MapStore;
pub use mem::{DiskCounters, MemFs};
pub use real::RealFs;
pub use state::*;
