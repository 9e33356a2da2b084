//! `quorate-raft-cluster`: wires a member together.

use std::process::ExitCode;

use quorate_node::config::{Loaded, Program, load};
use quorate_raft_cluster::{MemberSettings, VERSION, run};

const PROGRAM: Program = Program {
    name: "quorate-raft-cluster",
    version: VERSION,
    about: "A member of a RaftCluster",
};
/// A flag, variable or file key is wrong (EX_USAGE).
const USAGE: u8 = 64;
/// It cannot start: a port, the data folder or the certificates (EX_CONFIG), as the message says.
const CONFIG: u8 = 78;
/// A disk that is slow to answer a read holds a thread; the others go on.
const LEAST_THREADS: usize = 4;

fn main() -> ExitCode {
    let settings = match load::<MemberSettings>(PROGRAM) {
        Ok(Loaded::Run(settings)) => settings,
        Ok(Loaded::Print(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("{}: {error}", PROGRAM.name);
            return ExitCode::from(USAGE);
        }
    };
    let threads = std::thread::available_parallelism()
        .map_or(LEAST_THREADS, |cores| cores.get().max(LEAST_THREADS));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build();
    match runtime
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(run(settings)))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {}", PROGRAM.name, told(&error));
            ExitCode::from(if error.is::<quorate_group::Fatal>() {
                quorate_group::EXIT_CODE
            } else {
                CONFIG
            })
        }
    }
}

/// The error and its causes, without those that it tells itself.
fn told(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}
