//! Groups of members on a network that loses, repeats and reorders, with crashes that lose what was not synced. The
//! five properties of the paper's figure 3, and the linearizability of reads, are checked at every step; then the
//! faults end and progress is demanded. `SEEDS=n` runs more, `SEED=n` one.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;
mod truth;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

#[cfg(feature = "planted-bugs")]
use quorate_raft::{Bug, plant};
use truth::Reached;
use world::World;

fn run(seed: u64) -> Reached {
    let mut world = World::new(seed);
    for _ in 0..1200 {
        world.fault_or_work();
    }
    world.heal();
    world.reached
}

fn seeds() -> std::ops::Range<u64> {
    let number = |name| {
        std::env::var(name)
            .ok()
            .and_then(|value| value.parse().ok())
    };
    match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(1000),
    }
}

#[test]
fn safe_at_every_step_and_live_when_healed() {
    let mut all = Reached::default();
    for seed in seeds() {
        let reached = catch_unwind(AssertUnwindSafe(|| run(seed)))
            .unwrap_or_else(|_| panic!("SEED={seed} failed"));
        all.leaders += reached.leaders;
        all.commits += reached.commits;
        all.truncations += reached.truncations;
        all.snapshots += reached.snapshots;
        all.joints += reached.joints;
        all.reads += reached.reads;
        all.transfers += reached.transfers;
        all.crashes += reached.crashes;
        all.lost_writes += reached.lost_writes;
    }
    println!("{all:?}");
    let counts = [
        all.leaders,
        all.commits,
        all.truncations,
        all.snapshots,
        all.joints,
        all.reads,
        all.transfers,
        all.crashes,
        all.lost_writes,
    ];
    assert!(
        seeds().count() == 1 || counts.iter().all(|count| *count > 0),
        "something was never reached: {all:?}"
    );
}

/// Each planted bug is found, by the checks here or by an assertion of the core. (A test of its own, not a part of
/// the usual run: the rarest takes some thousand seeds.)
#[cfg(feature = "planted-bugs")]
#[test]
fn planted_bugs_are_found() {
    std::panic::set_hook(Box::new(|_| {}));
    let mut missed = Vec::new();
    for bug in Bug::ALL {
        plant(Some(bug));
        let found = (0..30_000).find(|seed| catch_unwind(AssertUnwindSafe(|| run(*seed))).is_err());
        plant(None);
        println!("{bug:?}: found by seed {found:?}");
        missed.extend(found.is_none().then_some(bug));
    }
    drop(std::panic::take_hook());
    assert!(missed.is_empty(), "not found: {missed:?}");
}
