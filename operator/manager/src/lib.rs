//! The operator on Kubernetes: the engine's phases with a real API server behind the [`quorate_engine::Host`].
//!
//! [`run`] holds the lease, then keeps caches of everything that the resources own, and calls the engine for a resource
//! whenever something of it changed. What is decided is decided in `quorate-plan`; here is only how it is seen and done.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod apply;
mod caches;
mod denials;
mod election;
mod events;
mod health;
mod host;
mod lease;
mod ledger;
pub mod manifests;
mod members;
mod metrics;
mod operator;
mod requests;
mod settings;

pub use operator::{run, run_with};
pub use settings::{LogFormat, Settings};

/// Who writes the objects, in their managed fields (server-side apply): one name per writer.
const OBJECTS: &str = "quorate/objects";
/// Who writes the marks on claims.
const CLAIMS: &str = "quorate/claims";
/// Who writes the size of claims.
const SIZES: &str = "quorate/sizes";
/// Who writes the owners of pods.
const OWNERS: &str = "quorate/owners";
/// Who writes the status of resources.
const STATUS: &str = "quorate/status";
