//! `quorate-sim raft`, `operator` and `pools`: what they are asked, and what they print.

mod hunt;
mod recorded;

use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use quorate_sim::{Failure, Simulation, run_seed, run_seeds};

use hunt::hunt;

/// With so many seeds everything that is counted must have been reached.
const ENOUGH_SEEDS: u64 = 1000;

/// What to run.
#[derive(Debug, clap::Args)]
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
    /// Look for each bug with the seed that this file names first, and then among the others (with --plant).
    #[arg(long, value_name = "FILE", requires = "plant")]
    recorded: Option<PathBuf>,
    /// Write down in this file which seed found which bug (with --plant).
    #[arg(
        long,
        value_name = "FILE",
        requires = "plant",
        conflicts_with = "recorded"
    )]
    record: Option<PathBuf>,
}

/// Runs it; an error when a property does not hold.
pub fn run<S: Simulation>(arguments: &Arguments) -> Result<()> {
    let threads = arguments
        .threads
        .unwrap_or_else(|| available_parallelism().map_or(1, NonZero::get));
    let seeds = arguments.first..arguments.first.saturating_add(arguments.seeds);
    if let Some(name) = &arguments.plant {
        return hunt::<S>(arguments, name, &seeds, threads);
    }
    if let Some(seed) = arguments.seed {
        let outcome = run_seed::<S>(seed, arguments.trace).or_else(broken::<S, _>)?;
        let (length, hash) = (outcome.length, outcome.hash);
        println!("seed {seed}: {length} {}, trace {hash:016x}", S::UNIT);
        println!("{}", outcome.counters);
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
    let report = run_seeds::<S>(seeds, threads, &tell).or_else(broken::<S, _>)?;
    let (length, longest) = (report.length, report.longest);
    println!("{report}; {length} {}, {longest} in the longest", S::UNIT);
    let missing = S::missing(&report.counters);
    if arguments.seeds >= ENOUGH_SEEDS && !missing.is_empty() {
        bail!("never reached: {}", missing.join(", "));
    }
    Ok(())
}

fn broken<S: Simulation, T>(Failure { seed, what }: Failure) -> Result<T> {
    let name = S::NAME;
    bail!("seed {seed}: {what}\nsee it happen: quorate-sim {name} --seed {seed} --trace")
}
