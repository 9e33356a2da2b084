//! The pure model of a StatefulSet, for the simulator and the embedded host.
