//! `quorate-sim raft`, `operator` and `pools`: what they are asked, and what they print.

mod hunt;
mod operator;
mod pools;
mod raft;
mod recorded;

use std::num::NonZero;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use quorate_sim::{Bug, Failure};

use hunt::hunt;

pub use operator::Operator;
pub use pools::Pools;
pub use raft::Raft;

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

/// A simulation, as the command needs it.
pub trait Simulation {
    /// The subcommand.
    const NAME: &str;

    /// Runs one seed; answers what to say of it.
    fn one(seed: u64, trace: bool) -> Result<String, Failure>;

    /// Runs many; answers what to say of them, and what they never reached.
    fn many(
        seeds: Range<u64>,
        threads: usize,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(String, Vec<&'static str>), Failure>;

    /// The bugs that can be planted.
    fn bugs() -> Vec<Bug>;
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
        println!("{}", S::one(seed, arguments.trace).or_else(broken::<S, _>)?);
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
    let (text, missing) = S::many(seeds, threads, &tell).or_else(broken::<S, _>)?;
    println!("{text}");
    if arguments.seeds >= ENOUGH_SEEDS && !missing.is_empty() {
        bail!("never reached: {}", missing.join(", "));
    }
    Ok(())
}

fn broken<S: Simulation, T>(Failure { seed, what }: Failure) -> Result<T> {
    let name = S::NAME;
    bail!("seed {seed}: {what}\nsee it happen: quorate-sim {name} --seed {seed} --trace")
}
