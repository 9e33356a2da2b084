//! One seed, and many on all cores.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::counters::Counters;
use super::world::World;

/// How long the world may take to become what is specified, once faults have ended; in milliseconds.
const PATIENCE: i64 = 240_000;

/// Each of so many seeds is run twice, and both must have the same trace.
const TWICE_EVERY: u64 = 50;

/// A seed that broke a property.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// Which property, and how.
    pub what: String,
}

/// What one seed came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What it reached.
    pub counters: Counters,
    /// The fingerprint of its trace.
    pub hash: u64,
    /// How long it took to become what is specified after faults had ended, in simulated milliseconds.
    pub settled: i64,
}

/// What many seeds came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How many there were.
    pub seeds: u64,
    /// What they reached.
    pub counters: Counters,
    /// The longest time that one took to settle, in simulated milliseconds.
    pub settled: i64,
    /// How long the run took.
    pub elapsed: Duration,
}

/// Runs one seed.
///
/// # Errors
/// The first property that does not hold.
pub fn run_seed(seed: u64, print: bool) -> Result<Outcome, Failure> {
    let mut world = World::new(seed, print);
    let end = world.calm_from + PATIENCE;
    let mut settled = None;
    while settled.is_none() {
        world.tick();
        if let Some(what) = world.broken.take() {
            if print {
                println!("{}", world.scene());
            }
            return Err(Failure { seed, what });
        }
        if world.faults_allowed() {
            continue;
        }
        let missing = if world.user.is_content() {
            world.missing()
        } else {
            Some("the user is not content".into())
        };
        match missing {
            None => {
                world.counters.add("converged");
                settled = Some(world.now - world.calm_from);
            }
            Some(_) if world.beyond_survival => settled = Some(0),
            Some(missing) if world.now > end => {
                if print {
                    println!("{}", world.scene());
                }
                return Err(Failure {
                    seed,
                    what: format!("it does not end as specified: {missing} ({})", world.said()),
                });
            }
            Some(_) => {}
        }
    }
    world.count_group();
    Ok(Outcome {
        hash: world.hash(),
        settled: settled.unwrap_or(0),
        counters: world.counters,
    })
}

fn run_checked(seed: u64) -> Result<Outcome, Failure> {
    let outcome = run_seed(seed, false)?;
    if seed.is_multiple_of(TWICE_EVERY) && run_seed(seed, false)?.hash != outcome.hash {
        return Err(Failure {
            seed,
            what: "two runs of one seed have different traces".into(),
        });
    }
    Ok(outcome)
}

/// Runs seeds on so many threads until one fails. `progress` is told how many are done.
///
/// # Errors
/// The first property that does not hold.
pub fn run_seeds(
    seeds: Range<u64>,
    threads: usize,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Report, Failure> {
    let begun = Instant::now();
    let report = Mutex::new(Report::default());
    let failed = each(seeds, threads, &|seed| {
        let outcome = run_checked(seed)?;
        let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
        report.seeds += 1;
        report.settled = report.settled.max(outcome.settled);
        report.counters.merge(&outcome.counters);
        progress(report.seeds);
        Ok(())
    });
    match failed {
        Some(failure) => Err(failure),
        None => {
            let report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
            Ok(Report {
                elapsed: begun.elapsed(),
                ..report
            })
        }
    }
}

/// Runs seeds with a bug in place until it is found; says by which, and how many were tried.
#[cfg(feature = "planted-bugs")]
pub fn hunt(
    bug: quorate_plan::planted::Bug,
    seeds: Range<u64>,
    threads: usize,
) -> (Option<Failure>, u64) {
    let tried = AtomicU64::new(0);
    let found = each(seeds, threads, &|seed| {
        tried.fetch_add(1, Ordering::Relaxed);
        quorate_plan::planted::plant(Some(bug));
        let outcome = run_seed(seed, false);
        quorate_plan::planted::plant(None);
        outcome.map(|_| ())
    });
    (found, tried.into_inner())
}

/// The first failure of any thread.
fn each(
    seeds: Range<u64>,
    threads: usize,
    run: &(dyn Fn(u64) -> Result<(), Failure> + Sync),
) -> Option<Failure> {
    let next = AtomicU64::new(seeds.start);
    let failure: Mutex<Option<Failure>> = Mutex::new(None);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            if let Err(failed) = run(seed) {
                next.store(seeds.end, Ordering::Relaxed);
                failure
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .get_or_insert(failed);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(work);
        }
    });
    failure.into_inner().unwrap_or_else(PoisonError::into_inner)
}
