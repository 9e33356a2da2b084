//! What every kind must do, over the registry: those that ship and those that are for tests. A new kind adds its example (see
//! `testing::Example`), and a golden file by `INSTA_UPDATE=always cargo test -p quorate-plan --test kinds`. What its operator
//! does with its objects and members is tried in `lab/sim/src/pools`.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use quorate_plan::testing::{all, example};
use quorate_plan::{
    AnyDesired, AnyKind, Env, Invalid, Object, Observed, PoolStage, Rejected, Stage,
};
use serde_json::{Value, json};

const UID: &str = "11111111-2222-3333-4444-555555555555";

/// As long as the rule on names allows.
const LONGEST: &str = "abcdefghijklmnopqrstuvwxyz-0123456789-ab";

fn env(kind: &dyn AnyKind) -> Env {
    Env {
        cluster_domain: "cluster.local".into(),
        default_image: format!("quorate.dev/{}:0.1.0", kind.marks().app),
        operator_namespace: Some("quorate-system".into()),
    }
}

fn resource(kind: &dyn AnyKind, name: &str, spec: Value) -> Value {
    let names = kind.names();
    json!({
        "apiVersion": names.api_version, "kind": names.kind,
        "metadata": { "name": name, "namespace": "default", "uid": UID, "generation": 7 }, "spec": spec,
    })
}

fn desired(kind: &dyn AnyKind, name: &str) -> Box<dyn AnyDesired> {
    let valid = kind.validate(&resource(kind, name, json!({})), &env(kind));
    valid.unwrap_or_else(|rejected| panic!("the smallest {}: {rejected}", kind.names().kind))
}

fn objects(kind: &dyn AnyKind, name: &str) -> Vec<Object> {
    let built = desired(kind, name).build(&Stage::default());
    built.into_iter().collect()
}

fn stage(kind: &dyn AnyKind) -> Stage {
    let decision = desired(kind, "demo").decide(&Observed::default(), Timestamp::UNIX_EPOCH);
    decision.stage.unwrap()
}

fn faults(kind: &dyn AnyKind, name: &str, spec: Value) -> Vec<Invalid> {
    match kind.validate(&resource(kind, name, spec), &env(kind)) {
        Ok(_) => Vec::new(),
        Err(Rejected::Invalid(faults)) => faults,
        Err(Rejected::Schema(words)) => panic!("{words}"),
    }
}

/// The labels at a place of an object.
fn labels(object: &Object, pointer: &str) -> Option<BTreeMap<String, String>> {
    let json = serde_json::to_value(object).unwrap();
    let found = json.pointer(pointer)?;
    serde_json::from_value(found.clone()).unwrap()
}

/// What an object selects pods by.
fn selector(object: &Object) -> Option<BTreeMap<String, String>> {
    labels(
        object,
        match object {
            Object::StatefulSet(_) | Object::PodDisruptionBudget(_) => "/spec/selector/matchLabels",
            Object::NetworkPolicy(_) => "/spec/podSelector/matchLabels",
            Object::Service(_) => "/spec/selector",
            Object::ServiceAccount(_) | Object::ConfigMap(_) => return None,
        },
    )
}

fn pod_labels(object: &Object) -> Option<BTreeMap<String, String>> {
    labels(object, "/spec/template/metadata/labels")
}

/// Whether anything of `these` selects a pod of `those`.
fn reaches(these: &[Object], those: &[Object]) -> bool {
    let pods: Vec<_> = those.iter().filter_map(pod_labels).collect();
    let mut selectors = these.iter().filter_map(selector);
    selectors.any(|selector| {
        let selects = |pod: &BTreeMap<_, _>| {
            selector
                .iter()
                .all(|(key, value)| pod.get(key) == Some(value))
        };
        pods.iter().any(selects)
    })
}

fn full_names(objects: &[Object]) -> BTreeSet<(&'static str, String)> {
    let named = objects
        .iter()
        .map(|object| (object.kind(), object.name().to_owned()));
    named.collect()
}

#[test]
fn tags_are_short_and_no_two_kinds_have_one() {
    let tags: Vec<_> = all().map(|kind| kind.marks().tag).collect();
    for tag in &tags {
        assert!((1..=3).contains(&tag.len()), "{tag}");
    }
    assert_eq!(tags.iter().collect::<BTreeSet<_>>().len(), tags.len());
}

/// The longest suffix is that of a revision, in a label of 63 characters.
#[test]
fn the_longest_name_leaves_room_for_every_suffix() {
    for kind in all() {
        assert_eq!(LONGEST.len(), 40);
        for set in kind.sets(LONGEST) {
            assert!(set.len() <= 52, "{set}");
        }
        for object in objects(kind, LONGEST) {
            assert!(object.name().len() <= 63, "{}", object.name());
        }
        let longer = faults(kind, &format!("{LONGEST}c"), json!({}));
        assert_eq!(longer[0].field, "metadata.name", "{longer:?}");
    }
}

