//! Pods: how the controller makes them, and what it asks of them.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::jiff::Timestamp;

use crate::claim;

/// The label that carries the name of a pod's revision.
const REVISION: &str = "controller-revision-hash";

/// The name of the pod with this ordinal.
pub fn pod_name(set: &str, ordinal: i32) -> String {
    format!("{set}-{ordinal}")
}

/// The ordinal in a pod's name, if the pod is one of this set's.
pub fn ordinal(set: &str, pod: &str) -> Option<i32> {
    let digits = pod.strip_prefix(set)?.strip_prefix('-')?;
    let ordinal: i32 = digits.parse().ok()?;
    (ordinal.to_string() == digits).then_some(ordinal)
}

/// The revision that a pod was made at.
pub fn revision_of(pod: &Pod) -> &str {
    let labels = pod.metadata.labels.as_ref();
    labels
        .and_then(|labels| labels.get(REVISION))
        .map(String::as_str)
        .unwrap_or_default()
}

/// Whether the pod was deleted and waits for its processes to end.
pub fn is_terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Whether the pod is Running and Ready.
pub fn is_ready(pod: &Pod) -> bool {
    let Some(status) = &pod.status else {
        return false;
    };
    let conditions = status.conditions.as_deref().unwrap_or_default();
    phase(pod) == "Running"
        && conditions
            .iter()
            .any(|c| c.type_ == "Ready" && c.status == "True")
}

/// Whether the pod has been Ready for that long; until when it must stay so otherwise is in its Ready condition.
pub(crate) fn is_available(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> bool {
    if min_ready_seconds == 0 {
        return is_ready(pod);
    }
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default();
    let since = conditions
        .iter()
        .find(|c| c.type_ == "Ready")
        .and_then(|c| c.last_transition_time.as_ref());
    is_ready(pod)
        && since.is_some_and(|since| {
            now.as_second() - since.0.as_second() >= i64::from(min_ready_seconds)
        })
}

/// Whether the pod has ended for good (evicted, or its node rebooted): the controller makes it anew.
pub(crate) fn has_ended(pod: &Pod) -> bool {
    matches!(phase(pod), "Failed" | "Succeeded")
}

fn phase(pod: &Pod) -> &str {
    pod.status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        .unwrap_or_default()
}

/// The pod that a template makes, without a UID: the API server gives it.
pub(crate) fn make(
    set: &StatefulSet,
    template: &PodTemplateSpec,
    revision: &str,
    ordinal: i32,
) -> Pod {
    let set_name = set.metadata.name.as_deref().unwrap_or_default();
    let name = pod_name(set_name, ordinal);
    let mut metadata = template.metadata.clone().unwrap_or_default();
    metadata.labels.get_or_insert_default().extend([
        (REVISION.to_owned(), revision.to_owned()),
        (
            "statefulset.kubernetes.io/pod-name".to_owned(),
            name.clone(),
        ),
        (
            "apps.kubernetes.io/pod-index".to_owned(),
            ordinal.to_string(),
        ),
    ]);
    let mut spec = template.spec.clone().unwrap_or_default();
    spec.hostname = Some(name.clone());
    spec.subdomain = set.spec.as_ref().and_then(|spec| spec.service_name.clone());
    mount_claims(set, &name, spec.volumes.get_or_insert_default());
    Pod {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: set.metadata.namespace.clone(),
            owner_references: Some(vec![owner(set)]),
            ..metadata
        },
        spec: Some(spec),
        status: None,
    }
}

/// A claim's volume takes the place of one of the same name in the template.
fn mount_claims(set: &StatefulSet, pod: &str, volumes: &mut Vec<Volume>) {
    let templates = set
        .spec
        .as_ref()
        .and_then(|spec| spec.volume_claim_templates.as_deref())
        .unwrap_or_default();
    for template in templates
        .iter()
        .filter_map(|claim| claim.metadata.name.as_deref())
    {
        volumes.retain(|volume| volume.name != template);
        volumes.push(Volume {
            name: template.to_owned(),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: claim::claim_name(template, pod),
                read_only: None,
            }),
            ..Volume::default()
        });
    }
}

