//! What the operator needs in a cluster, as objects: its right to what it does and to nothing else, and two of it.
//! `cargo xtask gen` writes them to examples/operator.yaml.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};
use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction, Namespace,
    ObjectFieldSelector, PodSecurityContext, PodSpec, PodTemplateSpec, Probe, ResourceRequirements,
    SeccompProfile, SecurityContext, ServiceAccount, TopologySpreadConstraint,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use quorate_plan::kinds;
use serde::Serialize;
use serde_json::Value;

/// The namespace that the operator runs in.
pub const NAMESPACE: &str = "quorate-system";
/// The name of its Deployment, ServiceAccount and roles.
pub const NAME: &str = "quorate-operator";

const HEALTH: i32 = 8080;
const RBAC: &str = "rbac.authorization.k8s.io";

/// Everything, in the order of application.
///
/// # Errors
/// When an object cannot be written as JSON.
pub fn manifests(image: &str) -> serde_json::Result<Vec<Value>> {
    Ok(vec![
        json(namespace())?,
        json(ServiceAccount {
            metadata: inside(NAME),
            ..ServiceAccount::default()
        })?,
        json(cluster_role(NAME, rules()))?,
        json(ClusterRoleBinding {
            metadata: named(NAME),
            role_ref: role_ref("ClusterRole"),
            subjects: Some(vec![subject()]),
        })?,
        json(Role {
            metadata: inside(NAME),
            rules: Some(vec![rule(
                "coordination.k8s.io",
                &["leases"],
                &["create", "get", "update"],
            )]),
        })?,
        json(RoleBinding {
            metadata: inside(NAME),
            role_ref: role_ref("Role"),
            subjects: Some(vec![subject()]),
        })?,
        json(aggregated("view", &["get", "list", "watch"]))?,
        json(aggregated(
            "edit",
            &["create", "delete", "deletecollection", "patch", "update"],
        ))?,
        json(deployment(image))?,
        json(PodDisruptionBudget {
            metadata: inside(NAME),
            spec: Some(PodDisruptionBudgetSpec {
                max_unavailable: Some(IntOrString::Int(1)),
                selector: Some(selector()),
                ..PodDisruptionBudgetSpec::default()
            }),
            status: None,
        })?,
    ])
}

/// What the operator does in the namespaces of its resources.
fn rules() -> Vec<PolicyRule> {
    let plurals: Vec<String> = kinds()
        .iter()
        .map(|kind| kind.names().plural.clone())
        .collect();
    let statuses: Vec<String> = plurals
        .iter()
        .map(|plural| format!("{plural}/status"))
        .collect();
    let owned = &["create", "list", "patch", "watch"];
    vec![
        rule("quorate.dev", &plurals, &["list", "watch"]),
        rule("quorate.dev", &statuses, &["patch"]),
        rule("", &["configmaps", "serviceaccounts", "services"], owned),
        rule(
            "apps",
            &["statefulsets"],
            &["create", "delete", "list", "patch", "watch"],
        ),
        rule("networking.k8s.io", &["networkpolicies"], owned),
        rule("policy", &["poddisruptionbudgets"], owned),
        rule(
            "",
            &["persistentvolumeclaims", "pods"],
            &["delete", "list", "patch", "watch"],
        ),
        // The certificates that a resource names, by name: no list of Secrets.
        rule("", &["secrets"], &["get"]),
        rule("events.k8s.io", &["events"], &["create", "get", "patch"]),
        // Why a StatefulSet's controller cannot make a pod stands nowhere else.
        rule("", &["events"], &["list"]),
    ]
}

/// What whoever may view or edit a namespace may do with our kinds.
fn aggregated(role: &str, verbs: &[&str]) -> ClusterRole {
    let plurals: Vec<String> = kinds()
        .iter()
        .flat_map(|kind| {
            let plural = &kind.names().plural;
            [plural.clone(), format!("{plural}/scale")]
        })
        .collect();
    let mut made = cluster_role(
        &format!("quorate-{role}"),
        vec![rule("quorate.dev", &plurals, verbs)],
    );
    let labels = made.metadata.labels.get_or_insert_default();
    // Whoever may edit may view: Kubernetes' own roles are built on each other.
    let into: &[&str] = match role {
        "view" => &["view", "edit", "admin"],
        _ => &["edit", "admin"],
    };
    for role in into {
        labels.insert(format!("{RBAC}/aggregate-to-{role}"), "true".to_owned());
    }
    made
}

