//! Bugs are planted, and must be found: in a build of its own (`--features planted-bugs`).

use std::ops::Range;
use std::path::Path;

use anyhow::{Result, bail};
use quorate_sim::{Bug, Failure, Simulation, each, run_seed};

use super::Arguments;
use super::recorded::Recorded;

/// Looks for the bug of this name, or for all, among these seeds; or first of all with the seed that found it before.
pub fn hunt<S: Simulation>(
    arguments: &Arguments,
    name: &str,
    seeds: &Range<u64>,
    threads: usize,
) -> Result<()> {
    let known = S::bugs();
    if known.is_empty() {
        bail!("this build has no bugs to plant: build it with --features planted-bugs");
    }
    let wanted = |bug: &&Bug| name == "all" || bug.name.eq_ignore_ascii_case(name);
    let bugs: Vec<&Bug> = known.iter().filter(wanted).collect();
    if bugs.is_empty() {
        bail!("there is no bug {name}; these are known: all, {known:?}");
    }
    if let (Some(seed), [bug]) = (arguments.seed, bugs.as_slice()) {
        match with::<S>(bug, seed, arguments.trace) {
            Err(failure) => println!("{bug:?}: {}", failure.what),
            Ok(()) => println!("{bug:?}: not found"),
        }
        return Ok(());
    }
    let mut recorded = match (&arguments.recorded, &arguments.record) {
        (Some(file), _) => Recorded::read(file)?,
        (None, Some(file)) if file.exists() => Recorded::read(file)?,
        (None, _) => Recorded::default(),
    };
    let order: Vec<&str> = known.iter().map(|bug| bug.name.as_str()).collect();
    let (mut missed, mut stale) = (Vec::new(), Vec::new());
    for bug in bugs {
        let name = bug.name.as_str();
        if let Some(seed) = recorded.seed(name)
            && arguments.record.is_none()
        {
            if let Err(Failure { seed, what }) = with::<S>(bug, seed, false) {
                println!("found {name:<34} by seed {seed}, as recorded: {what}");
                continue;
            }
            stale.push(name);
        }
        match each(seeds.clone(), threads, &|seed| with::<S>(bug, seed, false)) {
            (Some(Failure { seed, what }), tried) => {
                println!("found {name:<34} in {tried:>5} seeds, by seed {seed}: {what}");
                recorded.set(name, seed);
                if let Some(file) = &arguments.record {
                    recorded.write(file, &order)?;
                }
            }
            (None, tried) => {
                println!("MISSED {name} in {tried} seeds");
                missed.push(name);
            }
        }
    }
    if let Some(file) = &arguments.recorded
        && !stale.is_empty()
    {
        let (stale, words) = (stale.join(", "), how_to_record::<S>(file));
        eprintln!("found by other seeds than recorded: {stale}\n{words}");
    }
    if missed.is_empty() {
        return Ok(());
    }
    let missed = missed.join(", ");
    match &arguments.recorded {
        Some(file) => bail!(
            "not found: {missed}; the seeds may only have shifted\n{}",
            how_to_record::<S>(file)
        ),
        None => bail!("not found: {missed}"),
    }
}

/// Runs a seed with the bug in place.
fn with<S: Simulation>(bug: &Bug, seed: u64, trace: bool) -> Result<(), Failure> {
    bug.with(|| run_seed::<S>(seed, trace)).map(drop)
}

fn how_to_record<S: Simulation>(file: &Path) -> String {
    format!(
        "record them anew: cargo run --release --bin quorate-sim --features quorate-sim/planted-bugs -- {} --plant all --seeds 40000 --record {}",
        S::NAME,
        file.display()
    )
}
