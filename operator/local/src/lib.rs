//! The embedded host: the same resources as processes on this machine.
//!
//! It plays the parts that a cluster plays around the operator: an API server ([`Node`]'s store behind a control
//! socket), the StatefulSet controller (the pure model), the kubelet (a supervisor per pod, each with a loopback
//! address) and the DNS (a hosts file). The decisions are the operator's own: the same engine, the same kinds.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod admission;
mod api;
mod backoff;
mod blueprint;
mod control;
mod difference;
mod events;
mod fields;
mod health;
mod host;
mod images;
mod launch;
mod limits;
mod logs;
mod members;
mod network;
mod node;
mod operator;
mod ownership;
mod place;
mod probe;
mod process;
mod report;
mod resources;
mod rows;
mod sets;
mod state_dir;
mod store;
mod supervisor;
mod up;

pub use admission::{Applied, sort_of};
pub use control::{Control, ControlError};
pub use difference::Difference;
pub use images::{ImageError, Images};
pub use launch::become_member;
pub use node::{Node, Notice, Run};
pub use place::PlaceError;
pub use quorate_wire::SummaryPair;
pub use report::PID_ANNOTATION;
pub use resources::{
    Column, ResourceType, Writers, resource_type, resource_type_of, resource_types,
};
pub use rows::{MemberRow, ResourceRow, member_rows, resource_rows};
pub use state_dir::{StateDir, StateDirError, default_state_dir};
pub use store::{ObjectKey, Store, StoreError};
pub use up::{Options, Up};
