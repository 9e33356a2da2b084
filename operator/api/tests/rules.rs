//! The CRD's rules on the tables of `quorate_api::cases`, without an API server.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use kube::CustomResourceExt;
use kube::core::cel::{CompiledSchema, compile_schema, validate_compiled};
use quorate_api::cases::{By, Case};
use quorate_api::{RaftCluster, RaftClusterSpec};
use quorate_wire::Limit;
use quorate_wire::raft_cluster::LIMITS;
use serde_json::{Value, json};

fn cases() -> Vec<Case> {
    serde_saphyr::from_str(quorate_api::raft_cluster::CASES).unwrap()
}

fn schema() -> Value {
    let crd = RaftCluster::crd();
    serde_json::to_value(
        crd.spec.versions[0]
            .schema
            .as_ref()
            .unwrap()
            .open_api_v3_schema
            .as_ref()
            .unwrap(),
    )
    .unwrap()
}

/// What an API server does: decode by the schema (serde stands in for it), default, judge. All messages, or none.
fn refusals(case: &Case, rules: &CompiledSchema) -> (By, Vec<String>) {
    let object = case.resource("RaftCluster", &case.spec);
    if let Err(error) = serde_json::from_value::<RaftCluster>(object.clone()) {
        return (By::Schema, vec![error.to_string()]);
    }
    let old = case
        .old
        .as_ref()
        .map(|old| case.resource("RaftCluster", old));
    match validate_compiled(rules, &object, old.as_ref()) {
        Ok(()) => (By::Rule, Vec::new()),
        Err(errors) => (
            By::Rule,
            errors.iter().map(|error| error.message.clone()).collect(),
        ),
    }
}

#[test]
fn every_case_is_judged_as_its_table_says() {
    let rules = compile_schema(&schema());
    for case in cases() {
        let (by, messages) = refusals(&case, &rules);
        match (&case.error, case.by) {
            (None, _) | (Some(_), By::Guard) => {
                assert!(messages.is_empty(), "{}: refused: {messages:?}", case.case)
            }
            (Some(error), expected) => {
                assert_eq!(
                    (by, messages.len()),
                    (expected, 1),
                    "{}: {messages:?}",
                    case.case
                );
                assert!(
                    messages[0].contains(error.as_str()),
                    "{}: {messages:?}",
                    case.case
                );
            }
        }
    }
}

#[test]
fn every_rule_compiles_and_some_case_breaks_it() {
    let schema = schema();
    let compiled = compile_schema(&schema);
    assert!(!compiled.has_errors());
    let mut rules = BTreeSet::new();
    messages(&schema, &mut rules);
    assert!(rules.len() >= 15, "the schema lost its rules: {rules:?}");
    let below = LIMITS.map(|limit| with(&limit, limit.least - 1));
    let broken: BTreeSet<_> = cases()
        .iter()
        .chain(&below)
        .flat_map(|case| refusals(case, &compiled).1)
        .collect();
    let untried: Vec<_> = rules.difference(&broken).collect();
    assert!(untried.is_empty(), "no case breaks {untried:?}");
}

#[test]
fn every_limit_is_the_one_of_its_row() {
    let spec = serde_json::to_value(RaftClusterSpec::default()).unwrap();
    let fields: BTreeSet<_> = ["timing", "snapshots", "limits"]
        .iter()
        .flat_map(|block| {
            let keys = spec[block].as_object().unwrap().keys();
            keys.map(move |key| format!("{block}.{key}"))
        })
        .collect();
    assert_eq!(fields, LIMITS.map(|limit| limit.field.to_owned()).into());
    let rules = compile_schema(&schema());
    for limit in LIMITS {
        assert_eq!(spec[limit.block()][limit.key()], limit.default, "{limit:?}");
        let refused = |value| {
            let told = refusals(&with(&limit, value), &rules).1;
            let words = format!("{} {};", limit.field, limit.demand());
            told.iter().any(|told| told.starts_with(&words))
        };
        assert!(refused(limit.least - 1), "{limit:?}");
        assert!(!refused(limit.least), "{limit:?}");
        assert!(!refused(limit.most), "{limit:?}");
        if let Some(beyond) = limit.most.checked_add(1) {
            assert!(refused(beyond), "{limit:?}");
        }
    }
}

