//! `cargo xtask soak`: what takes hours, in parts that can be run by themselves. What has passed for a commit is not run
//! again.

mod parts;
mod passed;
#[cfg(test)]
mod told;

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::builder::PossibleValuesParser;

use crate::say::say;
use crate::tool;
use parts::{PARTS, Part};
use passed::Passed;

/// How many cases a property is tried with.
const CASES: &str = "200000";

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
    for (what, rest) in part.steps {
        let mut cargo = tool::cargo(root);
        cargo.args(*what);
        if !rest.is_empty() {
            cargo.arg("--").args(*rest);
        }
        // The tests ask for the one, proptest for the other.
        cargo.env("QUORATE_SOAK", "1").env("PROPTEST_CASES", CASES);
        let ended = cargo.status().context("cannot run cargo")?;
        ensure!(ended.success(), "{cargo:?}: {ended}");
    }
    Ok(())
}

/// The commit that is checked out, if nothing differs from it.
fn commit(root: &Path) -> Result<Option<String>> {
    let root = root.to_str().context("a path in UTF-8")?;
    let git = |arguments: &[&str]| tool::run("git", &[&["-C", root], arguments].concat());
    let changed = git(&["status", "--porcelain"])?;
    let head = git(&["rev-parse", "HEAD"])?;
    Ok(changed.is_empty().then(|| head.trim().to_owned()))
}
