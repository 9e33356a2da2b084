//! How messages get from member to member: one gRPC call per ordered pair of members, over a connection of its own,
//! for all groups. `proto/peer.proto` is its contract.

pub(crate) mod courier;
mod dial;
pub(crate) mod door;
mod guard;
pub(crate) mod outbox;
pub(crate) mod peers;
pub(crate) mod proto;
#[cfg(test)]
mod tests;