fn with(limit: &Limit, value: i64) -> Case {
    let block = json!({ limit.key(): value });
    serde_json::from_value(json!({ "case": limit.field, "spec": { limit.block(): block } }))
        .unwrap()
}

/// A string that a rule reads must be bounded, or the API server refuses the CRD for the rule's estimated cost.
#[test]
fn every_string_list_and_map_under_a_rule_is_bounded() {
    let schema = schema();
    unbounded(&schema["properties"]["spec"], "spec", &mut |path| {
        panic!("{path} has no bound")
    });
}

/// kubectl keeps the whole object in an annotation of at most 262,144 bytes.
#[test]
fn the_crd_stays_small() {
    let size = serde_json::to_vec(&RaftCluster::crd()).unwrap().len();
    assert!(size < 40_000, "{size} bytes");
}

#[test]
fn the_defaults_of_the_schema_are_those_of_the_types() {
    let case = &cases()[0];
    let empty = case.resource("RaftCluster", &serde_json::json!({}));
    let by_schema = kube::core::cel::apply_defaults(&schema(), &empty);
    let by_serde =
        serde_json::to_value(serde_json::from_value::<RaftCluster>(empty).unwrap()).unwrap();
    assert_eq!(by_schema["spec"], by_serde["spec"]);
    assert_eq!(
        by_serde["spec"],
        serde_json::to_value(RaftClusterSpec::default()).unwrap()
    );
}

/// The API server warns of formats that it does not know, and skips no rule for a null.
#[test]
fn the_schema_has_no_unknown_format_and_no_nullable_field_in_the_spec() {
    walk(
        &schema()["properties"]["spec"],
        "spec",
        &mut |path, node| {
            if let Some(format) = node.get("format") {
                assert!(
                    ["int32", "int64"].iter().any(|known| format == known),
                    "{path}: {format}"
                );
            }
        },
    );
    let bare = serde_json::to_value(RaftClusterSpec::default()).unwrap();
    assert!(!bare.to_string().contains("null"), "{bare}");
}

#[test]
fn the_scale_subresource_and_the_columns_point_at_fields_that_exist() {
    let crd = RaftCluster::crd();
    let version = &crd.spec.versions[0];
    let scale = version
        .subresources
        .as_ref()
        .unwrap()
        .scale
        .as_ref()
        .unwrap();
    let mut paths = vec![
        scale.spec_replicas_path.clone(),
        scale.status_replicas_path.clone(),
    ];
    paths.extend(scale.label_selector_path.clone());
    paths.extend(
        version
            .additional_printer_columns
            .iter()
            .flatten()
            .map(|column| column.json_path.clone()),
    );
    let schema = schema();
    for path in paths.iter().filter(|path| !path.starts_with(".metadata")) {
        let node = path
            .split(['.', '['])
            .skip(1)
            .take_while(|step| !step.starts_with('?'))
            .fold(&schema, |node, step| &node["properties"][step]);
        assert!(node.is_object(), "{path} names no field");
    }
}

fn messages(node: &Value, found: &mut BTreeSet<String>) {
    walk(node, "", &mut |_, node| {
        for rule in node
            .get("x-kubernetes-validations")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            found.insert(rule["message"].as_str().unwrap().to_owned());
        }
    });
}

fn unbounded(node: &Value, path: &str, report: &mut dyn FnMut(&str)) {
    walk(node, path, &mut |path, node| {
        let bound = match node["type"].as_str() {
            Some("string") if node.get("enum").is_none() => "maxLength",
            Some("array") => "maxItems",
            Some("object")
                if node
                    .get("additionalProperties")
                    .is_some_and(Value::is_object) =>
            {
                "maxProperties"
            }
            _ => return,
        };
        // The values of annotations and selectors are read by no rule.
        if node.get(bound).is_none() && !path.ends_with("{}") {
            report(path);
        }
    });
}

fn walk(node: &Value, path: &str, visit: &mut dyn FnMut(&str, &Value)) {
    visit(path, node);
    for (name, child) in node
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        walk(child, &format!("{path}.{name}"), visit);
    }
    for (key, step) in [("items", "[]"), ("additionalProperties", "{}")] {
        if let Some(child) = node.get(key).filter(|child| child.is_object()) {
            walk(child, &format!("{path}{step}"), visit);
        }
    }
}
