//! `quorate-raft-cluster`: a member, as it ships.

use std::process::ExitCode;

fn main() -> ExitCode {
    quorate_raft_cluster::start(quorate_raft_cluster::Build::default())
}
