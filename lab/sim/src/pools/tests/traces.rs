//! The sets that kinds ask for go through every trace as the plain one does, which is compared with the real controller.

use k8s_openapi::api::apps::v1::StatefulSet;
use quorate_model::testing::{Replay, TRACES, Trace, View, plain};

use super::super::world::World;
use super::of_every_kind;

/// As a trace begins.
fn begun(set: &StatefulSet) -> StatefulSet {
    let mut set = set.clone();
    set.status = None;
    let spec = set.spec.as_mut().unwrap();
    spec.replicas = Some(3);
    let strategy = spec.update_strategy.get_or_insert_default();
    strategy.rolling_update.get_or_insert_default().partition = Some(0);
    spec.template.spec.as_mut().unwrap().containers[0].image = Some("a".into());
    set
}

/// Members that keep nothing have no claims.
fn compared(replay: &Replay, keeps: bool) -> View {
    let mut view = replay.view();
    if !keeps {
        view.claims.clear();
    }
    view
}

#[test]
fn the_sets_of_every_kind_go_through_every_trace() {
    of_every_kind(|kind| {
        let traces: Vec<Trace> = serde_saphyr::from_str(TRACES).unwrap();
        let mut world = World::made(kind);
        world.operate();
        assert_eq!(world.api.sets.len(), kind.sets(super::NAME).len());
        for (name, set) in &world.api.sets {
            let claims = set.spec.as_ref().unwrap().volume_claim_templates.as_ref();
            let keeps = claims.is_some_and(|claims| !claims.is_empty());
            for trace in &traces {
                let mut own = Replay::of(begun(set));
                let mut other = Replay::of(plain("plain", "default"));
                for step in &trace.steps {
                    own.take(step);
                    other.take(step);
                    let (own, other) = (compared(&own, keeps), compared(&other, keeps));
                    assert_eq!(own, other, "{name}, {}: {step:?}", trace.name);
                }
            }
        }
    });
}
