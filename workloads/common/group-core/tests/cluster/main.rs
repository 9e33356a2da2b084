//! Whole members (groups, log, tasks) over simulated disks.
#![allow(clippy::unwrap_used)]

mod chaos;
mod harness;
mod install;
mod lifecycle;
mod membership;
mod requests;
mod snapshots;
