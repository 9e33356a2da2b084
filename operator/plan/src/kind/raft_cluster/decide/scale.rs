//! Scaling is a change of membership, one step at a time: out by a pod that becomes a learner and then a voter; in by
//! a member that the group lets go of before its pod is taken away.

use quorate_api::RetentionPolicy;
use quorate_wire::{MemberRequest, Part, TransferLeader};

use super::draft::{Draft, Phase, Reason};
use super::marks;
use super::predicates::{may_change, may_populate, may_remove};
use super::repair::{ask_leader, remove};
use super::rollout::successor;
use super::view::View;
use crate::planted::planted;
use crate::{Action, Refusal};

/// Whether the number of pods or of configured members is not the wanted one.
pub(super) fn is_needed(view: &View<'_>) -> bool {
    view.lead.is_some() && (view.floor() != view.wanted() || view.replicas() != Some(view.wanted()))
}

pub(super) fn scale(view: &View<'_>, draft: &mut Draft) -> Phase {
    let Some(lead) = &view.lead else {
        return Phase::Clear;
    };
    let (members, wanted) = (view.floor(), view.wanted());
    if members > wanted {
        // A learner first: nothing joins while it is there, and the last voter may have nobody to hand over to.
        let learners = view
            .configured()
            .filter(|(ordinal, member)| *ordinal >= wanted && member.part == Part::Learner);
        let learner = learners.map(|(ordinal, _)| ordinal).max();
        return scale_in(view, draft, learner.unwrap_or(members - 1));
    }
    // Pods that are in no configuration can go as soon as it is certain that they are not.
    let replicas = view.replicas().unwrap_or(wanted);
    if replicas > wanted {
        return match may_change(view) {
            // Once its pod is gone, only its claim's marks tell that nobody counts on it any more.
            Ok(_) if draft.marks_claims() => {
                draft.busy(Reason::Scaling, "waiting to see the claims marked".into())
            }
            Ok(_) => {
                draft.pool.replicas = wanted;
                draft.pool.partition = draft.pool.partition.min(wanted);
                draft.busy(Reason::Scaling, format!("{wanted} pods are enough"))
            }
            Err(refused) => draft.attempt(Reason::Scaling, Err(refused), String::new(), None),
        };
    }
    let all_vote = lead.voters().count() == usize::try_from(replicas).unwrap_or(0);
    if replicas < wanted && all_vote {
        let allowed = may_change(view).and_then(|_| may_populate(view, replicas + 1));
        if allowed.is_ok() {
            draft.pool.replicas = replicas + 1;
        }
        return draft.attempt(
            Reason::Scaling,
            allowed,
            format!("{} is made", view.pod_name(replicas)),
            None,
        );
    }
    if members < wanted {
        return draft.busy(
            Reason::Scaling,
            "waiting for the new member to answer".into(),
        );
    }
    Phase::Clear
}

/// Leadership off it, then the group lets go of it; its pod goes in a later round, when that is committed.
fn scale_in(view: &View<'_>, draft: &mut Draft, ordinal: i32) -> Phase {
    if planted!(ScaleInShrinksFirst) {
        draft.pool.replicas = ordinal;
        return Phase::Busy;
    }
    let Some(lead) = &view.lead else {
        return Phase::Clear;
    };
    let Some((_, last)) = view
        .configured()
        .find(|(configured, _)| *configured == ordinal)
    else {
        return Phase::Clear;
    };
    let pod = view.pod_name(ordinal);
    match may_remove(view, &pod, &last.id) {
        Err((Refusal::LeaderInPlace, words)) => {
            let to = successor(view, lead, ordinal).map(str::to_owned);
            draft.refuse((Refusal::LeaderInPlace, words));
            let request = MemberRequest::TransferLeader(TransferLeader { to });
            draft.attempt(
                Reason::Scaling,
                Ok(()),
                format!("{pod} hands leadership over"),
                ask_leader(view, lead, request),
            )
        }
        allowed => {
            let acts = remove(view, lead, ordinal, &last.id);
            draft.attempt(
                Reason::Scaling,
                allowed,
                format!("{pod} leaves the group"),
                acts,
            )
        }
    }
}

/// Deletes the volumes of members that were scaled in, where the resource says so: only when neither the group nor
/// the StatefulSet counts on the ordinal any more.
pub(super) fn release_claims(view: &View<'_>, draft: &mut Draft) {
    if view.desired.valid.when_scaled() != RetentionPolicy::Delete || view.lead.is_none() {
        return;
    }
    let Some(replicas) = view
        .replicas()
        .filter(|replicas| *replicas == draft.pool.replicas)
    else {
        return;
    };
    for (ordinal, member) in view.members.range(replicas.max(view.floor())..) {
        let Some(claim) = member.claim else {
            continue;
        };
        let gone = member.pod.is_none() && claim.metadata.deletion_timestamp.is_none();
        let known = marks::get(member, marks::GROUP_MARK).is_some();
        if let (true, Some(name), Some(uid)) = (gone, &claim.metadata.name, &claim.metadata.uid) {
            draft.actions.push(Action::DeleteClaim {
                name: name.clone(),
                uid: uid.clone(),
            });
            let what = if known {
                "its volume is deleted, as spec.storage.retention says"
            } else {
                "its unused volume is deleted"
            };
            draft.tell(
                Reason::Scaling,
                format!("{} was scaled in: {what}", view.pod_name(*ordinal)),
            );
        }
    }
}
