//! One seed, and many on all cores, whatever is simulated.

use std::fmt::{self, Display};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::seeds::{Bug, Failure, TWICE_EVERY, caught, checked, each};

/// How often each thing happened.
pub trait Count: Default + Display + Send {
    /// Adds those of another seed.
    fn merge(&mut self, other: &Self);
}

/// Something that is simulated.
pub trait Simulation {
    /// The subcommand.
    const NAME: &str;
    /// What the length of a simulation is counted in.
    const UNIT: &str;
    /// What it counts.
    type Counters: Count;

    /// Runs one seed to its end. Where a property does not hold it may panic as well.
    ///
    /// # Errors
    /// The first property that does not hold.
    fn simulate(seed: u64, print: bool) -> Result<Outcome<Self::Counters>, Failure>;

    /// Everything that a long run must have reached and this one did not.
    fn missing(counters: &Self::Counters) -> Vec<&'static str>;

    /// The bugs that can be planted in this build.
    fn bugs() -> Vec<Bug>;
}

/// What one seed came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome<C> {
    /// What it reached.
    pub counters: C,
    /// The fingerprint of its trace.
    pub hash: u64,
    /// How long it took.
    pub length: u64,
}

/// What many seeds came to.
#[derive(Clone, Debug, Default)]
pub struct Report<C> {
    /// How many there were; one that ran twice counts once.
    pub seeds: u64,
    /// How many of them ran twice.
    pub twice: u64,
    /// What they reached.
    pub counters: C,
    /// How long they took together, and the longest of them.
    pub length: u64,
    /// See above.
    pub longest: u64,
    /// How long the run took.
    pub elapsed: Duration,
}

/// Runs one seed.
///
/// # Errors
/// The first property that does not hold.
pub fn run_seed<S: Simulation>(seed: u64, print: bool) -> Result<Outcome<S::Counters>, Failure> {
    caught(seed, print, || S::simulate(seed, print))
}

/// Runs seeds on so many threads until one fails. `progress` is told how many are done.
///
/// # Errors
/// The first property that does not hold.
pub fn run_seeds<S: Simulation>(
    seeds: Range<u64>,
    threads: usize,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Report<S::Counters>, Failure> {
    let begun = Instant::now();
    let report = Mutex::new(Report::<S::Counters>::default());
    let (failed, _) = each(seeds, threads, &|seed| {
        let outcome = checked(seed, || run_seed::<S>(seed, false), |outcome| outcome.hash)?;
        let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
        report.seeds += 1;
        report.twice += u64::from(seed.is_multiple_of(TWICE_EVERY));
        report.length += outcome.length;
        report.longest = report.longest.max(outcome.length);
        report.counters.merge(&outcome.counters);
        progress(report.seeds);
        Ok(())
    });
    match failed {
        Some(failure) => Err(failure),
        None => Ok(Report {
            elapsed: begun.elapsed(),
            ..report.into_inner().unwrap_or_else(PoisonError::into_inner)
        }),
    }
}

impl<C: Display> Display for Report<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        write!(
            f,
            "{}\n{} seeds ({} of them twice, with equal traces) in {seconds:.1} s: {:.0} seeds/s",
            self.counters,
            self.seeds,
            self.twice,
            self.seeds as f64 / seconds
        )
    }
}