#[test]
fn two_kinds_share_no_object_and_no_pod_under_one_name() {
    for one in all() {
        for other in all().filter(|other| other.names() != one.names()) {
            let (these, those) = (objects(one, "demo"), objects(other, "demo"));
            let shared = full_names(&these).intersection(&full_names(&those)).count();
            assert_eq!(shared, 0, "{:?}", one.names());
            assert!(!reaches(&these, &those), "{:?}", one.names());
        }
    }
}

#[test]
fn each_pool_has_objects_and_pods_of_its_own() {
    for kind in all() {
        let objects = objects(kind, "demo");
        assert_eq!(full_names(&objects).len(), objects.len());
        let sets: Vec<_> = objects
            .into_iter()
            .filter(|o| pod_labels(o).is_some())
            .collect();
        let mut names: Vec<_> = sets.iter().map(Object::name).collect();
        names.sort_unstable();
        let mut expected = kind.sets("demo");
        expected.sort_unstable();
        assert_eq!(names, expected);
        for (at, one) in sets.chunks(1).enumerate() {
            for (beside, other) in sets.chunks(1).enumerate() {
                assert_eq!(reaches(one, other), at == beside, "{names:?}");
            }
        }
    }
}

#[test]
fn the_smallest_resource_is_built_as_its_golden_file_says() {
    for kind in all() {
        let documents: Vec<_> = objects(kind, "demo")
            .iter()
            .map(|object| serde_saphyr::to_string(object).unwrap())
            .collect();
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("golden");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        let name = kind.names().singular.clone();
        settings.bind(|| insta::assert_snapshot!(name, documents.join("---\n")));
    }
}

#[test]
fn the_smallest_resource_is_valid_and_a_bad_value_is_refused_in_the_words_of_its_rule() {
    for kind in all() {
        assert_eq!(faults(kind, "demo", json!({})), []);
        let example = example(kind);
        let (field, (value, words)) = (example.pools[0].field, example.refused);
        let told = faults(kind, "demo", json!({ field: value }));
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].field, format!("spec.{field}"));
        assert!(told[0].message.starts_with(words), "{told:?}");
        let same = resource(kind, "demo", json!({}));
        assert_eq!(kind.unchangeable(&same, &same), Ok(()));
    }
}

#[test]
fn what_is_built_depends_on_the_resource_alone() {
    for kind in all() {
        assert_eq!(objects(kind, "demo"), objects(kind, "demo"));
    }
}

#[test]
fn how_far_a_change_has_come_never_restarts_a_member() {
    for kind in all() {
        let desired = desired(kind, "demo");
        let templates = |change: &dyn Fn(&mut PoolStage)| {
            let mut stage = stage(kind);
            stage.pools.values_mut().for_each(change);
            let sets = desired.build(&stage).into_iter();
            let templates = sets.filter_map(|object| match object {
                Object::StatefulSet(set) => Some(set.spec.unwrap().template),
                _ => None,
            });
            templates.collect::<Vec<_>>()
        };
        let before = templates(&|_| {});
        assert!(!before.is_empty());
        assert_eq!(templates(&|pool| pool.replicas += 2), before);
        assert_eq!(templates(&|pool| pool.partition += 1), before);
    }
}

#[test]
fn where_nothing_is_yet_pods_are_asked_for_and_the_status_says_so() {
    for kind in all() {
        let decision = desired(kind, "demo").decide(&Observed::default(), Timestamp::UNIX_EPOCH);
        let pools = decision.stage.unwrap().pools;
        assert_eq!(pools.len(), kind.sets("demo").len());
        for (name, pool) in pools {
            assert_eq!((pool.replicas, pool.partition), (3, 0), "{name}");
        }
        assert_eq!(decision.actions, []);
        assert_eq!(
            condition(&decision.status.json(), "Ready")["status"],
            "False"
        );
    }
}

#[test]
fn a_resource_that_cannot_be_carried_out_says_why() {
    for kind in all() {
        let fault = Invalid {
            field: "spec.members".into(),
            message: "must be others".into(),
        };
        let told = kind.invalid(
            &resource(kind, "demo", json!({})),
            &[fault],
            &Observed::default(),
            Timestamp::UNIX_EPOCH,
        );
        let status = told.unwrap().json();
        assert_eq!(status["observedGeneration"], 7);
        let degraded = condition(&status, "Degraded");
        assert_eq!(degraded["reason"], "InvalidSpec");
        assert_eq!(degraded["message"], "spec.members: must be others");
    }
}

fn condition(status: &Value, type_: &str) -> Value {
    let conditions = status["conditions"].as_array().unwrap();
    let found = conditions.iter().find(|told| told["type"] == type_);
    found.unwrap().clone()
}
