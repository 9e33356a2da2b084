//! A member of a RaftCluster: HTTP in front of one raft group. Any member serves any request: reads after a
//! ReadIndex from its own state, writes by way of the leader.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod broken;
mod http;
mod member;
#[cfg(feature = "unsafe-no-sync")]
mod no_sync;
mod settings;
mod vitals;

pub use member::run;
pub use settings::MemberSettings;

/// The only group of a RaftCluster.
pub const GROUP: quorate_group_core::GroupId = 1;

/// The version of this build: `QUORATE_BUILD_VERSION` when it was built with that, else the crate's.
pub const VERSION: &str = match option_env!("QUORATE_BUILD_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};
