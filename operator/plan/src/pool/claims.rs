//! The members' claims: what is noted on them, with whom they go, and when they are let go of.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use quorate_api::RetentionPolicy;

use super::census::Member;
use super::crew::Crew;
use super::step::{Reason, Step};
use super::view::View;
use crate::Action;

/// What a mark on a member's claim says.
pub fn get<'a>(member: &Member<'a>, mark: &str) -> Option<&'a str> {
    let annotations = member.claim?.metadata.annotations.as_ref()?;
    annotations.get(mark).map(String::as_str)
}

/// Sets marks on a claim and has it go with the resource or stay, as is specified; none if all is so already.
pub fn mark(
    view: &View<'_>,
    claim: &PersistentVolumeClaim,
    annotations: BTreeMap<String, String>,
) -> Option<Action> {
    let storage = view.pool.storage.as_ref()?;
    let owned = storage.retention.when_deleted == RetentionPolicy::Delete;
    let old = claim.metadata.annotations.as_ref();
    let is_there =
        |(key, value): (&String, &String)| old.and_then(|old| old.get(key)) == Some(value);
    let uid = view.pool.identity.uid();
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
    Some(Action::MarkClaim {
        name: claim.metadata.name.clone()?,
        uid: claim.metadata.uid.clone()?,
        annotations,
        owned,
    })
}

/// Sets a mark that names an identity on a member's claim, if it is not there yet.
pub fn note(view: &View<'_>, member: &Member<'_>, key: &str, id: &str) -> Option<Action> {
    let annotations = [(key.to_owned(), id.to_owned())].into();
    mark(view, member.claim?, annotations)
}

/// Brings every claim's marks up to date.
pub fn update<'a>(
    view: &View<'a>,
    marks: impl Fn(&Member<'a>) -> BTreeMap<String, String>,
) -> Step {
    let claimed = view.members.values();
    let claimed = claimed.filter_map(|member| Some((member, member.claim?)));
    Step::acts(claimed.filter_map(|(member, claim)| mark(view, claim, marks(member))))
}

/// Deletes the volumes of members that were scaled in, where the resource says so: only when neither the members nor
/// the StatefulSet count on the ordinal any more.
pub fn release(crew: &dyn Crew<'_>) -> Step {
    let view = crew.view();
    let storage = view.pool.storage.as_ref();
    let deletes = storage.is_some_and(|s| s.retention.when_scaled == RetentionPolicy::Delete);
    let floor = crew.floor();
    let settled = view
        .replicas()
        .filter(|replicas| *replicas == view.base(floor).replicas);
    let Some(replicas) = settled.filter(|_| deletes && crew.outage().is_none()) else {
        return Step::default();
    };
    let gone = view.members.range(replicas.max(floor)..);
    let released = gone.filter_map(|(ordinal, member)| {
        let claim = member.claim.filter(|_| member.pod.is_none())?;
        if claim.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let act = Action::DeleteClaim {
            name: claim.metadata.name.clone()?,
            uid: claim.metadata.uid.clone()?,
        };
        let pod = view.pod_name(*ordinal);
        let words =
            format!("{pod} was scaled in: its volume is deleted, as spec.storage.retention says");
        Some(Step::acts([act]).and(Step::told(Reason::SCALING, words)))
    });
    released.fold(Step::default(), Step::and)
}
