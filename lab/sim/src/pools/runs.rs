//! One seed, and many on all cores.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use quorate_plan::testing::all;
use quorate_plan::{AnyKind, Refusal};

use super::world::World;
use crate::seeds::{Bug, Failure, caught, checked, each};

/// How long the world may take to become what is specified, once faults have ended; in milliseconds.
pub(super) const PATIENCE: i64 = 240_000;

/// How often each thing happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters(BTreeMap<&'static str, u64>);

/// Beside every kind that came to what was specified, and every request and refusal that needs no other fault than those here.
const OTHERS: [&str; 16] = [
    "Apply",
    "DeletePod",
    "MarkClaim",
    "operator killed between two effects",
    "member request lost",
    "answer of a member lost",
    "crash",
    "eviction",
    "member silent",
    "member busy",
    "edit: scale",
    "edit: version",
    "edit: broken version",
    "edit: back to what works",
    "edit: pause",
    "deleted",
];

/// Those that need a lost or damaged disk, another hand, an earlier resource or much luck; `operator` reaches them.
const ELSEWHERE: [&str; 4] = [
    Refusal::ForeignClaim.name(),
    Refusal::GroupKnown.name(),
    Refusal::ChangeInFlight.name(),
    "SetAside",
];

impl Counters {
    pub(super) fn add(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    /// Adds those of another seed.
    pub fn merge(&mut self, other: &Counters) {
        for (what, count) in &other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }

    /// Everything that a long run must have reached and this one did not.
    pub fn missing(&self) -> Vec<&'static str> {
        let refusals = all().flat_map(AnyKind::refusals);
        let refusals = refusals.map(|refusal| refusal.name());
        let requests = all().flat_map(AnyKind::requests).copied();
        let kinds = all().map(|kind| kind.names().kind.as_str());
        let demanded = kinds.chain(requests).chain(refusals).chain(OTHERS);
        let reached = |what: &&str| self.0.contains_key(what) || ELSEWHERE.contains(what);
        let missing: BTreeSet<_> = demanded.filter(|what| !reached(what)).collect();
        missing.into_iter().collect()
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, count) in &self.0 {
            writeln!(f, "{count:>12}  {what}")?;
        }
        Ok(())
    }
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

/// Runs one seed: one after another the seeds have each kind that there is, those that are for tests too.
///
/// # Errors
/// The first property that does not hold.
pub fn run_seed(seed: u64, print: bool) -> Result<Outcome, Failure> {
    caught(seed, print, || simulate(seed, print))
}

fn simulate(seed: u64, print: bool) -> Result<Outcome, Failure> {
    let kinds: Vec<_> = all().collect();
    let kind = kinds[usize::try_from(seed).unwrap_or(0) % kinds.len()];
    let mut world = World::new(kind, seed, print);
    let end = world.calm_from + PATIENCE;
    loop {
        world.tick();
        if let Some(what) = world.broken.take() {
            return Err(Failure { seed, what });
        }
        if world.faults_allowed() || !world.user.is_content() {
            continue;
        }
        let Some(missing) = world.missing() else {
            break;
        };
        if world.now > end {
            let what = format!("it does not end as specified: {missing} ({})", world.said());
            return Err(Failure { seed, what });
        }
    }
    world.count(&kind.names().kind);
    Ok(Outcome {
        hash: world.hash,
        settled: world.now - world.calm_from,
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

/// The bugs that can be planted in this build, and that these kinds can have.
#[must_use]
pub fn bugs() -> Vec<Bug> {
    #[cfg(not(feature = "planted-bugs"))]
    return Vec::new();
    #[cfg(feature = "planted-bugs")]
    {
        use quorate_plan::planted::{Bug as Planted, plant};
        let own = [
            Planted::NoFence,
            Planted::UpgradesTwoAtOnce,
            Planted::ScaleInShrinksFirst,
            Planted::RestartIgnoresLag,
        ];
        let bug = |bug| Bug {
            name: format!("{bug:?}"),
            plant: Box::new(move |here| plant(here.then_some(bug))),
        };
        own.into_iter().map(bug).collect()
    }
}
