//! What many raft groups in one process decide: log, snapshots, sessions, membership. Sans-io: the shell
//! (`quorate-group`) and the simulator (`quorate-sim`) run the same code.
//!
//! # How it is driven
//! ```text
//! identity = open_identity(&disk, cluster, name, drawn, data)?   // before the state store is opened: it may set old data aside
//! Recovered { groups, log, .. } = recover(config, &identity, &disk, &store, now)?
//! loop {
//!     groups.step(input, now, &mut effects);                // for all inputs at hand (Tick when groups.deadline() is due)
//!     groups.flush(now, &mut effects);                      // once per round: at most one Effect::Log
//!     // carry out the effects, in order:
//!     //   Log            -> log.append(id, &records)?; for all that wait: one log.sync()? -> an Input for step
//!     //   Send           -> when `after` is durable; encode_message(&message) -> bytes -> decode_message(bytes)
//!     //   Task           -> Input::Done { group, result: run(task, &Context { .. }) }, lanes by task.lane()
//!     //   Reply          -> to the caller
//!     //   DropSegments   -> log.drop_below(below)?
//!     //   Changed        -> read status again
//! }
//! ```
//! Client reads go through [`read_state`], never through the store itself: it refuses while a snapshot is being
//! installed.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod apply;
mod ask;
mod codec;
mod command;
mod compaction;
mod config;
mod group;
mod groups;
mod identity;
mod install;
mod io;
mod keys;
mod log_index;
mod log_writer;
mod machine;
mod message;
mod meta;
mod overlay;
mod paths;
mod planted;
mod proto;
mod reads;
mod record;
mod recovery;
mod replay;
mod requests;
mod round;
mod sessions;
mod snapshot_file;
mod snapshot_receive;
mod snapshot_send;
mod tasks;
#[cfg(test)]
mod testing;
mod types;
mod work;

pub use ask::*;
pub use codec::{decode_message, encode_message};
pub use config::{Config, ConfigError, MAX_CHUNK_BYTES};
pub use groups::Groups;
pub use identity::{Identity, IdentityError, open_identity};
pub use io::*;
pub use log_writer::LogWriter;
pub use machine::{StateMachine, Txn, machine_prefix};
pub use message::*;
pub use meta::read_state;
#[cfg(feature = "planted-bugs")]
pub use planted::{Bug, plant};
pub use proto::CodecError;
pub use record::Record;
pub use recovery::{RecoverError, Recovered, recover};
pub use tasks::{Context, run};
pub use types::*;
pub use work::*;
