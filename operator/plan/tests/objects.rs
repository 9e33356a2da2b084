//! The objects of a RaftCluster, as golden files (`golden/NAME.snap`, read as documentation; the smallest one is made by
//! the suite over all kinds, `kinds.rs`) and as a table of what may change the pods. After a change that is meant: `INSTA_UPDATE=always cargo test -p quorate-plan`, then read the diff.
#![allow(clippy::unwrap_used)]

use k8s_openapi::api::apps::v1::StatefulSet;
use quorate_api::cases::{By, Case};
use quorate_api::{RaftCluster, RaftClusterSpec, Release};
use quorate_plan::raft_cluster::{POOL, RaftClusters, unchangeable, validate};
use quorate_plan::{Desired, Env, Object, PoolStage, Stage, Template};
use quorate_wire::Limit;
use quorate_wire::raft_cluster::LIMITS;
use serde_json::{Value, json};

const UID: &str = "11111111-2222-3333-4444-555555555555";
const EXAMPLE: &str = include_str!("../../../examples/raft-cluster.yaml");

fn env() -> Env {
    Env {
        cluster_domain: "cluster.local".into(),
        default_image: "quorate.dev/raft-cluster:0.1.0".into(),
        operator_namespace: Some("quorate-system".into()),
    }
}

fn read(yaml: &str) -> RaftCluster {
    let mut resource: RaftCluster = serde_saphyr::from_str(yaml).unwrap();
    resource.metadata.uid.get_or_insert_with(|| UID.into());
    resource
}

fn valid(spec: Value) -> Desired<RaftClusters> {
    let resource = json!({
        "apiVersion": "quorate.dev/v1alpha1", "kind": "RaftCluster",
        "metadata": { "name": "demo", "namespace": "default", "uid": UID }, "spec": spec,
    });
    Desired::of(serde_json::from_value(resource).unwrap(), &env()).unwrap()
}

fn pool(replicas: i32, partition: i32) -> PoolStage {
    PoolStage {
        replicas,
        partition,
        template: Template::Target,
        claim_size: None,
    }
}

fn stage(pool: PoolStage) -> Stage {
    Stage {
        pools: [(POOL.name.to_owned(), pool)].into(),
    }
}

fn stateful_set(valid: &Desired<RaftClusters>, pool: PoolStage) -> StatefulSet {
    let set = valid
        .build(&stage(pool))
        .into_iter()
        .find_map(|object| match object {
            Object::StatefulSet(set) => Some(set),
            _ => None,
        });
    set.unwrap()
}

fn template(valid: &Desired<RaftClusters>, pool: PoolStage) -> String {
    serde_json::to_string(&stateful_set(valid, pool).spec.unwrap().template).unwrap()
}

fn documents(objects: &[Object]) -> String {
    objects
        .iter()
        .map(|object| serde_saphyr::to_string(object).unwrap())
        .collect::<Vec<_>>()
        .join("---\n")
}

fn golden(name: &str, yaml: &str) {
    let resource = read(yaml);
    let members = resource.spec.members;
    let desired = Desired::<RaftClusters>::of(resource, &env()).unwrap();
    let objects: Vec<_> = desired
        .build(&stage(pool(members, 0)))
        .into_iter()
        .collect();
    let settings = {
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("golden");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings
    };
    settings.bind(|| insta::assert_snapshot!(name, documents(&objects)));
}

#[test]
fn every_field_set() {
    golden("full", include_str!("golden/full.yaml"));
}

#[test]
fn one_member() {
    golden("single", include_str!("golden/single.yaml"));
}

#[test]
fn certificates() {
    golden("tls", include_str!("golden/tls.yaml"));
}

