//! Kinds that run nowhere: one pool of members without a group, and two pools. They show what a kind costs, and that the
//! machinery of pools and groups serves others than the kinds that ship.

mod duo;
mod example;
pub mod group;
mod herd;
mod members;

pub use duo::{Duo, Duos};
pub use example::{Example, Size, all, example};
pub use herd::{Herd, Herds};
pub use members::{Members, sound_group, sound_member, sound_voter};

use crate::{AnyKind, Erased};

static HERDS: Erased<Herds> = Erased::new();
static DUOS: Erased<Duos> = Erased::new();

/// Both.
pub static KINDS: [&dyn AnyKind; 2] = [&HERDS, &DUOS];
