//! The program: settings in, exit code out.

use std::process::ExitCode;

use quorate_group::{EXIT_CODE, Fatal};
use quorate_node::config::Program;
use quorate_node::program;

use crate::build::Build;
use crate::member::run;

/// Runs a member of this build, as the command line says.
pub fn start(build: Build) -> ExitCode {
    let program = Program {
        name: "quorate-raft-cluster",
        version: build.version,
        about: "A member of a RaftCluster",
    };
    program::main(
        program,
        |settings| run(settings, build),
        |error| error.is::<Fatal>().then_some(EXIT_CODE),
    )
}
