//! The embedded host: the same resources as processes on this machine.
