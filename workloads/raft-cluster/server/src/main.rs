//! `quorate-raft-cluster`: wires a member together.

use std::process::ExitCode;

use quorate_group::{EXIT_CODE, Fatal};
use quorate_node::config::Program;
use quorate_node::program;
use quorate_raft_cluster::{VERSION, run};

const PROGRAM: Program = Program {
    name: "quorate-raft-cluster",
    version: VERSION,
    about: "A member of a RaftCluster",
};

fn main() -> ExitCode {
    program::main(PROGRAM, run, |error| {
        error.is::<Fatal>().then_some(EXIT_CODE)
    })
}
