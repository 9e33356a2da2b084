//! A command that is ended, with all that it has started, when its time is over.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::cluster::process;

/// By this variable what a command has started is known.
const MARK: &str = "QUORATE_SOAK_STEP";

/// Runs a command to its end. It stays in the terminal's process group, so that Control-C ends it as it ends us.
pub fn run(mut command: Command, end: Instant) -> Result<()> {
    let mark = std::process::id().to_string();
    let mut child = command
        .env(MARK, &mark)
        .spawn()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    loop {
        if let Some(ended) = child.try_wait()? {
            ensure!(ended.success(), "{command:?}: {ended}");
            return Ok(());
        }
        if Instant::now() > end {
            process::kill_all(|| process::with_variable(&format!("{MARK}={mark}")))?;
            child.wait()?;
            bail!("{command:?} was ended: the part's time is over");
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_too_long_is_ended_with_what_it_started() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 1000 & wait"]);
        let error = run(command, Instant::now()).unwrap_err();
        assert!(error.to_string().contains("time is over"), "{error:#}");
        let mark = format!("{MARK}={}", std::process::id());
        assert!(process::with_variable(&mark).unwrap().is_empty());
        let end = Instant::now() + Duration::from_mins(1);
        run(Command::new("true"), end).unwrap();
        assert!(run(Command::new("false"), end).is_err());
    }
}
