use super::*;
use crate::{run_seed, run_seeds};

/// A few seeds in every test run; the thousands are `quorate-sim raft`.
#[test]
fn some_seeds_hold() {
    let report = run_seeds::<Raft>(0..60, 2, &|_| ());
    let report = report.unwrap_or_else(|failure| panic!("seed {}: {}", failure.seed, failure.what));
    assert_eq!(report.seeds, 60);
    assert!(
        report.counters.get(Reached::LeaderChange) > 0,
        "{}",
        report.counters
    );
    assert!(
        report.counters.get(Reached::Written) > 100,
        "{}",
        report.counters
    );
}

#[test]
fn a_seed_determines_everything() {
    for seed in 0..3 {
        let (first, second) = (
            run_seed::<Raft>(seed, false).unwrap(),
            run_seed::<Raft>(seed, false).unwrap(),
        );
        assert_eq!(
            (first.hash, first.length),
            (second.hash, second.length),
            "seed {seed}"
        );
        assert_eq!(first.counters, second.counters, "seed {seed}");
    }
    assert_ne!(
        run_seed::<Raft>(1, false).unwrap().hash,
        run_seed::<Raft>(2, false).unwrap().hash
    );
}

/// Without this a simulation that checks nothing would pass.
#[cfg(feature = "planted-bugs")]
#[test]
fn an_easy_planted_bug_is_found() {
    let bug = <Raft as crate::Simulation>::bugs()
        .into_iter()
        .find(|bug| bug.name == "AckBeforeSync")
        .unwrap();
    let run = |seed| bug.with(|| run_seed::<Raft>(seed, false)).map(drop);
    let (found, _) = crate::each(0..50, 2, &run);
    assert!(found.is_some());
}
