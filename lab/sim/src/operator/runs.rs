//! One seed, and many on all cores.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::counters::Counters;
use super::world::World;
use crate::seeds::{Bug, Failure, caught, checked, each};

/// How long the world may take to become what is specified, once faults have ended; in milliseconds.
const PATIENCE: i64 = 240_000;

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
    caught(seed, print, || simulate(seed, print))
}

fn simulate(seed: u64, print: bool) -> Result<Outcome, Failure> {
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
            Some(_) if world.beyond_survival || world.founder_is_gone() => settled = Some(0),
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
    let (failed, _) = each(seeds, threads, &|seed| {
        let outcome = checked(seed, || run_seed(seed, false), |outcome| outcome.hash)?;
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

/// The bugs that can be planted in this build.
#[must_use]
pub fn bugs() -> Vec<Bug> {
    #[cfg(not(feature = "planted-bugs"))]
    return Vec::new();
    #[cfg(feature = "planted-bugs")]
    quorate_plan::planted::Bug::ALL
        .into_iter()
        .map(|bug| Bug {
            name: format!("{bug:?}"),
            plant: Box::new(move |here| quorate_plan::planted::plant(here.then_some(bug))),
        })
        .collect()
}
