//! Revisions: every pod template that a set has had, as ControllerRevisions.

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::pod;

/// Makes sure that the set's template is the newest revision, and returns its name. A template that was used before
/// gets its old name back: that is how a revert finds pods that already run it.
pub(crate) fn update(set: &StatefulSet, revisions: &mut Vec<ControllerRevision>) -> String {
    let data = json!({ "spec": { "template": set.spec.as_ref().map(|spec| &spec.template) } });
    let newest = revisions
        .iter()
        .map(|revision| revision.revision)
        .max()
        .unwrap_or(0);
    if let Some(equal) = revisions
        .iter_mut()
        .find(|revision| data_of(revision) == Some(&data))
    {
        if equal.revision < newest {
            equal.revision = newest + 1;
        }
        return name(equal).to_owned();
    }
    let set_name = set.metadata.name.as_deref().unwrap_or_default();
    let mut salt = 0;
    let new = loop {
        let candidate = format!("{set_name}-{:08x}", hash(&format!("{salt}{data}")));
        if revisions.iter().all(|revision| name(revision) != candidate) {
            break candidate;
        }
        salt += 1;
    };
    revisions.push(ControllerRevision {
        metadata: ObjectMeta {
            name: Some(new.clone()),
            namespace: set.metadata.namespace.clone(),
            owner_references: Some(vec![pod::owner(set)]),
            ..ObjectMeta::default()
        },
        data: Some(RawExtension(data)),
        revision: newest + 1,
    });
    new
}

/// The pod template of a revision.
pub(crate) fn template(revisions: &[ControllerRevision], wanted: &str) -> Option<PodTemplateSpec> {
    let revision = revisions.iter().find(|revision| name(revision) == wanted)?;
    let template = data_of(revision)?.pointer("/spec/template")?;
    PodTemplateSpec::deserialize(template).ok()
}

/// Forgets the oldest revisions beyond the set's limit; those in use (`live`) are always kept.
pub(crate) fn truncate(set: &StatefulSet, revisions: &mut Vec<ControllerRevision>, live: &[&str]) {
    let limit = set
        .spec
        .as_ref()
        .and_then(|spec| spec.revision_history_limit)
        .unwrap_or(10);
    revisions.sort_by_key(|revision| revision.revision);
    let dead = revisions
        .iter()
        .filter(|revision| !live.contains(&name(revision)))
        .count();
    let mut excess = dead.saturating_sub(usize::try_from(limit).unwrap_or(0));
    revisions.retain(|revision| {
        let drop = excess > 0 && !live.contains(&name(revision));
        excess -= usize::from(drop);
        !drop
    });
}

pub(crate) fn name(revision: &ControllerRevision) -> &str {
    revision.metadata.name.as_deref().unwrap_or_default()
}

fn data_of(revision: &ControllerRevision) -> Option<&Value> {
    revision.data.as_ref().map(|data| &data.0)
}

/// FNV-1a: any hash will do, as long as it never changes.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_template_that_was_used_before_gets_its_name_back_and_is_the_newest() {
        let mut revisions = Vec::new();
        let a = update(&testing::set(3, "a"), &mut revisions);
        let b = update(&testing::set(3, "b"), &mut revisions);
        assert_ne!(a, b);
        assert_eq!(update(&testing::set(3, "a"), &mut revisions), a);
        assert_eq!(revisions.len(), 2);
        assert_eq!(
            name(
                revisions
                    .iter()
                    .max_by_key(|revision| revision.revision)
                    .unwrap()
            ),
            a
        );
    }

    #[test]
    fn the_number_of_replicas_is_no_part_of_a_revision() {
        let mut revisions = Vec::new();
        assert_eq!(
            update(&testing::set(3, "a"), &mut revisions),
            update(&testing::set(5, "a"), &mut revisions)
        );
    }

    #[test]
    fn only_revisions_out_of_use_are_forgotten() {
        let mut set = testing::set(3, "a");
        set.spec.as_mut().unwrap().revision_history_limit = Some(1);
        let mut revisions = Vec::new();
        let names: Vec<_> = ["a", "b", "c", "d"]
            .map(|image| update(&testing::set(3, image), &mut revisions))
            .to_vec();
        truncate(&set, &mut revisions, &[&names[0], &names[3]]);
        let left: Vec<_> = revisions.iter().map(name).collect();
        assert_eq!(left, [&names[0], &names[2], &names[3]]);
    }
}
