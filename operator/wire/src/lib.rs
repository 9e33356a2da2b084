//! The documents that members serve and everyone reads: status and membership; and the limits that they know.
//!
//! They are a public, versioned schema: fields are only added, and a reader ignores what it does not know.
//! No Kubernetes type appears here, so that a workload can serve them without knowing what Kubernetes is.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod group;
mod limit;
mod member;
mod membership;
pub mod raft_cluster;
mod request;
#[cfg(test)]
mod tests;

pub use group::*;
pub use limit::*;
pub use member::*;
pub use membership::*;
pub use request::*;
