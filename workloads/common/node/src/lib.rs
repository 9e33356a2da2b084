//! What every member process needs, whatever it serves: configuration, telemetry, health, TLS, listeners, shutdown.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod config;
pub mod health;
pub mod listen;
pub mod metrics;
pub mod problem;
pub mod resolve;
pub mod serve;
pub mod shutdown;
pub mod stall;
pub mod telemetry;
pub mod tls;
mod unreadable;