/// The owner reference to a set.
pub(crate) fn owner(set: &StatefulSet) -> OwnerReference {
    OwnerReference {
        api_version: "apps/v1".to_owned(),
        kind: "StatefulSet".to_owned(),
        name: set.metadata.name.clone().unwrap_or_default(),
        uid: set.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// Makes a set the controller of a pod that nobody controls, if it has the set's name and labels, as the controller does
/// at the beginning of a round with what an earlier set of the name left. Says whether it did.
pub fn adopt(set: &StatefulSet, pod: &mut Pod) -> bool {
    let selector = set.spec.as_ref().map(|spec| &spec.selector);
    let wanted = selector.and_then(|selector| selector.match_labels.as_ref());
    let (set_name, labels) = (set.metadata.name.as_deref(), pod.metadata.labels.as_ref());
    let is_member = pod.metadata.name.as_deref().zip(set_name);
    let is_member = is_member.is_some_and(|(pod, set)| ordinal(set, pod).is_some());
    let matches = wanted.is_some_and(|wanted| {
        let has = |(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value);
        wanted.iter().all(has)
    });
    let mut owners = pod.metadata.owner_references.iter().flatten();
    let is_free = !owners.any(|owner| owner.controller == Some(true));
    let adopts = is_free
        && is_member
        && matches
        && set.metadata.deletion_timestamp.is_none()
        && pod.metadata.deletion_timestamp.is_none();
    if adopts {
        let owners = pod.metadata.owner_references.get_or_insert_default();
        owners.push(owner(set));
    }
    adopts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn an_ordinal_is_read_from_its_own_sets_pods_only() {
        assert_eq!(ordinal("web", "web-10"), Some(10));
        assert_eq!(ordinal("web", "web-x-1"), None);
        assert_eq!(ordinal("web", "web-01"), None);
        assert_eq!(ordinal("web", "other-1"), None);
    }

    #[test]
    fn a_pod_that_nobody_controls_is_adopted_beside_its_other_owner() {
        let mut set = testing::set(3, "a");
        let mut pod = make(&set, &set.spec.as_ref().unwrap().template, "web-1234", 2);
        assert!(!adopt(&set, &mut pod), "it has a controller");
        let beside = OwnerReference {
            uid: "resource".into(),
            ..OwnerReference::default()
        };
        pod.metadata.owner_references = Some(vec![beside.clone()]);
        set.metadata.uid = Some("another".into());
        let (mut other, mut unlabelled, mut going) = (pod.clone(), pod.clone(), pod.clone());
        assert!(adopt(&set, &mut pod));
        let owners = pod.metadata.owner_references;
        assert_eq!(owners, Some(vec![beside, owner(&set)]));

        other.metadata.name = Some("other-2".into());
        unlabelled.metadata.labels = None;
        going.metadata.deletion_timestamp =
            Some(serde_json::from_value("1970-01-01T00:00:00Z".into()).unwrap());
        for mut pod in [other, unlabelled, going] {
            let before = pod.clone();
            assert!(!adopt(&set, &mut pod));
            assert_eq!(pod, before);
        }
    }

    #[test]
    fn a_pod_has_its_own_name_and_claim_and_its_sets_service() {
        let set = testing::set(3, "a");
        let pod = make(&set, &set.spec.as_ref().unwrap().template, "web-1234", 2);
        assert_eq!(revision_of(&pod), "web-1234");
        let spec = pod.spec.unwrap();
        assert_eq!(
            (spec.hostname.as_deref(), spec.subdomain.as_deref()),
            (Some("web-2"), Some("web-peers"))
        );
        let claim = spec.volumes.unwrap()[0]
            .persistent_volume_claim
            .clone()
            .unwrap();
        assert_eq!(claim.claim_name, "data-web-2");
    }
}
