//! `quorate-sim raft`.

use std::num::NonZero;
use std::sync::Mutex;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use quorate_sim::raft::{Failure, Report, run_seed, run_seeds};

/// With so many seeds everything that is counted must have been reached.
const ENOUGH_SEEDS: u64 = 1000;

/// What to run.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  quorate-sim raft --seeds 10000\n  quorate-sim raft --seed 4711 --trace"
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
        let outcome =
            run_seed(seed, arguments.trace).or_else(|failure| report_failure(&failure))?;
        println!(
            "seed {seed}: {} events, trace {:016x}\n{}",
            outcome.events, outcome.hash, outcome.counters
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
    let report = run_seeds(seeds, threads, &tell).or_else(|failure| report_failure(&failure))?;
    print(&report);
    let missing = report.counters.missing();
    if report.seeds >= ENOUGH_SEEDS && !missing.is_empty() {
        let missing: Vec<&str> = missing.into_iter().map(|what| what.text()).collect();
        bail!("never reached: {}", missing.join(", "));
    }
    Ok(())
}

fn print(report: &Report) {
    let seconds = report.elapsed.as_secs_f64();
    println!("{}", report.counters);
    println!(
        "{} seeds ({} of them twice, with equal traces), {} events in {seconds:.1} s: {:.0} seeds/s",
        report.seeds,
        report.twice,
        report.events,
        report.seeds as f64 / seconds
    );
}

fn report_failure<T>(failure: &Failure) -> Result<T> {
    bail!(
        "seed {}: {}\nsee it happen: quorate-sim raft --seed {} --trace",
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
    use quorate_sim::raft::{Plant, hunt};

    use super::{Arguments, Result, bail, run_seed};

    pub(super) fn run(arguments: &Arguments, name: &str, threads: usize) -> Result<()> {
        let all = name.eq_ignore_ascii_case("all");
        let plants = if all {
            Plant::all()
        } else {
            Plant::named(name).into_iter().collect()
        };
        if plants.is_empty() {
            let known: Vec<String> = Plant::all().into_iter().map(Plant::name).collect();
            bail!(
                "there is no bug {name}; these are known: all, {}",
                known.join(", ")
            );
        }
        if let (Some(seed), [plant]) = (arguments.seed, plants.as_slice()) {
            let found = plant.with(|| run_seed(seed, arguments.trace));
            println!(
                "{}: {}",
                plant.name(),
                found
                    .err()
                    .map_or("not found".into(), |failure| failure.what)
            );
            return Ok(());
        }
        let mut missed = Vec::new();
        for plant in plants {
            let seeds = arguments.first..arguments.first.saturating_add(arguments.seeds);
            match hunt(plant, seeds, threads) {
                (Some(failure), tried) => {
                    println!(
                        "found {:<34} in {tried:>5} seeds, by seed {}: {}",
                        plant.name(),
                        failure.seed,
                        failure.what
                    );
                }
                (None, tried) => {
                    println!("MISSED {} in {tried} seeds", plant.name());
                    missed.push(plant.name());
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
