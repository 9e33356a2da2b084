//! Repair comes before anything else: an upgrade that waited for a member that only a repair brings back would wait
//! for ever, and one that did not wait would take the next voter away.

use quorate_wire::{ChangeMember, MemberRequest, MemberState, SetAside};

use super::census::{Lead, Member};
use super::draft::{Draft, Phase, Reason};
use super::marks;
use super::predicates::{may_remove, may_replace, may_wipe};
use super::rollout;
use super::view::View;
use crate::Action;
use crate::planted::planted;

/// One repair at a time; one that is refused keeps no other from being made, which may be what it waits for.
pub(super) fn repair(view: &View<'_>, draft: &mut Draft) -> Phase {
    let mut busy = Phase::Clear;
    let before = draft.actions.len();
    for member in view.members.values() {
        if repair_member(view, draft, member) == Phase::Busy {
            busy = Phase::Busy;
        }
        if draft.actions.len() > before {
            return busy;
        }
    }
    if remove_stranger(view, draft) == Phase::Busy {
        return Phase::Busy;
    }
    match remove_lost(view, draft) {
        Phase::Clear => busy,
        Phase::Busy => Phase::Busy,
    }
}

fn repair_member(view: &View<'_>, draft: &mut Draft, member: &Member<'_>) -> Phase {
    let pod = view.pod_name(member.ordinal);
    // What is beyond the wanted number and in no configuration is about to go anyway.
    let stays = member.ordinal < view.wanted()
        || view
            .configured()
            .any(|(ordinal, _)| ordinal == member.ordinal);
    match member.state().filter(|_| stays) {
        Some(MemberState::Damaged) => {
            let why = member.status.and_then(|status| status.reason.as_deref());
            let why = why.unwrap_or("it does not say why");
            let (becomes, acts) = match set_aside(view, member) {
                Some(acts) => ("what is on its disk is set aside", acts),
                None => ("its disk is replaced, with what is on it", wipe(member)),
            };
            draft.attempt(
                Reason::Repairing,
                may_wipe(view, member),
                format!("{pod} is damaged: {becomes} ({why})"),
                acts,
            )
        }
        // Its data was set aside; when it starts again it draws a new identity.
        Some(MemberState::Removed) => {
            let words = format!("{pod} starts anew, with what was on its disk set aside");
            draft.attempt(Reason::Repairing, Ok(()), words, restart(member))
        }
        Some(MemberState::Empty) if is_spent(view, member) => {
            let words = format!(
                "{pod} was removed before the group ever reached it: its empty disk is replaced"
            );
            draft.attempt(
                Reason::Repairing,
                may_wipe(view, member),
                words,
                wipe(member),
            )
        }
        _ if rollout::is_left_behind(view, member) => {
            let words =
                format!("{pod} is not healthy, and its revision is given up: it is replaced");
            draft.attempt(
                Reason::Repairing,
                may_replace(view, member),
                words,
                restart(member),
            )
        }
        _ => Phase::Clear,
    }
}

/// An identity that the group asked to be removed is never added again, even if nothing was ever written under it.
pub(super) fn is_spent(view: &View<'_>, member: &Member<'_>) -> bool {
    let Some(id) = member.id() else { return false };
    let removed = marks::get(member, marks::REMOVED) == Some(id);
    removed && view.lead.is_some() && view.part(id).is_none() && !planted!(AddsRemovedIdentity)
}

/// An identity whose disk now holds another one is gone for good. One that is merely silent is not.
fn remove_lost(view: &View<'_>, draft: &mut Draft) -> Phase {
    let Some(lead) = &view.lead else {
        return Phase::Clear;
    };
    let lost = view.configured().find(|(ordinal, configured)| {
        let member = view.member(*ordinal);
        match member.state() {
            Some(MemberState::Empty | MemberState::Running) => {
                member.id() != Some(configured.id.as_str())
            }
            Some(_) => false,
            None => planted!(RemovesTheUnreachable) && member.pod.is_some(),
        }
    });
    let Some((ordinal, configured)) = lost else {
        return Phase::Clear;
    };
    let pod = view.pod_name(ordinal);
    let words = format!(
        "{pod} has another disk, or another identity on it: the earlier one, {}, is removed",
        configured.id
    );
    let allowed = may_remove(view, &pod, &configured.id);
    draft.attempt(
        Reason::Repairing,
        allowed,
        words,
        remove(view, lead, ordinal, &configured.id),
    )
}

