//! What many raft groups in one process decide: log, snapshots, sessions, membership. Sans-io: the shell
//! (`quorate-group`) and the simulator (`quorate-sim`) run the same code.

mod io;
mod keys;
mod machine;
mod message;
mod record;

pub use io::*;
pub use machine::{StateMachine, Txn, machine_prefix};
pub use message::*;
pub use record::Record;
