//! Checkers of histories: linearizability of registers.