#[test]
fn the_example_says_what_the_defaults_are() {
    let asked = read(EXAMPLE);
    assert_eq!(
        (
            asked.metadata.name.as_deref(),
            asked.metadata.namespace.as_deref()
        ),
        (Some("demo"), Some("default"))
    );
    assert_eq!(asked.spec, RaftClusterSpec::default());
    // A '#' right before a letter comments a field out; prose has a space there.
    let uncommented: String = EXAMPLE
        .lines()
        .map(|line| match line.split_once('#') {
            Some((indent, field))
                if indent.trim().is_empty()
                    && field
                        .trim_start_matches("  ")
                        .starts_with(|c: char| c.is_ascii_lowercase()) =>
            {
                format!("{indent}{field}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    assert_eq!(read(&uncommented).spec, RaftClusterSpec::default());
    let written: Value = serde_saphyr::from_str(&uncommented).unwrap();
    assert_eq!(
        written["spec"],
        serde_json::to_value(RaftClusterSpec::default()).unwrap(),
        "the example leaves a default out"
    );
    asked.validate_cel().unwrap();
}

#[test]
fn every_case_is_refused_in_the_words_of_its_table() {
    let cases: Vec<Case> = serde_saphyr::from_str(quorate_api::raft_cluster::CASES).unwrap();
    for case in &cases {
        let parse = |spec: &Value| {
            let mut resource: RaftCluster =
                serde_json::from_value(case.resource("RaftCluster", spec))?;
            resource.metadata.uid = Some(UID.into());
            Ok::<_, serde_json::Error>(resource)
        };
        let read = |spec: &Value| parse(spec).unwrap();
        if case.by == By::Schema {
            let refused = parse(&case.spec).map(|new| validate(&new, &env()).is_err());
            assert!(refused.unwrap_or(true), "{}", case.case);
            continue;
        }
        let new = read(&case.spec);
        let judged = validate(&new, &env()).map(|_| ());
        let changed = case
            .old
            .as_ref()
            .map_or(Ok(()), |old| unchangeable(&read(old), &new));
        let faults: Vec<_> = [judged, changed]
            .into_iter()
            .filter_map(Result::err)
            .flatten()
            .map(|fault| fault.to_string())
            .collect();
        match &case.error {
            None => assert!(faults.is_empty(), "{}: {faults:?}", case.case),
            Some(error) => {
                assert_eq!(faults.len(), 1, "{}: {faults:?}", case.case);
                assert!(
                    faults[0].contains(error.as_str()),
                    "{}: {faults:?}",
                    case.case
                );
            }
        }
    }
}

#[test]
fn every_fault_is_told_at_once() {
    let resource = json!({
        "apiVersion": "quorate.dev/v1alpha1", "kind": "RaftCluster", "metadata": { "name": "Demo" },
        "spec": { "members": 2, "storage": { "size": "1Mi" }, "podOverrides": { "spec": { "hostNetwork": true } } },
    });
    let faults = validate(&serde_json::from_value(resource).unwrap(), &env()).unwrap_err();
    let fields: Vec<_> = faults.iter().map(|fault| fault.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "metadata.name",
            "spec.members",
            "spec.storage.size",
            "metadata.uid",
            "spec.podOverrides.spec.hostNetwork"
        ]
    );
}

fn faults(spec: Value) -> Vec<String> {
    let resource = json!({
        "apiVersion": "quorate.dev/v1alpha1", "kind": "RaftCluster",
        "metadata": { "name": "demo", "uid": UID }, "spec": spec,
    });
    let judged = validate(&serde_json::from_value(resource).unwrap(), &env());
    judged
        .err()
        .into_iter()
        .flatten()
        .map(|fault| fault.to_string())
        .collect()
}

/// An API server tells these in words of its own, which a host without one has to find.
#[test]
fn bounds_that_the_schema_sets_without_a_rule_are_told() {
    let toleration = json!({ "key": "a", "operator": "In", "effect": "NoEntry" });
    for (spec, words) in [
        (
            json!({ "version": "1".repeat(64) }),
            vec!["spec.version: must be at most 63 characters"],
        ),
        (
            json!({ "pods": { "terminationGracePeriodSeconds": 0 } }),
            vec!["spec.pods.terminationGracePeriodSeconds: must be 1 to 3600"],
        ),
        (
            json!({ "pods": { "tolerations": [toleration] } }),
            vec![
                "spec.pods.tolerations[0].effect: must be NoSchedule, PreferNoSchedule or NoExecute",
                "spec.pods.tolerations[0].operator: must be Equal or Exists",
            ],
        ),
        (
            json!({ "pods": { "imagePullSecrets": vec!["a"; 17] } }),
            vec!["spec.pods.imagePullSecrets: must be at most 16 entries"],
        ),
    ] {
        assert_eq!(faults(spec), words);
    }
}

/// The CEL validator's arithmetic would overflow.
#[test]
fn a_size_beyond_reason_is_refused() {
    for size in ["1e99", "1e-38", "1e-99", "1e2147483647", " 10Gi"] {
        let told = faults(json!({ "storage": { "size": size } }));
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].contains("storage.size must be a quantity"),
            "{told:?}"
        );
    }
}

/// A verdict is remembered by UID, and a host judges a change before the resource has it.
#[test]
fn a_changed_resource_is_judged_anew() {
    for members in [3, 4, 3, 5, 2] {
        let told = faults(json!({ "members": members }));
        assert_eq!(told.is_empty(), members % 2 == 1, "{members}: {told:?}");
    }
}

#[test]
fn labels_that_no_api_server_takes_are_told() {
    let resource = json!({
        "apiVersion": "quorate.dev/v1alpha1", "kind": "RaftCluster",
        "metadata": {
            "name": "demo", "uid": UID,
            "labels": { "a b": "c", "example.com/team": "a b", "empty": "" },
            "annotations": { "x y": "anything goes" },
        },
        "spec": {},
    });
    let faults = validate(&serde_json::from_value(resource).unwrap(), &env()).unwrap_err();
    let fields: Vec<_> = faults.iter().map(|fault| fault.field.as_str()).collect();
    let wrong = [
        "metadata.labels.a b",
        "metadata.labels.example.com/team",
        "metadata.annotations.x y",
    ];
    assert_eq!(fields, wrong);
}

/// By the name that the spec has for it, which the member's settings have too.
#[test]
fn every_limit_reaches_the_members() {
    let written = |limit: &Limit, value: i64| {
        let mut blocks =
            json!({ "timing": { "electionTimeoutMs": 60_000 }, "storage": { "size": "16Ei" } });
        blocks[limit.block()][limit.key()] = value.into();
        let objects: Vec<_> = valid(blocks)
            .build(&stage(pool(3, 0)))
            .into_iter()
            .collect();
        let file = objects.iter().find_map(|object| match object {
            Object::ConfigMap(map) => map.data.as_ref()?.get("config.yaml").cloned(),
            _ => None,
        });
        let file: Value = serde_saphyr::from_str(&file.unwrap()).unwrap();
        file[limit.key()].as_i64()
    };
    for limit in &LIMITS {
        // As far as the rules on several limits allow.
        let value = limit.default + 1;
        assert_eq!(written(limit, value), Some(value), "{}", limit.field);
    }
}

#[test]
fn scaling_and_staging_leave_the_pods_alone() {
    let three = valid(json!({ "image": "raft:v1" }));
    let before = template(&three, pool(3, 0));
    for (what, after) in [
        ("replicas", template(&three, pool(5, 0))),
        ("partition", template(&three, pool(3, 3))),
        (
            "members",
            template(
                &valid(json!({ "image": "raft:v1", "members": 5 })),
                pool(3, 0),
            ),
        ),
        (
            "a pause",
            template(
                &valid(json!({ "image": "raft:v1", "paused": true })),
                pool(3, 0),
            ),
        ),
        (
            "retention",
            template(
                &valid(
                    json!({ "image": "raft:v1", "storage": { "retention": { "whenDeleted": "Delete" } } }),
                ),
                pool(3, 0),
            ),
        ),
        (
            "larger volumes",
            template(
                &valid(json!({ "image": "raft:v1", "storage": { "size": "20Gi" } })),
                pool(3, 0),
            ),
        ),
        (
            "the Service",
            template(
                &valid(json!({ "image": "raft:v1", "service": { "type": "NodePort" } })),
                pool(3, 0),
            ),
        ),
    ] {
        assert_eq!(after, before, "{what} would restart every member");
    }
}

#[test]
fn what_members_read_at_their_start_makes_a_new_revision() {
    let before = template(&valid(json!({})), pool(3, 0));
    for spec in [
        json!({ "image": "raft:v2" }),
        json!({ "version": "0.1.0" }),
        json!({ "timing": { "electionTimeoutMs": 2000 } }),
        json!({ "snapshots": { "keepEntries": 1 } }),
        json!({ "limits": { "maxSessions": 1 } }),
        json!({ "logging": { "format": "Json" } }),
        json!({ "resources": { "requests": { "cpu": 1 } } }),
        json!({ "tls": { "secretName": "certificates" } }),
        json!({ "pods": { "spread": "Required" } }),
        json!({ "podOverrides": { "spec": { "runtimeClassName": "kata" } } }),
    ] {
        assert_ne!(
            template(&valid(spec.clone()), pool(3, 0)),
            before,
            "{spec} would not reach the members"
        );
    }
}

#[test]
fn the_stable_stage_yields_the_old_image_and_version() {
    let new = valid(json!({ "image": "raft:v2", "version": "0.2.0" }));
    let old = valid(json!({ "image": "raft:v1", "version": "0.1.0" }));
    let back = Template::Stable(Release {
        image: "raft:v1".into(),
        version: Some("0.1.0".into()),
    });
    let staged = template(
        &new,
        PoolStage {
            template: back,
            ..pool(3, 3)
        },
    );
    assert_eq!(staged, template(&old, pool(3, 0)));
    assert_ne!(staged, template(&new, pool(3, 0)));
}

#[test]
fn claim_templates_never_change_on_a_living_set() {
    let small = stateful_set(&valid(json!({})), pool(3, 0))
        .spec
        .unwrap()
        .volume_claim_templates;
    let grown = valid(json!({ "storage": { "size": "20Gi" } }));
    let living = PoolStage {
        claim_size: Some("10Gi".into()),
        ..pool(3, 0)
    };
    assert_eq!(
        stateful_set(&grown, living)
            .spec
            .unwrap()
            .volume_claim_templates,
        small
    );
    assert_ne!(
        stateful_set(&grown, pool(3, 0))
            .spec
            .unwrap()
            .volume_claim_templates,
        small
    );
}

#[test]
fn objects_come_in_the_order_of_application_and_belong_to_the_resource() {
    let objects: Vec<_> = valid(json!({}))
        .build(&stage(pool(3, 0)))
        .into_iter()
        .collect();
    let names: Vec<_> = objects
        .iter()
        .map(|object| format!("{} {}", object.kind(), object.name()))
        .collect();
    assert_eq!(
        names,
        [
            "ServiceAccount demo-rcl",
            "ConfigMap demo-rcl-config",
            "Service demo-rcl-peers",
            "Service demo-rcl-client",
            "NetworkPolicy demo-rcl",
            "PodDisruptionBudget demo-rcl",
            "StatefulSet demo-rcl",
        ]
    );
    for object in &objects {
        let owners = object.metadata().owner_references.as_ref().unwrap();
        assert_eq!(
            (owners.len(), owners[0].uid.as_str(), owners[0].controller),
            (1, UID, Some(true)),
            "{}",
            object.name()
        );
    }
}

#[test]
fn an_operator_outside_leaves_the_admin_listener_to_certificates() {
    let mut desired = valid(json!({}));
    desired.env.operator_namespace = None;
    let objects = desired.build(&stage(pool(3, 0)));
    let rules = objects.iter().find_map(|object| match object {
        Object::NetworkPolicy(policy) => policy.spec.as_ref()?.ingress.clone(),
        _ => None,
    });
    let rules = rules.unwrap();
    assert_eq!(
        rules
            .iter()
            .map(|rule| rule.from.is_some())
            .collect::<Vec<_>>(),
        [false, true, false]
    );
}

/// Merged last, by field and by the key of a list; the operator's own items stay.
#[test]
fn overrides_reach_what_the_spec_does_not() {
    let spec = json!({ "podOverrides": {
        "metadata": { "labels": { "team": "storage" } },
        "spec": {
            "dnsPolicy": "ClusterFirst",
            "containers": [
                { "name": "member", "env": [{ "name": "TZ", "value": "UTC" }], "lifecycle": { "preStop": { "sleep": { "seconds": 1 } } } },
                { "name": "tail", "image": "busybox:1.37" },
            ],
            "volumes": [{ "name": "extra", "emptyDir": {} }],
        },
    } });
    let template = stateful_set(&valid(spec), pool(3, 0))
        .spec
        .unwrap()
        .template;
    let meta = template.metadata.unwrap();
    assert_eq!(meta.labels.as_ref().unwrap()["team"], "storage");
    assert_eq!(
        meta.labels.as_ref().unwrap()["app.kubernetes.io/name"],
        "raft-cluster"
    );
    let pod = template.spec.unwrap();
    assert_eq!(
        pod.containers
            .iter()
            .map(|container| container.name.as_str())
            .collect::<Vec<_>>(),
        ["member", "tail"]
    );
    let member = &pod.containers[0];
    assert_eq!(
        member.image.as_deref(),
        Some("quorate.dev/raft-cluster:0.1.0")
    );
    let names: Vec<_> = member
        .env
        .iter()
        .flatten()
        .map(|variable| variable.name.as_str())
        .collect();
    assert!(
        names.contains(&"TZ") && names.contains(&"QUORATE_NAME"),
        "{names:?}"
    );
    assert!(member.lifecycle.is_some() && member.readiness_probe.is_some());
    // A namespace that enforces `restricted` admits it as it is.
    let added = pod.containers[1].security_context.as_ref().unwrap();
    let dropped = added.capabilities.as_ref().unwrap().drop.as_ref();
    assert_eq!(
        (added.allow_privilege_escalation, dropped),
        (Some(false), Some(&vec!["ALL".to_owned()]))
    );
    assert_eq!(pod.volumes.unwrap().len(), 3);
    assert_eq!(pod.dns_policy.as_deref(), Some("ClusterFirst"));
}
