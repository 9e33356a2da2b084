//! The shell of the groups, several members in one process: real sockets on 127.0.0.0/8, real files.
#![allow(clippy::unwrap_used)]

mod cluster;
mod disk;
mod lifecycle;
mod many_groups;
mod strangers;
mod traces;
