//! The built binary: one and three members on loopback addresses of their own.
#![allow(clippy::unwrap_used)]

mod admin;
mod api;
mod callers;
mod certificates;
mod client;
mod cluster;
mod faults;
mod group;
mod sessions;
mod shares;
mod start;
mod stop;
