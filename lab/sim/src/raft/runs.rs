//! Many seeds on all cores, and what they reached together.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::counters::Counters;
use super::world::{Outcome, simulate};
use crate::seeds::{Bug, Failure, TWICE_EVERY, caught, checked, each};

/// What a run over many seeds came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How many simulations there were (seeds that ran twice count once).
    pub seeds: u64,
    /// How many of them ran twice.
    pub twice: u64,
    /// What they reached.
    pub counters: Counters,
    /// How many events they had.
    pub events: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// Runs one seed.
pub fn run_seed(seed: u64, print: bool) -> Result<Outcome, Failure> {
    caught(seed, print, || Ok(simulate(seed, print)))
}

/// Runs seeds on so many threads until one fails. `progress` is told now and then how many are done.
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
        report.twice += u64::from(seed.is_multiple_of(TWICE_EVERY));
        report.events += outcome.events;
        report.counters.add(&outcome.counters);
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
    {
        let raft = quorate_raft::Bug::ALL.into_iter().map(|bug| Bug {
            name: format!("{bug:?}"),
            plant: Box::new(move |here| quorate_raft::plant(here.then_some(bug))),
        });
        let group = quorate_group_core::Bug::ALL.into_iter().map(|bug| Bug {
            name: format!("{bug:?}"),
            plant: Box::new(move |here| quorate_group_core::plant(here.then_some(bug))),
        });
        raft.chain(group).collect()
    }
}
