//! What `build.rs` makes of `proto/peer.proto`.

#![allow(missing_docs, clippy::all)]

tonic::include_proto!("quorate.peer.v1");

/// The version of the protocol that this code speaks.
pub const PROTOCOL: u32 = 1;
