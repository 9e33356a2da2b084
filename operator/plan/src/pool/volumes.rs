//! Volumes grow in two steps. The claims first, whatever else is under way: a member whose disk is full may be what
//! everything else waits for. Then the StatefulSet, whose claim template is immutable: it is taken away without its pods
//! and made anew around them, so that members that come later begin at the new size.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use quorate_api::quantity;

use super::census::Member;
use super::crew::Crew;
use super::predicates::may_renew;
use super::step::{Reason, Step};
use super::view::View;
use crate::Action;
use crate::planted::planted;

/// The size that the claim template of a StatefulSet asks for.
pub fn template_size(set: &StatefulSet) -> Option<&Quantity> {
    let templates = set.spec.as_ref()?.volume_claim_templates.as_ref()?;
    requested(templates.first()?)
}

/// The StatefulSet was taken away from its pods by this operator or one before it, which must come back to the end:
/// without a StatefulSet no pod comes back that dies.
pub fn is_without_set(view: &View<'_>) -> bool {
    let mut members = view.members.values();
    view.set.is_none() && members.any(|member| is_owned(view, member))
}

/// The StatefulSet is on its way out: nothing can be applied to it.
pub fn set_is_going(view: &View<'_>) -> bool {
    view.set
        .is_some_and(|set| set.metadata.deletion_timestamp.is_some())
}

/// Asks for larger volumes, as the last acts of a round: one that is refused keeps no other act from being made.
pub fn grow(view: &View<'_>) -> Step {
    let Some(wanted) = wanted(view) else {
        return Step::default();
    };
    let smaller = claims(view).filter_map(|(pod, claim)| {
        let is_bound = phase(claim) == Some("Bound") && claim.metadata.deletion_timestamp.is_none();
        let (name, uid) = claim
            .metadata
            .name
            .clone()
            .zip(claim.metadata.uid.clone())?;
        let act = Action::GrowClaim {
            name,
            uid,
            size: wanted.0.clone(),
        };
        let grows = is_bound && is_less(requested(claim), wanted);
        grows.then(|| Step::attempt(Reason::GROWING, Ok(()), growing(&pod, wanted), [act]))
    });
    smaller.fold(Step::default(), Step::and)
}

/// When all volumes are there at their size, and nothing else is under way, the StatefulSet gets the size too. `before` is
/// what was decided already: it is carried out and seen first.
pub fn renew(crew: &dyn Crew<'_>, before: &Step) -> Step {
    let view = crew.view();
    let Some(wanted) = wanted(view) else {
        return Step::default();
    };
    let is_smaller = |(_, claim): &(String, &PersistentVolumeClaim)| {
        is_less(requested(claim), wanted) || is_less(capacity(claim), wanted)
    };
    if let Some((pod, _)) = claims(view).find(is_smaller) {
        return Step::waits(Reason::GROWING, growing(&pod, wanted));
    }
    let outgrown = |set: &&StatefulSet| is_less(template_size(set), wanted);
    let Some(set) = view.set.filter(outgrown) else {
        return give_back(view);
    };
    let allowed = may_renew(crew);
    if allowed.is_ok() && !before.actions.is_empty() {
        return Step::default();
    }
    let members = view.members.values();
    let unowned = members.filter(|member| !is_owned(view, member));
    let own = unowned.filter_map(|member| own(member, true));
    let mut acts: Vec<_> = own.filter(|_| !planted!(OrphansUnowned)).collect();
    let mut words = "the pods can be without their StatefulSet".to_owned();
    if acts.is_empty() {
        let act = set.metadata.name.clone().zip(set.metadata.uid.clone());
        acts.extend(act.map(|(name, uid)| Action::OrphanSet { name, uid }));
        words = format!(
            "the StatefulSet is made anew, with volumes of {} for members that come later",
            wanted.0
        );
    }
    Step::attempt(Reason::GROWING, allowed, words, acts)
}

/// A StatefulSet that was made anew around the pods owns them: what deletes it deletes them, as ever.
fn give_back(view: &View<'_>) -> Step {
    let uid = view.set.and_then(|set| set.metadata.uid.as_deref());
    let adopted = view
        .members
        .values()
        .filter(|member| is_owned(view, member) && uid.is_some_and(|uid| is_owned_by(member, uid)));
    let acts: Vec<_> = adopted.filter_map(|member| own(member, false)).collect();
    if acts.is_empty() {
        return Step::default();
    }
    let words = "the pods belong to their StatefulSet alone again";
    Step::attempt(Reason::GROWING, Ok(()), words, acts)
}

fn wanted<'a>(view: &View<'a>) -> Option<&'a Quantity> {
    view.pool.storage.as_ref().map(|storage| &storage.size)
}

fn own(member: &Member<'_>, owned: bool) -> Option<Action> {
    let metadata = &member.pod?.metadata;
    let (name, uid) = metadata.name.clone().zip(metadata.uid.clone())?;
    Some(Action::OwnPod { name, uid, owned })
}

fn growing(pod: &str, size: &Quantity) -> String {
    format!("the volume of {pod} grows to {}", size.0)
}

/// Whether the resource owns the pod beside the StatefulSet.
fn is_owned(view: &View<'_>, member: &Member<'_>) -> bool {
    is_owned_by(member, view.pool.identity.uid())
}

fn is_owned_by(member: &Member<'_>, uid: &str) -> bool {
    let owners = member
        .pod
        .and_then(|pod| pod.metadata.owner_references.as_ref());
    owners.into_iter().flatten().any(|owner| owner.uid == uid)
}

/// The claims of members that are there, each with the name of its pod.
fn claims<'v>(view: &'v View<'_>) -> impl Iterator<Item = (String, &'v PersistentVolumeClaim)> {
    let there = view.members.values().filter(|member| member.pod.is_some());
    there.filter_map(|member| Some((view.pod_name(member.ordinal), member.claim?)))
}

fn requested(claim: &PersistentVolumeClaim) -> Option<&Quantity> {
    let resources = claim.spec.as_ref()?.resources.as_ref()?;
    resources.requests.as_ref()?.get("storage")
}

/// None where the host tells none.
fn capacity(claim: &PersistentVolumeClaim) -> Option<&Quantity> {
    claim.status.as_ref()?.capacity.as_ref()?.get("storage")
}

fn phase(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.status.as_ref()?.phase.as_deref()
}

fn is_less(size: Option<&Quantity>, wanted: &Quantity) -> bool {
    let bytes = size.and_then(quantity::whole);
    bytes
        .zip(quantity::whole(wanted))
        .is_some_and(|(bytes, wanted)| bytes < wanted)
}
