//! What claims remember of the group, so that it is known even when status is lost and every member is silent.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use quorate_api::RetentionPolicy;

use super::census::{GROUP, Member};
use super::draft::Draft;
use super::predicates::may_change;
use super::view::View;
use crate::Action;

/// Annotation of a claim: the group that the data on it belongs to.
pub const GROUP_MARK: &str = "quorate.dev/group";

/// Annotation of a claim: the identity on it, once it is in the group's configuration, or was chosen to found it.
pub const INCARNATION: &str = "quorate.dev/incarnation";

/// Annotation of a claim: `true` on the one whose member forms the group. Written before that member is asked, so that
/// no other is ever asked.
pub const FOUNDER: &str = "quorate.dev/founder";

/// Annotation of a claim: the last identity on it that the group was asked to remove. It must never be added again.
pub const REMOVED: &str = "quorate.dev/removed";

/// Annotation of a claim: the identity on it that a leader has confirmed to have left the group, after it was asked to
/// remove it. A removal that was only asked for may never be made.
pub const LEFT: &str = "quorate.dev/left";

/// Annotation of a claim: the identity on it whose data was damaged and was asked to make way for another.
pub const SET_ASIDE: &str = "quorate.dev/set-aside";

pub(super) fn get<'a>(member: &Member<'a>, mark: &str) -> Option<&'a str> {
    member
        .claim?
        .metadata
        .annotations
        .as_ref()?
        .get(mark)
        .map(String::as_str)
}

/// Whether the claim says that the group counts on this member.
pub(super) fn is_counted(member: &Member<'_>) -> bool {
    let id = get(member, INCARNATION);
    get(member, GROUP_MARK).is_some() && id.is_some() && id != get(member, LEFT)
}

/// Brings every claim's marks up to date: whose data it holds, and whether it goes with the resource.
pub(super) fn update(view: &View<'_>, draft: &mut Draft) {
    for member in view.members.values() {
        let Some(claim) = member.claim else {
            continue;
        };
        let mut annotations = BTreeMap::new();
        if let Some(id) = member.id().filter(|id| view.part(id).is_some()) {
            annotations.insert(GROUP_MARK.to_owned(), GROUP.to_string());
            annotations.insert(INCARNATION.to_owned(), id.to_owned());
        }
        if let Some(id) = has_left(view, member) {
            annotations.insert(LEFT.to_owned(), id.to_owned());
        }
        draft.actions.extend(mark(view, claim, annotations));
    }
}

fn has_left<'a>(view: &View<'_>, member: &Member<'a>) -> Option<&'a str> {
    let id = get(member, INCARNATION).filter(|id| get(member, REMOVED) == Some(id))?;
    (may_change(view).is_ok() && view.part(id).is_none()).then_some(id)
}

/// Sets marks on a claim, if any of them is not there yet.
pub(super) fn mark(
    view: &View<'_>,
    claim: &PersistentVolumeClaim,
    annotations: BTreeMap<String, String>,
) -> Option<Action> {
    let owned = view.desired.valid.when_deleted() == RetentionPolicy::Delete;
    let old = claim.metadata.annotations.as_ref();
    let is_there =
        |(key, value): (&String, &String)| old.and_then(|old| old.get(key)) == Some(value);
    let uid = view.desired.valid.identity().uid();
    let was_owned = claim
        .metadata
        .owner_references
        .iter()
        .flatten()
        .any(|owner| owner.uid == uid);
    if annotations.iter().all(is_there) && owned == was_owned
        || claim.metadata.deletion_timestamp.is_some()
    {
        return None;
    }
    let name = claim.metadata.name.clone()?;
    Some(Action::MarkClaim {
        name,
        uid: claim.metadata.uid.clone()?,
        annotations,
        owned,
    })
}

/// Sets a mark that names an identity on a member's claim, if it is not there yet.
pub(super) fn note(view: &View<'_>, member: &Member<'_>, key: &str, id: &str) -> Option<Action> {
    let annotations = [(key.to_owned(), id.to_owned())].into();
    mark(view, member.claim?, annotations)
}
