//! `quorate-sim pools`.

use std::ops::Range;

use quorate_sim::pools::{bugs, run_seed, run_seeds};
use quorate_sim::{Bug, Failure};

use super::Simulation;

/// The operator with pools of several sorts.
#[derive(Debug)]
pub struct Pools;

impl Simulation for Pools {
    const NAME: &str = "pools";

    fn one(seed: u64, trace: bool) -> Result<String, Failure> {
        let outcome = run_seed(seed, trace)?;
        Ok(format!(
            "seed {seed}: settled after {} ms, trace {:016x}\n{}",
            outcome.settled, outcome.hash, outcome.counters
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
            "{}\n{} seeds in {seconds:.1} s: {:.0} seeds/s; the slowest settled after {} simulated s",
            report.counters,
            report.seeds,
            report.seeds as f64 / seconds,
            report.settled / 1000
        );
        Ok((text, report.counters.missing()))
    }

    fn bugs() -> Vec<Bug> {
        bugs()
    }
}
