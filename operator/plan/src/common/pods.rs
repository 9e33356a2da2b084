//! What every member's pod has, whatever its kind.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, LocalObjectReference, PodAffinityTerm, PodAntiAffinity,
    PodSecurityContext, PodSpec, ResourceRequirements, SeccompProfile, SecurityContext, Toleration,
    TopologySpreadConstraint, WeightedPodAffinityTerm,
};
use quorate_api::{Pods, Resources, Spread, quantity};

use super::check::{Checked, Faults, is_dns_subdomain};
use super::identity::matching;

const ZONE: &str = "topology.kubernetes.io/zone";
const NODE: &str = "kubernetes.io/hostname";

/// The user, and group, of every pod of ours, which our image calls `nonroot`: nothing of the node is ever its own.
pub const USER: i64 = 65532;

/// Checks of `spec.pods` what no rule does.
pub(crate) fn checked(pods: &Pods, faults: &mut Faults) -> Checked<Pods> {
    for (at, toleration) in pods.tolerations.iter().enumerate() {
        let exists = toleration.operator.as_deref() == Some("Exists");
        let path = format!("spec.pods.tolerations[{at}]");
        if toleration.key.as_deref().is_none_or(str::is_empty) && !exists {
            let words = "is missing: name a key, or use operator Exists for every key";
            faults.add(format!("{path}.key"), words);
        }
        let lasts = toleration.toleration_seconds.is_some();
        if lasts && toleration.effect.as_deref() != Some("NoExecute") {
            let words = "goes with effect NoExecute only: leave it out";
            faults.add(format!("{path}.tolerationSeconds"), words);
        }
    }
    faults.labels("spec.pods.nodeSelector", &pods.node_selector);
    let class = pods.priority_class_name.as_deref();
    if !class.is_none_or(is_dns_subdomain) {
        faults.add("spec.pods.priorityClassName", "is no object's name");
    }
    Checked::new(pods.clone())
}

/// Checks `spec.resources`, whose names no rule knows.
pub(crate) fn checked_resources(resources: &Resources, faults: &mut Faults) -> Checked<Resources> {
    for (block, amounts) in [
        ("requests", &resources.requests),
        ("limits", &resources.limits),
    ] {
        for (name, amount) in amounts {
            if quantity::nanos(amount).is_none() {
                faults.add(
                    format!("spec.resources.{block}.{name}"),
                    "must be a quantity that is not negative, as 500m or 1Gi",
                );
            }
        }
    }
    for (name, limit) in &resources.limits {
        let request = resources.requests.get(name).and_then(quantity::nanos);
        if request > quantity::nanos(limit) && quantity::nanos(limit).is_some() {
            faults.add(
                format!("spec.resources.requests.{name}"),
                "must not exceed the limit: lower it, or raise resources.limits",
            );
        }
    }
    Checked::new(resources.clone())
}

/// Placement, security and lifetime of a pod; its containers and volumes are still to be added.
pub(crate) fn pod_spec(
    pods: &Checked<Pods>,
    account: &str,
    selector: &BTreeMap<String, String>,
) -> PodSpec {
    let some = |empty: bool| (!empty).then_some(());
    PodSpec {
        service_account_name: Some(account.into()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(pods.termination_grace_period_seconds),
        priority_class_name: pods.priority_class_name.clone(),
        node_selector: some(pods.node_selector.is_empty()).map(|()| pods.node_selector.clone()),
        tolerations: some(pods.tolerations.is_empty())
            .map(|()| pods.tolerations.iter().map(toleration).collect()),
        image_pull_secrets: some(pods.image_pull_secrets.is_empty()).map(|()| {
            pods.image_pull_secrets
                .iter()
                .map(|name| LocalObjectReference { name: name.clone() })
                .collect()
        }),
        topology_spread_constraints: Some(vec![
            // Zones may be fewer than members, or none may be known: a hard rule here would keep clusters from starting.
            spread(ZONE, "ScheduleAnyway", selector),
            spread(
                NODE,
                if pods.spread == Spread::Required {
                    "DoNotSchedule"
                } else {
                    "ScheduleAnyway"
                },
                selector,
            ),
        ]),
        affinity: Some(apart(selector)),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            // A recursive chown of a large volume at every start would keep a member away for minutes.
            fs_group_change_policy: Some("OnRootMismatch".into()),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".into(),
                localhost_profile: None,
            }),
            ..PodSecurityContext::default()
        }),
        ..PodSpec::default()
    }
}

/// What Pod Security Standards call `restricted`, and a root file system that nothing writes to.
pub(crate) fn restricted() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities {
            add: None,
            drop: Some(vec!["ALL".into()]),
        }),
        ..SecurityContext::default()
    }
}

/// Requests and limits of a container.
pub(crate) fn requirements(resources: &Checked<Resources>) -> ResourceRequirements {
    let some = |amounts: &BTreeMap<_, _>| (!amounts.is_empty()).then(|| amounts.clone());
    ResourceRequirements {
        requests: some(&resources.requests),
        limits: some(&resources.limits),
        claims: None,
    }
}

fn toleration(toleration: &quorate_api::Toleration) -> Toleration {
    Toleration {
        key: toleration.key.clone(),
        operator: toleration.operator.clone(),
        value: toleration.value.clone(),
        effect: toleration.effect.clone(),
        toleration_seconds: toleration.toleration_seconds,
    }
}

fn spread(
    topology: &str,
    when_unsatisfiable: &str,
    selector: &BTreeMap<String, String>,
) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: topology.into(),
        when_unsatisfiable: when_unsatisfiable.into(),
        label_selector: Some(matching(selector.clone())),
        ..TopologySpreadConstraint::default()
    }
}

/// Spread bounds the skew, which two members on one of two nodes do not exceed; this asks for an empty node first.
fn apart(selector: &BTreeMap<String, String>) -> Affinity {
    let term = PodAffinityTerm {
        topology_key: NODE.into(),
        label_selector: Some(matching(selector.clone())),
        ..PodAffinityTerm::default()
    };
    Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![
                WeightedPodAffinityTerm {
                    weight: 100,
                    pod_affinity_term: term,
                },
            ]),
            ..PodAntiAffinity::default()
        }),
        ..Affinity::default()
    }
}
