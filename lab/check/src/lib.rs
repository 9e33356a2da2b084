//! Checkers of histories. Each says what it judges, in what model, and gives up rather than guess.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod register;
mod wgl;

pub use register::{KeyVerdict, RegisterReport, check_registers, make_one_read_stale};
pub use wgl::{Call, Limits, Model, Verdict, check};
