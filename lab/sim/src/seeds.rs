//! One seed after the other on all cores, until one breaks a property.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once, PoisonError};

/// Each of so many seeds is run twice, and both must have the same trace.
pub(crate) const TWICE_EVERY: u64 = 50;

/// A seed that broke a property.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// Which property, and how.
    pub what: String,
}

/// A bug planted on purpose: it must be found, or the simulation looks for the wrong things.
pub struct Bug {
    /// Its name.
    pub name: String,
    /// Puts it in place on this thread (true), or takes it away again.
    pub(crate) plant: Box<dyn Fn(bool) + Send + Sync>,
}

impl std::fmt::Debug for Bug {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl Bug {
    /// Runs something on this thread with the bug in place.
    pub fn with<T>(&self, run: impl FnOnce() -> T) -> T {
        (self.plant)(true);
        let done = run();
        (self.plant)(false);
        done
    }
}

/// Runs seeds on so many threads until one fails; answers that failure, and how many were begun.
pub fn each(
    seeds: Range<u64>,
    threads: usize,
    run: &(dyn Fn(u64) -> Result<(), Failure> + Sync),
) -> (Option<Failure>, u64) {
    let next = AtomicU64::new(seeds.start);
    let failure: Mutex<Option<Failure>> = Mutex::new(None);
    let found = || failure.lock().unwrap_or_else(PoisonError::into_inner);
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while found().is_none() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    if let Err(failed) = run(seed) {
                        found().get_or_insert(failed);
                    }
                }
            });
        }
    });
    let begun = next.load(Ordering::Relaxed).min(seeds.end) - seeds.start;
    (
        failure.into_inner().unwrap_or_else(PoisonError::into_inner),
        begun,
    )
}

/// Runs a seed, now and then twice: then both must have left the same trace.
pub(crate) fn checked<T>(
    seed: u64,
    run: impl Fn() -> Result<T, Failure>,
    trace: impl Fn(&T) -> u64,
) -> Result<T, Failure> {
    let outcome = run()?;
    if seed.is_multiple_of(TWICE_EVERY) {
        let (first, second) = (trace(&outcome), trace(&run()?));
        if first != second {
            let what =
                format!("determinism: two runs of one seed, traces {first:016x} and {second:016x}");
            return Err(Failure { seed, what });
        }
    }
    Ok(outcome)
}

/// Runs a seed; a panic is a broken property too, and reported once, with its seed, not by every thread as it falls.
pub(crate) fn caught<T>(
    seed: u64,
    print: bool,
    run: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    keep_panics_quiet();
    QUIET.set(!print);
    let outcome = catch_unwind(AssertUnwindSafe(run));
    QUIET.set(false);
    outcome.unwrap_or_else(|panic| {
        let what = PANIC.take().unwrap_or_else(|| text(panic.as_ref()));
        Err(Failure { seed, what })
    })
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

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

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn the_first_failure_ends_the_run() {
        let run = |seed| match seed {
            7 => Err(Failure {
                seed,
                what: "seven".into(),
            }),
            _ => Ok(()),
        };
        assert_eq!(each(0..7, 2, &run).1, 7);
        let (failure, begun) = each(0..1000, 2, &run);
        assert_eq!(failure.unwrap().seed, 7);
        assert!((8..1000).contains(&begun), "{begun}");
    }

    #[test]
    fn a_seed_with_two_traces_is_found() {
        let traces = Cell::new(0);
        let run = || Ok(traces.replace(traces.get() + 1));
        assert!(checked(1, run, |trace| *trace).is_ok());
        assert!(checked(TWICE_EVERY, run, |trace| *trace).is_err());
        assert!(checked(TWICE_EVERY, || Ok(3), |trace| *trace).is_ok());
    }

    #[test]
    fn a_panic_is_a_failure_with_its_seed_and_place() {
        let broken: Result<(), _> = caught(9, false, || panic!("two leaders"));
        let failure = broken.unwrap_err();
        assert_eq!(failure.seed, 9);
        assert!(failure.what.starts_with("two leaders (") && failure.what.contains("seeds.rs"));
    }
}
