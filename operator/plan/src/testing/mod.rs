//! Kinds that run nowhere: one pool of members without a group, and two pools. They show what a kind costs, and that the
//! machinery of pools and groups serves others than the kinds that ship.

mod duo;
mod example;
mod herd;

pub use duo::{Duo, Duos};
pub use example::{Example, Size, all, example};
pub use herd::{Herd, Herds};

use crate::{AnyKind, Erased};

static HERDS: Erased<Herds> = Erased::new();
static DUOS: Erased<Duos> = Erased::new();

/// Both.
pub static KINDS: [&dyn AnyKind; 2] = [&HERDS, &DUOS];
