//! One seed, and what a long run must reach.

use quorate_plan::testing::all;
use quorate_plan::{AnyKind, Refusal};

use super::Pools;
use super::world::World;
use crate::counters::Counters;
use crate::runs::{Outcome, Simulation};
use crate::seeds::{Bug, Failure};

/// How long the world may take to become what is specified, once faults have ended; in milliseconds.
pub(super) const PATIENCE: i64 = 240_000;

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

impl Simulation for Pools {
    const NAME: &str = "pools";
    const UNIT: &str = "simulated ms to settle";
    type Counters = Counters;

    /// One after another the seeds have each kind that there is, those that are for tests too.
    fn simulate(seed: u64, print: bool) -> Result<Outcome<Counters>, Failure> {
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
            length: (world.now - world.calm_from).unsigned_abs(),
            counters: world.counters,
        })
    }

    fn missing(counters: &Counters) -> Vec<&'static str> {
        let refusals = all().flat_map(AnyKind::refusals);
        let refusals = refusals.map(|refusal| refusal.name());
        let requests = all().flat_map(AnyKind::requests).copied();
        let kinds = all().map(|kind| kind.names().kind.as_str());
        let demanded = kinds.chain(requests).chain(refusals).chain(OTHERS);
        counters.without(demanded.filter(|what| !ELSEWHERE.contains(what)))
    }

    fn bugs() -> Vec<Bug> {
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
}
