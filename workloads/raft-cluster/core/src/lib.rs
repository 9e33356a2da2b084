//! The replicated key-value state machine of a RaftCluster: commands, answers and what lies in the state store.
//!
//! One revision counts for the whole group: each applied command that changes something takes the next one
//! (etcd's `mod_revision`). A record keeps the revision of its creation, that of its last change, and how often it
//! was written since its creation, so that etcd's own protocol can stand in front of the same commands later.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answer;
mod command;
mod layout;
mod machine;
#[cfg(test)]
mod model;
mod record;
mod view;

pub use answer::{Answer, Applied, Failed, OperationResult, Verdict};
pub use command::{Command, Condition, Expect, Invalid, Operation};
pub use machine::KeyValue;
pub use record::Record;
pub use view::{Entry, Page, PageQuery, View};
