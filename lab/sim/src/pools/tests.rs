use super::*;

/// A few seeds in every test run; the thousands are `quorate-sim pools`.
#[test]
fn some_seeds_hold_and_a_seed_determines_everything() {
    let report = run_seeds(0..24, 2, &|_| ());
    let report = report.unwrap_or_else(|failure| panic!("seed {}: {}", failure.seed, failure.what));
    assert_eq!(report.seeds, 24);
    for seed in 0..2 {
        let (first, second) = (run_seed(seed, false), run_seed(seed, false));
        assert_eq!(first.unwrap().hash, second.unwrap().hash, "seed {seed}");
    }
}

/// Without this a simulation that checks nothing would pass.
#[cfg(feature = "planted-bugs")]
#[test]
fn planted_bugs_are_found() {
    for bug in bugs() {
        let run = |seed| bug.with(|| run_seed(seed, false)).map(drop);
        assert!(crate::each(0..200, 2, &run).0.is_some(), "{bug:?}");
    }
}
