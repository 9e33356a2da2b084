//! Kinds that run nowhere: one pool of members without a group, and two pools. They show what a kind costs, and that the
//! machinery of pools and groups serves others than the kinds that ship.

mod duo;
mod herd;

pub use duo::*;
pub use herd::*;

use crate::{Erased, Registry};

/// Both.
pub const KINDS: Registry = &[&Erased::<Herds>::NEW, &Erased::<Duos>::NEW];
