//! The operator against simulated members: the engine and the decisions that ship, the pure model of a StatefulSet, an
//! abstract raft group, and every fault between any two of the operator's effects.

mod api;
mod ending;
mod faults;
mod host;
mod judge;
pub(crate) mod nodes;
mod runs;
mod user;
pub(crate) mod world;

use std::sync::LazyLock;

use quorate_plan::{AnyKind, kinds};

/// See [`crate::Simulation`].
#[derive(Debug)]
pub struct Operator;

/// The resource's name.
const NAME: &str = "a";

/// Its StatefulSet's.
static SET: LazyLock<String> = LazyLock::new(|| kind().sets(NAME).swap_remove(0));

/// The kind that is simulated.
fn kind() -> &'static dyn AnyKind {
    kinds()[0]
}
