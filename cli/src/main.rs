//! The quorate command.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod args;
mod change;
mod describe;
mod get;
mod jsonpath;
mod live;
mod manifest;
mod table;
mod tally;
mod up;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use quorate_local::{Control, StateDir, become_member, default_state_dir};

use crate::args::{Command, LogsArgs, Quorate, StateArgs};

fn main() -> ExitCode {
    let quorate = Quorate::parse();
    if let Command::Launch { folder } = &quorate.command {
        // Before any thread exists: this process is about to become another program.
        let (code, message) = become_member(folder);
        eprintln!("quorate: {message}");
        return ExitCode::from(u8::try_from(code).unwrap_or(1));
    }
    match run(quorate) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One sentence: causes that repeat what stands before them are left out.
            let mut text = error.to_string();
            for cause in error.chain().skip(1).map(ToString::to_string) {
                if !text.contains(&cause) {
                    text = format!("{text}: {cause}");
                }
            }
            let _ = writeln!(std::io::stderr(), "quorate: {text}");
            ExitCode::FAILURE
        }
    }
}

fn run(quorate: Quorate) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let state = quorate.state;
    runtime.block_on(async {
        match quorate.command {
            Command::Up(args) => up::up(&state, args).await,
            Command::Get(args) => get::get(&control(&state)?, args).await,
            Command::Describe(args) => describe::describe(&control(&state)?, args).await,
            Command::Apply(args) => change::apply(&control(&state)?, &args).await,
            Command::Scale(args) => change::scale(&control(&state)?, &args).await,
            Command::Delete(args) => change::delete(&control(&state)?, &args).await,
            Command::Logs(args) => logs(&control(&state)?, &args).await,
            Command::Launch { .. } => Ok(()),
        }
    })
}

/// The folder that the flags and the environment name.
fn state_path(state: &StateArgs) -> anyhow::Result<std::path::PathBuf> {
    match state
        .state_dir
        .as_ref()
        .filter(|path| !path.as_os_str().is_empty())
    {
        Some(path) => Ok(path.clone()),
        None => Ok(default_state_dir(
            std::env::var_os("XDG_STATE_HOME").as_deref(),
            std::env::var_os("HOME").as_deref(),
        )?),
    }
}

/// The way to the `up` of that folder; a folder that was never made has none.
fn control(state: &StateArgs) -> anyhow::Result<Control> {
    let path = state_path(state)?;
    match path.exists() {
        true => Ok(Control::new(StateDir::existing(&path)?, |warning| {
            let _ = writeln!(std::io::stderr(), "Warning: {warning}");
        })),
        false => Err(quorate_local::ControlError::NothingRuns(path).into()),
    }
}

async fn logs(control: &Control, args: &LogsArgs) -> anyhow::Result<()> {
    let pod = args.pod.strip_prefix("pod/").unwrap_or(&args.pod);
    let mut out = std::io::stdout();
    let write = |chunk: &[u8]| out.write_all(chunk).and_then(|()| out.flush());
    Ok(control
        .logs(&args.namespace, pod, args.tail, args.follow, write)
        .await?)
}
