//! What another hand does to any field that the operator has written is put back. Of a StatefulSet it is in the end: its
//! controller follows whoever writes, and the operator waits until it has looked.

use k8s_openapi::api::apps::v1::StatefulSet;
use quorate_plan::Object;
use serde_json::{Value, json};

use super::super::world::World;
use super::{difference, of_every_kind};

/// What an API server takes no change of, or what says whose the object is.
const FIXED: [&str; 5] = [
    "/apiVersion",
    "/kind",
    "/metadata/name",
    "/metadata/namespace",
    "/metadata/ownerReferences",
];

/// What may be changed of a StatefulSet.
const OF_A_SET: [&str; 6] = [
    "/metadata/labels",
    "/metadata/annotations",
    "/spec/replicas",
    "/spec/template",
    "/spec/updateStrategy",
    "/spec/persistentVolumeClaimRetentionPolicy",
];

/// The places of a value that hold something of their own.
fn leaves(value: &Value, at: &str) -> Vec<String> {
    let escaped = |key: &String| key.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(key, value)| leaves(value, &format!("{at}/{}", escaped(key))))
            .collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .flat_map(|(place, value)| leaves(value, &format!("{at}/{place}")))
            .collect(),
        Value::Null => Vec::new(),
        _ => vec![at.to_owned()],
    }
}

/// The same with another value in this place.
fn edited(object: &Value, at: &str) -> Value {
    let mut edited = object.clone();
    let value = edited.pointer_mut(at).unwrap();
    *value = match &*value {
        Value::String(text) if text == "Retain" => json!("Delete"),
        Value::String(text) => json!(format!("{text}x")),
        // Fewer members: one more would leave a claim.
        Value::Number(number) => match number.as_i64().unwrap() {
            number if number > 1 => json!(number - 1),
            number => json!(number + 1),
        },
        Value::Bool(holds) => json!(!holds),
        other => panic!("{at} holds {other}"),
    };
    edited
}

impl World {
    fn edit_set(&mut self, name: &str, edited: Value) {
        let set: StatefulSet = serde_json::from_value(edited).unwrap();
        let living = self.api.sets.get_mut(name).unwrap();
        let generation = living.metadata.generation.unwrap();
        let changed = living.spec != set.spec;
        let version = format!(
            "{}-edited",
            living.metadata.resource_version.clone().unwrap()
        );
        *living = set;
        living.metadata.generation = Some(generation + i64::from(changed));
        living.metadata.resource_version = Some(version);
    }

    /// The operator looks a few times, and nobody else.
    fn look(&mut self) {
        for _ in 0..3 {
            self.operate();
        }
        assert_eq!(self.broken, None);
    }
}

#[test]
fn each_field_that_another_hand_changes_is_put_back() {
    of_every_kind(|kind| {
        let mut world = World::made(kind);
        world.settle().unwrap();
        let (before, name) = (world.view(), &kind.names().kind);
        let mut count = 0;
        for ((sort, object), living) in &world.api.objects {
            let json = json!(living);
            let mut deleted = world.clone();
            deleted.api.objects.remove(&(*sort, object.clone()));
            deleted.look();
            assert_eq!(difference(&before, &deleted.view()), "", "{sort} {object}");
            for at in leaves(&json, "") {
                // The address that a Service never has.
                if FIXED.iter().any(|fixed| at.starts_with(fixed)) || at == "/spec/clusterIP" {
                    continue;
                }
                let mut hurt = world.clone();
                let edited = Object::of(edited(&json, &at)).unwrap();
                hurt.api.objects.insert((sort, object.clone()), edited);
                let drifted = difference(&before, &hurt.view());
                assert!(
                    !drifted.is_empty(),
                    "{sort} {object}, {at}: nothing changed"
                );
                hurt.look();
                let left = difference(&before, &hurt.view());
                assert_eq!(left, "", "{name}, {sort} {object}, {at}");
                count += 1;
            }
        }
        assert!(count > 40, "{name}: only {count} fields");
    });
}

#[test]
fn each_field_of_a_set_that_another_hand_changes_is_put_back() {
    of_every_kind(|kind| {
        let mut world = World::made(kind);
        world.settle().unwrap();
        let before = world.view();
        for (name, set) in &world.api.sets {
            let json = json!(set);
            let labels = set.spec.as_ref().unwrap().selector.match_labels.clone();
            let labels = labels.unwrap();
            // An API server wants the template's labels to be what the set selects.
            let selects = |at: &str| {
                let label = at.strip_prefix("/spec/template/metadata/labels/");
                label.is_some_and(|label| labels.contains_key(&label.replace("~1", "/")))
            };
            let mut fields = leaves(&json, "");
            fields.retain(|at| OF_A_SET.iter().any(|own| at.starts_with(own)) && !selects(at));
            // The model knows no other.
            fields.retain(|at| at != "/spec/updateStrategy/type");
            assert!(fields.len() > 30, "{name}: only {fields:?}");
            for at in fields {
                let mut hurt = world.clone();
                hurt.edit_set(name, edited(&json, &at));
                hurt.judge.is_blind = true;
                hurt.last_write = hurt.now;
                let settled = hurt.settle();
                settled.unwrap_or_else(|broken| panic!("{name}, {at}: {broken}"));
                let left = difference(&before, &hurt.view());
                assert!(left.is_empty(), "{name}, {at}: {left}");
            }
        }
    });
}
