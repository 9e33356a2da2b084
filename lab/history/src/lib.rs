//! Histories of operations: what clients asked, when, and what they were told.
//!
//! One JSON object per line, one line per operation, in any order. Times are microseconds on one clock (the
//! recorder's): an operation took effect, if at all, between `invoked` and `returned`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod format;
mod recorder;

pub use format::*;
pub use recorder::Recorder;
