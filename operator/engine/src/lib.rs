//! The reconcile loop over a [`Host`] that observes and acts. It is async over its host and knows no runtime: a host
//! calls [`reconcile`] for each of its resources, and again when something happened or the requested time is over.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod host;
mod memory;
mod reconcile;

pub use host::*;
pub use memory::Memory;
pub use reconcile::{Round, reconcile};
