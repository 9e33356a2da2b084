//! Real processes under faults: clients that keep a history, a file system that forgets, kills and cuts.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod authority;
mod clients;
mod cut;
mod forgetful;
mod load;
mod trust;
mod up;

pub use authority::{Authority, certificates};
pub use clients::{ClientOptions, Clients};
pub use cut::Cut;
pub use forgetful::{Crash, Forgetful};
pub use load::{Expect, Load};
pub use trust::Trust;
pub use up::{Member, Up, condition, signal};
