//! One seed, and what a long run must reach.

use quorate_plan::Action;

use super::world::World;
use super::{Operator, kind};
use crate::counters::Counters;
use crate::runs::{Outcome, Simulation};
use crate::seeds::{Bug, Failure};

/// How long the world may take to become what is specified, once faults have ended; in milliseconds.
const PATIENCE: i64 = 240_000;

/// Beside every action, every request and every refusal of the kind.
const OTHERS: [&str; 34] = [
    "Apply",
    "WriteStatus",
    "Emit",
    "operator killed between two effects",
    "stale observation",
    "status write in conflict",
    "member request lost",
    "member request delivered again later",
    "answer of a member lost",
    "crash",
    "eviction",
    "pod failed",
    "disk lost",
    "disk wiped under its claim",
    "disk damaged",
    "founder's disk lost",
    "member silent",
    "all members silent",
    "member cut off",
    "member slow",
    "member busy",
    "status lost",
    "status lost while the group is silent",
    "StatefulSet scaled by hand",
    "learner added by hand",
    "edit: scale",
    "edit: version",
    "edit: broken version",
    "edit: pause",
    "edit: larger volumes",
    "growth denied",
    "edited or deleted without a StatefulSet",
    "deleted and made anew",
    "converged",
];

impl Simulation for Operator {
    const NAME: &str = "operator";
    const UNIT: &str = "simulated ms to settle";
    type Counters = Counters;

    fn simulate(seed: u64, print: bool) -> Result<Outcome<Counters>, Failure> {
        let mut world = World::new(seed, print);
        let end = world.calm_from + PATIENCE;
        let mut settled = None;
        while settled.is_none() {
            world.tick();
            if let Some(what) = world.broken.take() {
                if print {
                    println!("{}", world.scene());
                }
                return Err(Failure { seed, what });
            }
            if world.faults_allowed() {
                continue;
            }
            let missing = if world.user.is_content() {
                world.missing()
            } else {
                Some("the user is not content".into())
            };
            match missing {
                None => {
                    world.counters.add("converged");
                    settled = Some(world.now - world.calm_from);
                }
                Some(_) if world.beyond_survival || world.founder_is_gone() => settled = Some(0),
                Some(missing) if world.now > end => {
                    if print {
                        println!("{}", world.scene());
                    }
                    return Err(Failure {
                        seed,
                        what: format!("it does not end as specified: {missing} ({})", world.said()),
                    });
                }
                Some(_) => {}
            }
        }
        world.count_group();
        Ok(Outcome {
            hash: world.hash(),
            length: settled.unwrap_or(0).unsigned_abs(),
            counters: world.counters,
        })
    }

    fn missing(counters: &Counters) -> Vec<&'static str> {
        let refusals = kind().refusals().iter().map(|refusal| refusal.name());
        let requests = kind().requests().iter().copied();
        let acts = Action::NAMES.into_iter().chain(requests);
        counters.without(acts.chain(refusals).chain(OTHERS))
    }

    fn bugs() -> Vec<Bug> {
        #[cfg(not(feature = "planted-bugs"))]
        return Vec::new();
        #[cfg(feature = "planted-bugs")]
        quorate_plan::planted::Bug::ALL
            .into_iter()
            .map(|bug| Bug {
                name: format!("{bug:?}"),
                plant: Box::new(move |here| quorate_plan::planted::plant(here.then_some(bug))),
            })
            .collect()
    }
}
