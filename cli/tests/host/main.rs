//! The embedded host on processes that only pretend to be members: supervision, adoption, addresses, the commands.
//! What real members do on it is tested in `processes`.
#![allow(clippy::unwrap_used)]

mod commands;
mod failures;
mod fixture;
mod folders;
mod supervision;
