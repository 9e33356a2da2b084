//! Raft (Ongaro and Ousterhout 2014, "the paper"; Ongaro's thesis of 2014, "the thesis") as a state machine
//! without I/O: `step(input, now) -> effects`.

mod io;
mod types;

pub use io::*;
pub use types::*;
