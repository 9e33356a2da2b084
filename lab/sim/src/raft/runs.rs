//! The simulation as any other.

use super::Raft;
use super::counters::{Counters, Reached};
use super::world::simulate;
use crate::runs::{Outcome, Simulation};
use crate::seeds::{Bug, Failure};

impl Simulation for Raft {
    const NAME: &str = "raft";
    const UNIT: &str = "events";
    type Counters = Counters;

    fn simulate(seed: u64, print: bool) -> Result<Outcome<Counters>, Failure> {
        Ok(simulate(seed, print))
    }

    fn missing(counters: &Counters) -> Vec<&'static str> {
        let missing = counters.missing().into_iter();
        missing.map(Reached::text).collect()
    }

    fn bugs() -> Vec<Bug> {
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
}
