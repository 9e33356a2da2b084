//! What every member process needs, whatever it serves: configuration, telemetry, health, TLS, listeners, shutdown.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod about;
pub mod address;
pub mod config;
pub mod conn;
pub mod descriptors;
pub mod faces;
mod flow;
pub mod health;
pub mod http;
pub mod listen;
pub mod metrics;
pub mod patterns;
pub mod program;
pub mod resolve;
pub mod serve;
pub mod shutdown;
pub mod stall;
pub mod telemetry;
pub mod tls;
pub mod trace;
mod unreadable;
