//! The shell of the groups: one log writer, one connection per peer, snapshots streamed.
