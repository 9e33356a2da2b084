//! The members' admin and health listeners, as both hosts call them.
//!
//! A [`Client`] speaks HTTP to any member by the DNS name that its peers use. How a name becomes an address is the
//! host's affair ([`Resolver`]): DNS in a cluster, a table of loopback addresses on one machine.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod client;
mod error;
mod resolver;
mod tls;

pub use client::{Client, Timeouts};
pub use error::Error;
pub use resolver::{Lookup, Resolver};
pub use tls::{Identity, TlsError};
