//! What the operator must do for every kind there is: each in a thread of its own.

mod drift;
mod failures;
mod traces;

use fastrand::Rng;
use quorate_plan::AnyKind;
use quorate_plan::testing::{all, example};
use serde_json::{Map, Value, json};

use super::runs::PATIENCE;
use super::user::User;
use super::world::World;
use super::*;
use crate::{run_seed, run_seeds};

/// Nothing is under way when the operator has written nothing for so long: it looks once a second.
const QUIET: i64 = 3_000;

/// A few seeds in every test run; the thousands are `quorate-sim pools`.
#[test]
fn some_seeds_hold_and_a_seed_determines_everything() {
    let report = run_seeds::<Pools>(0..24, 2, &|_| ());
    let report = report.unwrap_or_else(|failure| panic!("seed {}: {}", failure.seed, failure.what));
    assert_eq!(report.seeds, 24);
    for seed in 0..3 {
        let (first, second) = (
            run_seed::<Pools>(seed, false),
            run_seed::<Pools>(seed, false),
        );
        assert_eq!(first.unwrap().hash, second.unwrap().hash, "seed {seed}");
    }
}

/// Without this a simulation that checks nothing would pass.
#[cfg(feature = "planted-bugs")]
#[test]
fn planted_bugs_are_found() {
    for bug in <Pools as crate::Simulation>::bugs() {
        let run = |seed| bug.with(|| run_seed::<Pools>(seed, false)).map(drop);
        assert!(crate::each(0..300, 2, &run).0.is_some(), "{bug:?}");
    }
}

fn of_every_kind(run: fn(&'static dyn AnyKind)) {
    std::thread::scope(|scope| {
        for kind in all() {
            scope.spawn(move || run(kind));
        }
    });
}

impl World {
    /// A resource that was just made, with the second smallest number of members in each pool.
    fn made(kind: &'static dyn AnyKind) -> Self {
        let example = example(kind);
        let members = example.pools.iter().map(|pool| pool.members[1]).collect();
        World::of(kind, User::asks_for(example, members), Rng::with_seed(1))
    }

    /// Time goes on until all is as specified and nothing is under way.
    fn settle(&mut self) -> Result<(), String> {
        let end = self.now + PATIENCE;
        loop {
            self.tick();
            if let Some(broken) = self.broken.take() {
                return Err(broken);
            }
            match self.missing() {
                None if self.last_write + QUIET < self.now => return Ok(()),
                Some(missing) if self.now > end => return Err(missing),
                None if self.now > end => return Err("the operator comes to no rest".into()),
                _ => {}
            }
        }
    }

    /// Everything that does not tell one way to the same end from another.
    fn view(&self) -> Value {
        let api = &self.api;
        let conditions = api.resource["status"]["conditions"].as_array();
        let conditions = conditions.into_iter().flatten().map(|condition| {
            let said = json!([condition["status"], condition["reason"]]);
            (condition["type"].as_str().unwrap().to_owned(), said)
        });
        let sets = api.sets.iter().map(|(name, set)| {
            let (labels, annotations) = (&set.metadata.labels, &set.metadata.annotations);
            let said = json!({ "spec": set.spec, "labels": labels, "annotations": annotations });
            (name.clone(), said)
        });
        let objects = api.objects.iter();
        let objects =
            objects.map(|((kind, name), object)| (format!("{kind} {name}"), json!(object)));
        let pods = api
            .pods
            .iter()
            .map(|(name, pod)| (name.clone(), json!(pod.spec)));
        let claims = api.claims.iter().map(|(name, claim)| {
            let marks = claim.metadata.annotations.iter().flatten();
            let marks: Vec<_> = marks.map(|(mark, _)| mark).collect();
            (
                name.clone(),
                json!([claim.metadata.owner_references, marks]),
            )
        });
        let in_force = self.members.all.group.configuration();
        let voters = in_force.map(|in_force| {
            let mut voters: Vec<_> = in_force.voters().map(|seat| &seat.name).collect();
            voters.sort_unstable();
            json!(voters)
        });
        json!({
            "conditions": conditions.collect::<Map<_, _>>(), "sets": sets.collect::<Map<_, _>>(),
            "objects": objects.collect::<Map<_, _>>(), "pods": pods.collect::<Map<_, _>>(),
            "claims": claims.collect::<Map<_, _>>(), "voters": voters,
        })
    }
}

/// The places where two views differ.
fn difference(expected: &Value, found: &Value) -> String {
    let mut places = Vec::new();
    differ(expected, found, "", &mut places);
    places.join("\n")
}

fn differ(expected: &Value, found: &Value, at: &str, places: &mut Vec<String>) {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            let mut keys: Vec<_> = expected.keys().chain(found.keys()).collect();
            keys.sort_unstable();
            keys.dedup();
            for key in keys {
                let (expected, found) = (expected.get(key), found.get(key));
                let null = Value::Null;
                let (expected, found) = (expected.unwrap_or(&null), found.unwrap_or(&null));
                differ(expected, found, &format!("{at}/{key}"), places);
            }
        }
        (Value::Array(expected), Value::Array(found)) if expected.len() == found.len() => {
            for (place, (expected, found)) in expected.iter().zip(found).enumerate() {
                differ(expected, found, &format!("{at}/{place}"), places);
            }
        }
        (expected, found) if expected == found => {}
        (expected, found) => places.push(format!("{at}: {found}, and not {expected}")),
    }
}
