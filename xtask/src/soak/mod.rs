//! `cargo xtask soak`: what takes hours, in parts that can be run by themselves. What has passed for a commit is not run
//! again.

mod bounded;
mod parts;
mod passed;
#[cfg(test)]
mod told;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::builder::PossibleValuesParser;

use crate::say::say;
use crate::tool;
use parts::{PARTS, Part, Step};
use passed::Passed;

/// How many cases a property is tried with.
const CASES: &str = "200000";

/// How long a part may take. Beyond it something hangs, or the part is to be split.
const PART: Duration = Duration::from_mins(40);

/// What to run.
#[derive(Debug, clap::Args)]
pub struct Soak {
    /// The parts; all of them unless you say.
    #[arg(value_name = "PART", value_parser = PossibleValuesParser::new(PARTS.map(|part| part.name)))]
    parts: Vec<String>,
    /// Runs what has passed for this commit too.
    #[arg(long)]
    again: bool,
    /// Only tells what the parts are.
    #[arg(long)]
    list: bool,
}

impl Soak {
    /// Runs the parts one after the other, whatever becomes of each, and ends in a table.
    pub fn run(&self, root: &Path) -> Result<()> {
        let mut chosen = PARTS.iter().filter(|part| self.is_chosen(part));
        if self.list {
            return chosen.try_for_each(|part| say(format!("{:<12} {}", part.name, part.about)));
        }
        let commit = commit(root)?;
        if commit.is_none() {
            say("there are changes that no commit has: what passes is not kept")?;
        }
        let mut passed = Passed::read(commit.as_deref())?;
        let mut table = vec![row("PART", "RESULT", "SECONDS")];
        let mut failed = Vec::new();
        for part in chosen {
            if let Some(seconds) = passed.seconds(part.name)
                && !self.again
            {
                table.push(row(part.name, "passed before", seconds));
                continue;
            }
            say(format!("== {}: {}", part.name, part.about))?;
            let begun = Instant::now();
            let result = soak(root, part);
            let seconds = begun.elapsed().as_secs();
            match result {
                Ok(()) => {
                    passed.add(part.name, seconds)?;
                    table.push(row(part.name, "passed", seconds));
                }
                Err(error) => {
                    say(format!("== {} failed: {error:#}", part.name))?;
                    table.push(row(part.name, "FAILED", seconds));
                    failed.push(part.name);
                }
            }
        }
        say(format!("\n{}", table.join("\n")))?;
        ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
        Ok(())
    }

    fn is_chosen(&self, part: &Part) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|name| name == part.name)
    }
}

fn row(part: &str, result: &str, seconds: impl std::fmt::Display) -> String {
    format!("{part:<12} {result:<14} {seconds:>7}")
}

/// One part, until a step fails.
fn soak(root: &Path, part: &Part) -> Result<()> {
    let end = Instant::now() + PART;
    for command in part.steps.iter().map(|step| commands(root, step)) {
        for mut command in command? {
            // The tests ask for the one, proptest for the other.
            command
                .env("QUORATE_SOAK", "1")
                .env("PROPTEST_CASES", CASES);
            bounded::run(command, end)?;
        }
    }
    Ok(())
}

fn commands(root: &Path, step: &Step) -> Result<Vec<Command>> {
    let cargo = |what: &[&str]| {
        let mut cargo = tool::cargo(root);
        cargo.args(what);
        cargo
    };
    Ok(match step {
        Step::Cargo(what, rest) => {
            let mut cargo = cargo(what);
            if !rest.is_empty() {
                cargo.arg("--").args(*rest);
            }
            vec![cargo]
        }
        Step::Simulate(rest) => vec![cargo(&SIMULATOR), simulator(root, rest)?],
        Step::Hunt(rest) => {
            let mut build = cargo(&SIMULATOR);
            build.args(["--features", "quorate-sim/planted-bugs"]);
            vec![build, simulator(root, rest)?]
        }
    })
}

const SIMULATOR: [&str; 6] = [
    "build",
    "--release",
    "--locked",
    "--workspace",
    "--bin",
    "quorate-sim",
];

fn simulator(root: &Path, arguments: &[&str]) -> Result<Command> {
    let mut simulator = Command::new(crate::release_folder()?.join("quorate-sim"));
    simulator.current_dir(root).args(arguments);
    Ok(simulator)
}

/// The commit that is checked out, if nothing differs from it.
fn commit(root: &Path) -> Result<Option<String>> {
    let root = root.to_str().context("a path in UTF-8")?;
    let git = |arguments: &[&str]| tool::run("git", &[&["-C", root], arguments].concat());
    let changed = git(&["status", "--porcelain"])?;
    let head = git(&["rev-parse", "HEAD"])?;
    Ok(changed.is_empty().then(|| head.trim().to_owned()))
}
