//! The program: settings in, exit code out.

use std::process::ExitCode;

use quorate_node::config::{Loaded, Program, load};

use crate::build::Build;
use crate::member::run;
use crate::settings::MemberSettings;

const NAME: &str = "quorate-raft-cluster";
/// A flag, variable or file key is wrong (EX_USAGE).
const USAGE: u8 = 64;
/// It cannot start: a port, the data folder or the certificates (EX_CONFIG), as the message says.
const CONFIG: u8 = 78;
/// A disk that is slow to answer a read holds a thread; the others go on.
const LEAST_THREADS: usize = 4;

/// Runs a member of this build, as the command line says.
pub fn start(build: Build) -> ExitCode {
    let program = Program {
        name: NAME,
        version: build.version,
        about: "A member of a RaftCluster",
    };
    let settings = match load::<MemberSettings>(program) {
        Ok(Loaded::Run(settings)) => settings,
        Ok(Loaded::Print(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("{}: {error}", NAME);
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
        .and_then(|runtime| runtime.block_on(run(settings, build)))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {}", NAME, told(&error));
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
