//! Many seeds on all cores, and what they reached together.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use super::counters::Counters;
use super::world::{Outcome, simulate};

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
    keep_panics_quiet();
    QUIET.set(!print);
    let outcome = catch_unwind(AssertUnwindSafe(|| simulate(seed, print)));
    QUIET.set(false);
    outcome.map_err(|panic| Failure {
        seed,
        what: PANIC.take().unwrap_or_else(|| text(panic.as_ref())),
    })
}

/// Runs seeds on so many threads until one fails. `progress` is told now and then how many are done.
pub fn run_seeds(
    seeds: Range<u64>,
    threads: usize,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Report, Failure> {
    let begun = Instant::now();
    let next = AtomicU64::new(seeds.start);
    let report = Mutex::new(Report::default());
    let failure: Mutex<Option<Failure>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    match run_checked(seed) {
                        Ok(outcome) => {
                            let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
                            report.seeds += 1;
                            report.twice += u64::from(seed.is_multiple_of(TWICE_EVERY));
                            report.events += outcome.events;
                            report.counters.add(&outcome.counters);
                            progress(report.seeds);
                        }
                        Err(failed) => {
                            next.store(seeds.end, Ordering::Relaxed);
                            failure
                                .lock()
                                .unwrap_or_else(PoisonError::into_inner)
                                .get_or_insert(failed);
                        }
                    }
                }
            });
        }
    });
    if let Some(failure) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(failure);
    }
    let mut report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.elapsed = begun.elapsed();
    Ok(report)
}

fn run_checked(seed: u64) -> Result<Outcome, Failure> {
    let outcome = run_seed(seed, false)?;
    if seed.is_multiple_of(TWICE_EVERY) {
        let again = run_seed(seed, false)?;
        if (again.hash, again.events) != (outcome.hash, outcome.events) {
            let what = format!(
                "determinism: two runs of one seed, traces {:x} and {:x}",
                outcome.hash, again.hash
            );
            return Err(Failure { seed, what });
        }
    }
    Ok(outcome)
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A broken property is a panic; it is reported once, with its seed, and not by every thread as it falls.
fn keep_panics_quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let place = info.location().map_or(String::new(), |place| {
                format!(" ({}:{})", place.file(), place.line())
            });
            PANIC.set(Some(format!("{}{place}", text(info.payload()))));
            if !QUIET.get() {
                default(info);
            }
        }));
    });
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
}
