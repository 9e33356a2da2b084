//! Claims: one for each template and ordinal, made with the first pod that needs it and kept when the pod goes.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use crate::pod;

/// The name of the claim that a template gives a pod.
pub fn claim_name(template: &str, pod: &str) -> String {
    format!("{template}-{pod}")
}

/// The claims that a pod mounts, as its set's templates make them.
pub(crate) fn of_pod(set: &StatefulSet, pod: &str) -> Vec<PersistentVolumeClaim> {
    let spec = set.spec.clone().unwrap_or_default();
    let matching = spec.selector.match_labels.unwrap_or_default();
    let templates = spec.volume_claim_templates.unwrap_or_default();
    templates
        .into_iter()
        .map(|mut claim| {
            let template = claim.metadata.name.take().unwrap_or_default();
            claim.metadata.name = Some(claim_name(&template, pod));
            claim.metadata.namespace = set.metadata.namespace.clone();
            claim
                .metadata
                .labels
                .get_or_insert_default()
                .extend(matching.clone());
            if deletes(set, When::Deleted) {
                claim.metadata.owner_references = Some(vec![pod::owner(set)]);
            }
            claim
        })
        .collect()
}

/// The claims of a pod that goes for good, changed so that they go with it, where the policy says so.
pub(crate) fn of_condemned(
    set: &StatefulSet,
    pod: &Pod,
    claims: &BTreeMap<String, PersistentVolumeClaim>,
) -> Vec<PersistentVolumeClaim> {
    if !deletes(set, When::Scaled) {
        return Vec::new();
    }
    let owner = OwnerReference {
        api_version: "v1".into(),
        kind: "Pod".into(),
        name: pod.metadata.name.clone().unwrap_or_default(),
        uid: pod.metadata.uid.clone().unwrap_or_default(),
        ..OwnerReference::default()
    };
    of_pod(set, &owner.name)
        .iter()
        .filter_map(|template| claims.get(template.metadata.name.as_ref()?))
        .filter(|claim| {
            !claim
                .metadata
                .owner_references
                .as_ref()
                .is_some_and(|owners| owners.contains(&owner))
        })
        .map(|claim| {
            let mut claim = claim.clone();
            claim.metadata.owner_references = Some(vec![owner.clone()]);
            claim
        })
        .collect()
}

enum When {
    Deleted,
    Scaled,
}

fn deletes(set: &StatefulSet, when: When) -> bool {
    let policy = set
        .spec
        .as_ref()
        .and_then(|spec| spec.persistent_volume_claim_retention_policy.as_ref());
    let policy = policy.and_then(|policy| match when {
        When::Deleted => policy.when_deleted.as_deref(),
        When::Scaled => policy.when_scaled.as_deref(),
    });
    policy == Some("Delete")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_claim_is_named_after_template_and_pod_and_carries_the_selector() {
        let claims = of_pod(&testing::set(3, "a"), "web-1");
        assert_eq!(claims[0].metadata.name.as_deref(), Some("data-web-1"));
        assert_eq!(claims[0].metadata.labels.as_ref().unwrap()["app"], "web");
        assert_eq!(claims[0].metadata.owner_references, None);
    }
}
