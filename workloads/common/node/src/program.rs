//! The program around a member: settings first, then a runtime, and an exit code that says what went wrong.

use std::process::ExitCode;

use crate::config::{Loaded, Program, Settings, load};

/// A flag, variable or file key is wrong (EX_USAGE).
const USAGE: u8 = 64;
/// It cannot start: a port, the data folder or the certificates (EX_CONFIG), as the message says.
const CONFIG: u8 = 78;
/// A disk that is slow to answer a read holds a thread; the others go on.
const LEAST_THREADS: usize = 4;

/// Runs the program with the settings that its process was given. `exit_code` knows the errors that come after the
/// start; all others are of the start.
pub fn main<S: Settings, F: Future<Output = anyhow::Result<()>>>(
    program: Program,
    run: impl FnOnce(S) -> F,
    exit_code: impl Fn(&anyhow::Error) -> Option<u8>,
) -> ExitCode {
    let settings = match load(program) {
        Ok(Loaded::Run(settings)) => settings,
        Ok(Loaded::Print(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("{}: {error}", program.name);
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
            eprintln!("{}: {}", program.name, told(&error));
            ExitCode::from(exit_code(&error).unwrap_or(CONFIG))
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

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let error: anyhow::Result<()> = Err(anyhow!("no space")).context("the disk: no space");
        assert_eq!(told(&error.unwrap_err()), "the disk: no space");
        let error: anyhow::Result<()> = Err(anyhow!("no space")).context("the disk");
        assert_eq!(told(&error.unwrap_err()), "the disk: no space");
    }
}
