//! What the commands print and answer.

pub mod operator;
pub mod raft;
