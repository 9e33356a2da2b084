//! `quorate-sim operator`.

use std::num::NonZero;
use std::sync::Mutex;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use quorate_sim::operator::{Failure, run_seed, run_seeds};

/// With so many seeds everything that is counted must have been reached.
const ENOUGH_SEEDS: u64 = 1000;

/// What to run.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  quorate-sim operator --seeds 10000\n  quorate-sim operator --seed 4711 --trace"
)]
pub struct Arguments {
    /// How many seeds to run.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Run this seed only.
    #[arg(long, conflicts_with_all = ["seeds", "first"])]
    seed: Option<u64>,
    /// Print everything that happens (with --seed).
    #[arg(long, requires = "seed")]
    trace: bool,
    /// How many threads to use; all cores by default.
    #[arg(long)]
    threads: Option<usize>,
    /// Put a known bug in place and look for it; `all` looks for each in turn (builds with --features planted-bugs).
    #[arg(long)]
    plant: Option<String>,
}

/// Runs it; an error when a property does not hold.
pub fn run(arguments: &Arguments) -> Result<()> {
    let threads = arguments
        .threads
        .unwrap_or_else(|| available_parallelism().map_or(1, NonZero::get));
    if let Some(plant) = &arguments.plant {
        return planted::run(arguments, plant, threads);
    }
    if let Some(seed) = arguments.seed {
        let outcome = run_seed(seed, arguments.trace).or_else(|failure| report(&failure))?;
        println!(
            "seed {seed}: settled after {} ms, trace {:016x}\n{}",
            outcome.settled, outcome.hash, outcome.counters
        );
        return Ok(());
    }
    let last_told = Mutex::new(Instant::now());
    let tell = |done: u64| {
        let Ok(mut last) = last_told.lock() else {
            return;
        };
        if last.elapsed() > Duration::from_secs(5) {
            *last = Instant::now();
            eprintln!("{done} of {} seeds", arguments.seeds);
        }
    };
    let seeds = arguments.first..arguments.first.saturating_add(arguments.seeds);
    let summary = run_seeds(seeds, threads, &tell).or_else(|failure| report(&failure))?;
    let seconds = summary.elapsed.as_secs_f64();
    println!("{}", summary.counters);
    println!(
        "{} seeds in {seconds:.1} s: {:.0} seeds/s; the slowest settled after {} simulated s",
        summary.seeds,
        summary.seeds as f64 / seconds,
        summary.settled / 1000
    );
    let missing = summary.counters.missing();
    if summary.seeds >= ENOUGH_SEEDS && !missing.is_empty() {
        bail!("never reached: {}", missing.join(", "));
    }
    Ok(())
}

fn report<T>(failure: &Failure) -> Result<T> {
    bail!(
        "seed {}: {}\nsee it happen: quorate-sim operator --seed {} --trace",
        failure.seed,
        failure.what,
        failure.seed
    )
}

#[cfg(not(feature = "planted-bugs"))]
mod planted {
    use super::{Arguments, Result, bail};

    pub(super) fn run(_: &Arguments, _: &str, _: usize) -> Result<()> {
        bail!("this build has no bugs to plant: build it with --features planted-bugs")
    }
}

#[cfg(feature = "planted-bugs")]
mod planted {
    use quorate_plan::planted::{Bug, plant};
    use quorate_sim::operator::hunt;

    use super::{Arguments, Result, bail, run_seed};

    pub(super) fn run(arguments: &Arguments, name: &str, threads: usize) -> Result<()> {
        let all = name.eq_ignore_ascii_case("all");
        let bugs: Vec<Bug> = Bug::ALL
            .into_iter()
            .filter(|bug| all || format!("{bug:?}") == name)
            .collect();
        if bugs.is_empty() {
            bail!(
                "there is no bug {name}; these are known: all, {:?}",
                Bug::ALL
            );
        }
        if let (Some(seed), [bug]) = (arguments.seed, bugs.as_slice()) {
            plant(Some(*bug));
            let found = run_seed(seed, arguments.trace);
            println!(
                "{bug:?}: {}",
                found
                    .err()
                    .map_or("not found".into(), |failure| failure.what)
            );
            return Ok(());
        }
        let mut missed = Vec::new();
        for bug in bugs {
            let seeds = arguments.first..arguments.first.saturating_add(arguments.seeds);
            match hunt(bug, seeds, threads) {
                (Some(failure), tried) => {
                    let name = format!("{bug:?}");
                    println!(
                        "found {name:<26} in {tried:>5} seeds, by seed {}: {}",
                        failure.seed, failure.what
                    );
                }
                (None, tried) => {
                    println!("MISSED {bug:?} in {tried} seeds");
                    missed.push(format!("{bug:?}"));
                }
            }
        }
        if missed.is_empty() {
            Ok(())
        } else {
            bail!("not found: {}", missed.join(", "))
        }
    }
}
