//! Whole clusters in one thread, with faults from a seed.