/// What another hand added to the group goes, like every other drift.
fn remove_stranger(view: &View<'_>, draft: &mut Draft) -> Phase {
    let (Some(lead), Some(stranger)) = (&view.lead, view.stranger()) else {
        return Phase::Clear;
    };
    let (id, name, address) = (&stranger.id, &stranger.name, &stranger.address);
    let words = format!(
        "the learner {name} ({id}) at {address} is no member of this cluster: it is removed"
    );
    draft.attempt(
        Reason::Repairing,
        may_remove(view, name, id),
        words,
        ask_removal(view, lead, id),
    )
}

/// Marks the claim, then asks the leader: an operator that dies in between leaves a mark that says nothing as long as
/// the identity is in the configuration.
pub(super) fn remove(view: &View<'_>, lead: &Lead<'_>, ordinal: i32, id: &str) -> Vec<Action> {
    let mark = marks::note(view, &view.member(ordinal), marks::REMOVED, id);
    mark.into_iter()
        .chain(ask_removal(view, lead, id))
        .collect()
}

fn ask_removal(view: &View<'_>, lead: &Lead<'_>, id: &str) -> Option<Action> {
    let change = ChangeMember {
        configuration_index: lead.configuration.index,
    };
    let request = MemberRequest::Remove {
        id: id.to_owned(),
        change,
    };
    ask_leader(view, lead, request)
}

pub(super) fn ask_leader(
    view: &View<'_>,
    lead: &Lead<'_>,
    request: MemberRequest,
) -> Option<Action> {
    ask(view, &view.member(lead.ordinal), request)
}

pub(super) fn ask(view: &View<'_>, member: &Member<'_>, request: MemberRequest) -> Option<Action> {
    Some(Action::Ask {
        pod: view.pod_name(member.ordinal),
        pod_uid: member.pod?.metadata.uid.clone()?,
        request,
    })
}

/// Asks the damaged member itself, which then says that it is removed. Once per disk: where the data of two identities
/// was damaged, no third one is laid on it.
fn set_aside(view: &View<'_>, member: &Member<'_>) -> Option<Vec<Action>> {
    let id = member
        .id()
        .filter(|_| member.status.is_some_and(|status| status.can_set_aside))?;
    let earlier = marks::get(member, marks::SET_ASIDE);
    if earlier.is_some_and(|earlier| earlier != id) {
        return None;
    }
    let request = MemberRequest::SetAside(SetAside {
        incarnation: id.to_owned(),
    });
    // Only a claim remembers it.
    member.claim?;
    let ask = ask(view, member, request)?;
    let mark = marks::note(view, member, marks::SET_ASIDE, id);
    Some(mark.into_iter().chain([ask]).collect())
}

/// The claim first: it waits for its pod to go, and the pod that comes next waits for the claim.
fn wipe(member: &Member<'_>) -> Vec<Action> {
    let claim = member
        .claim
        .filter(|claim| claim.metadata.deletion_timestamp.is_none());
    let claim = claim.and_then(|claim| {
        Some(Action::DeleteClaim {
            name: claim.metadata.name.clone()?,
            uid: claim.metadata.uid.clone()?,
        })
    });
    claim.into_iter().chain(restart(member)).collect()
}

pub(super) fn restart(member: &Member<'_>) -> Option<Action> {
    let pod = member.pod.filter(|_| !member.is_terminating())?;
    Some(Action::DeletePod {
        name: pod.metadata.name.clone()?,
        uid: pod.metadata.uid.clone()?,
    })
}
