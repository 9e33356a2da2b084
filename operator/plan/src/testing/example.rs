//! What the suites over all kinds must know of one, beside what the registry tells.

use super::{duo, herd};
use crate::kind::raft_cluster;
use crate::{AnyKind, Voters, kinds};

/// One pool of an example.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// The field of the spec that says how many members it has.
    pub field: &'static str,
    /// Numbers that a person may ask for, from few to many.
    pub members: &'static [i32],
}

/// What a person may ask of a kind, and what not.
#[derive(Clone, Copy, Debug)]
pub struct Example {
    /// The kind, by the name that marks its objects.
    pub app: &'static str,
    /// Its pools, in the order of [`crate::Kind::POOLS`].
    pub pools: &'static [Size],
    /// Who of the first pool votes; none where its members form no group.
    pub voters: Option<Voters>,
    /// A number of members of the first pool that a rule refuses, and how what it says begins.
    pub refused: (i32, &'static str),
}

const EXAMPLES: [&Example; 3] = [&raft_cluster::EXAMPLE, &herd::EXAMPLE, &duo::EXAMPLE];

/// Every kind: those that ship, and those that are for tests.
pub fn all() -> impl Iterator<Item = &'static dyn AnyKind> {
    kinds().iter().chain(&super::KINDS).copied()
}

/// The example of a kind.
///
/// # Panics
/// When it has none: the suites cannot pass it over.
#[must_use]
pub fn example(kind: &dyn AnyKind) -> &'static Example {
    let app = kind.marks().app;
    let found = EXAMPLES.into_iter().find(|example| example.app == app);
    found.unwrap_or_else(|| {
        panic!(
            "{app} has no example: add one to its folder, and its name to {}",
            file!()
        )
    })
}