fn deployment(image: &str) -> Deployment {
    let labels = selector().match_labels;
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: labels.clone(),
            annotations: Some(
                [
                    ("prometheus.io/scrape", "true".to_owned()),
                    ("prometheus.io/port", HEALTH.to_string()),
                    ("prometheus.io/path", "/metrics".to_owned()),
                ]
                .map(|(key, value)| (key.to_owned(), value))
                .into(),
            ),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            service_account_name: Some(NAME.to_owned()),
            containers: vec![container(image)],
            security_context: Some(PodSecurityContext {
                run_as_non_root: Some(true),
                run_as_user: Some(65532),
                run_as_group: Some(65532),
                seccomp_profile: Some(SeccompProfile {
                    type_: "RuntimeDefault".to_owned(),
                    localhost_profile: None,
                }),
                ..PodSecurityContext::default()
            }),
            topology_spread_constraints: Some(vec![TopologySpreadConstraint {
                max_skew: 1,
                topology_key: "kubernetes.io/hostname".to_owned(),
                when_unsatisfiable: "ScheduleAnyway".to_owned(),
                label_selector: Some(selector()),
                ..TopologySpreadConstraint::default()
            }]),
            termination_grace_period_seconds: Some(30),
            ..PodSpec::default()
        }),
    };
    Deployment {
        metadata: inside(NAME),
        spec: Some(DeploymentSpec {
            // One works, the other is ready to.
            replicas: Some(2),
            selector: selector(),
            template,
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

fn container(image: &str) -> Container {
    let of_pod = |name: &str, field: &str| EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                api_version: None,
                field_path: field.to_owned(),
            }),
            ..EnvVarSource::default()
        }),
        value: None,
    };
    let plain = |name: &str, value: &str| EnvVar {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        value_from: None,
    };
    let amounts = |amounts: [(&str, &str); 2]| {
        Some(
            amounts
                .map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned())))
                .into(),
        )
    };
    Container {
        name: NAME.to_owned(),
        image: Some(image.to_owned()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(vec![format!("/usr/local/bin/{NAME}")]),
        env: Some(vec![
            of_pod("QUORATE_IDENTITY", "metadata.name"),
            of_pod("QUORATE_OPERATOR_NAMESPACE", "metadata.namespace"),
            of_pod("QUORATE_LEASE_NAMESPACE", "metadata.namespace"),
            // Members whose resource names no image run the operator's own.
            plain("QUORATE_DEFAULT_IMAGE", image),
            plain("QUORATE_LOG_FORMAT", "json"),
        ]),
        ports: Some(vec![ContainerPort {
            name: Some("health".to_owned()),
            container_port: HEALTH,
            ..ContainerPort::default()
        }]),
        liveness_probe: Some(probe("/livez", 10, 3)),
        readiness_probe: Some(probe("/readyz", 2, 3)),
        resources: Some(ResourceRequirements {
            requests: amounts([("cpu", "50m"), ("memory", "64Mi")]),
            limits: Some([("memory".to_owned(), Quantity("256Mi".to_owned()))].into()),
            claims: None,
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                add: None,
            }),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

fn probe(path: &str, period: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("health".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

fn namespace() -> Namespace {
    let mut metadata = named(NAMESPACE);
    metadata.labels.get_or_insert_default().insert(
        "pod-security.kubernetes.io/enforce".to_owned(),
        "restricted".to_owned(),
    );
    Namespace {
        metadata,
        ..Namespace::default()
    }
}

fn rule(group: &str, resources: &[impl ToString], verbs: &[&str]) -> PolicyRule {
    PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(resources.iter().map(ToString::to_string).collect()),
        verbs: verbs.iter().map(ToString::to_string).collect(),
        ..PolicyRule::default()
    }
}

fn cluster_role(name: &str, rules: Vec<PolicyRule>) -> ClusterRole {
    ClusterRole {
        metadata: named(name),
        rules: Some(rules),
        aggregation_rule: None,
    }
}

fn role_ref(kind: &str) -> RoleRef {
    RoleRef {
        api_group: RBAC.to_owned(),
        kind: kind.to_owned(),
        name: NAME.to_owned(),
    }
}

fn subject() -> Subject {
    Subject {
        kind: "ServiceAccount".to_owned(),
        name: NAME.to_owned(),
        namespace: Some(NAMESPACE.to_owned()),
        api_group: None,
    }
}

fn selector() -> LabelSelector {
    LabelSelector {
        match_labels: Some([("app.kubernetes.io/name".to_owned(), NAME.to_owned())].into()),
        match_expressions: None,
    }
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        labels: selector().match_labels,
        ..ObjectMeta::default()
    }
}

fn inside(name: &str) -> ObjectMeta {
    ObjectMeta {
        namespace: Some(NAMESPACE.to_owned()),
        ..named(name)
    }
}

fn json(object: impl Serialize) -> serde_json::Result<Value> {
    serde_json::to_value(object)
}
