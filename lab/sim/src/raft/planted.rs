//! Bugs planted on purpose: each must be found, or the simulation looks for the wrong things.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use super::runs::{Failure, run_seed};

/// A known bug of one of the crates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// In the consensus core.
    Raft(quorate_raft::Bug),
    /// In the group.
    Group(quorate_group_core::Bug),
}

impl Plant {
    /// All of them.
    pub fn all() -> Vec<Plant> {
        let raft = quorate_raft::Bug::ALL.into_iter().map(Plant::Raft);
        raft.chain(quorate_group_core::Bug::ALL.into_iter().map(Plant::Group))
            .collect()
    }

    /// Its name.
    pub fn name(self) -> String {
        match self {
            Plant::Raft(bug) => format!("{bug:?}"),
            Plant::Group(bug) => format!("{bug:?}"),
        }
    }

    /// The bug of that name.
    pub fn named(name: &str) -> Option<Plant> {
        Plant::all()
            .into_iter()
            .find(|plant| plant.name().eq_ignore_ascii_case(name))
    }

    /// Runs something on this thread with the bug in place.
    pub fn with<T>(self, act: impl FnOnce() -> T) -> T {
        match self {
            Plant::Raft(bug) => quorate_raft::plant(Some(bug)),
            Plant::Group(bug) => quorate_group_core::plant(Some(bug)),
        }
        let done = act();
        quorate_raft::plant(None);
        quorate_group_core::plant(None);
        done
    }
}

/// Runs seeds with a bug in place until one fails; answers it, and how many seeds were tried.
pub fn hunt(plant: Plant, seeds: Range<u64>, threads: usize) -> (Option<Failure>, u64) {
    let next = AtomicU64::new(seeds.start);
    let found: Mutex<Option<Failure>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end
                        || found
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .is_some()
                    {
                        return;
                    }
                    if let Err(failure) = plant.with(|| run_seed(seed, false)) {
                        found
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .get_or_insert(failure);
                    }
                }
            });
        }
    });
    let tried = next.load(Ordering::Relaxed).min(seeds.end) - seeds.start;
    (
        found.into_inner().unwrap_or_else(PoisonError::into_inner),
        tried,
    )
}
