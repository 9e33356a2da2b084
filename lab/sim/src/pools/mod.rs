//! The operator with every kind there is, those that are for tests too: the engine and the decisions that ship, the pure model
//! of StatefulSets, members as simple stand-ins, and faults between any two effects. What only groups can suffer is tried in
//! [`crate::operator`]. A kind that is added to the registry is driven by all this, and by the suite in `tests`.

mod api;
mod host;
mod judge;
mod members;
mod runs;
#[cfg(test)]
mod tests;
mod user;
mod world;

/// See [`crate::Simulation`].
#[derive(Debug)]
pub struct Pools;

/// The resource's name.
const NAME: &str = "a";
