//! A member of a RaftCluster: HTTP in front of one raft group. Any member serves any request: reads after a
//! ReadIndex from its own state, writes by way of the leader.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod build;
mod http;
mod member;
mod program;
mod settings;
mod vitals;

pub use build::Build;
pub use program::start;
pub use settings::MemberSettings;

/// The only group of a RaftCluster.
pub const GROUP: quorate_group_core::GroupId = 1;

/// The version of the build that ships.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
