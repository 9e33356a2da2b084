//! Pure decisions: `decide(desired, observed, now) -> actions`, `build(valid spec, stage, env) -> objects`.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod action;
mod common;
mod decision;
mod digest;
mod group;
mod kind;
mod object;
mod objects;
mod observed;
pub mod planted;
mod pod;
mod pool;
mod refusal;
mod stage;
#[cfg(feature = "testing")]
pub mod testing;

pub use action::*;
pub use common::check::Checked;
pub use common::identity::{
    APP, CONFIG_HASH, INSTANCE, Identity, OWNER_UID, co_owner_reference, is_pod_of, owner_reference,
};
pub use common::overrides::FORBIDDEN_OVERRIDES;
pub use common::pods::USER;
pub use decision::*;
pub use group::{
    FOUNDER, GROUP_MARK, Group, GroupSpec, INCARNATION, LEFT, Lead, REMOVED, SET_ASIDE, Voters,
};
pub use kind::*;
pub use object::Object;
pub use objects::*;
pub use observed::*;
pub use pod::{admin_address, health_address};
pub use pool::*;
pub use refusal::Refusal;
pub use stage::*;
