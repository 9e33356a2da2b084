//! `quorate-sim raft`.

use std::ops::Range;

use quorate_sim::raft::{Reached, bugs, run_seed, run_seeds};
use quorate_sim::{Bug, Failure};

use super::Simulation;

/// A raft group of whole members.
#[derive(Debug)]
pub struct Raft;

impl Simulation for Raft {
    const NAME: &str = "raft";

    fn one(seed: u64, trace: bool) -> Result<String, Failure> {
        let outcome = run_seed(seed, trace)?;
        Ok(format!(
            "seed {seed}: {} events, trace {:016x}\n{}",
            outcome.events, outcome.hash, outcome.counters
        ))
    }

    fn many(
        seeds: Range<u64>,
        threads: usize,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(String, Vec<&'static str>), Failure> {
        let report = run_seeds(seeds, threads, progress)?;
        let seconds = report.elapsed.as_secs_f64();
        let text = format!(
            "{}\n{} seeds ({} of them twice, with equal traces), {} events in {seconds:.1} s: {:.0} seeds/s",
            report.counters,
            report.seeds,
            report.twice,
            report.events,
            report.seeds as f64 / seconds
        );
        let missing = report.counters.missing().into_iter();
        Ok((text, missing.map(Reached::text).collect()))
    }

    fn bugs() -> Vec<Bug> {
        bugs()
    }
}
