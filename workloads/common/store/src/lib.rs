//! What lies between a workload and its disk: the file-system seam, checksummed segments, the state store.

mod fs;
mod state;

pub use fs::*;
pub use state::*;
