//! A file system that keeps in memory what was written and what was synced apart, so that a test can take away
//! every byte that no fsync covered, as a power failure would.
//!
//! What it models: the bytes and the length of files. Names (create, rename, unlink) are durable at once, which
//! is kinder than a real disk; the simulator's file system is not that kind.

mod mount;
mod tree;

pub use mount::Forgetful;
pub use tree::Crash;
