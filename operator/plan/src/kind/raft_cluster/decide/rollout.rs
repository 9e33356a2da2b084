//! A new revision goes to one member at a time, from the top: the partition says how far it may reach, also when a
//! node dies. Who leads is moved to the lowest ordinal first, so that followers come first whatever their number.

use quorate_wire::{MemberRequest, MemberState, TransferLeader};

use super::census::{Lead, Member};
use super::draft::{Draft, Phase, Reason};
use super::predicates::{Refusing, is_group_of_one, may_restart};
use super::repair::{ask_leader, restart};
use super::view::View;
use crate::Refusal;
use crate::planted::planted;

/// Whether any pod is not at the newest revision, or another template is about to be published.
pub(super) fn is_needed(view: &View<'_>, draft: &Draft) -> bool {
    highest_outdated(view).is_some() || draft.publishes
}

/// While another phase is busy no member may be restarted beside: what was granted and not used is taken back.
pub(super) fn take_back(view: &View<'_>, draft: &mut Draft) {
    let granted = highest_outdated(view).filter(|ordinal| *ordinal >= view.partition());
    if let Some(ordinal) = granted.filter(|_| !draft.publishes) {
        draft.pool.partition = ordinal + 1;
    }
}

pub(super) fn roll(view: &View<'_>, draft: &mut Draft) -> Phase {
    if draft.publishes {
        return draft.busy(
            Reason::Upgrading,
            "the new revision is published, and fenced off".into(),
        );
    }
    if view.replicas() != Some(draft.pool.replicas) {
        return draft.busy(
            Reason::Repairing,
            "the number of pods was changed by another hand, and is put back".into(),
        );
    }
    let Some(ordinal) = highest_outdated(view) else {
        // Every pod is at the newest revision: nothing is left to fence.
        let settled = (0..view.replicas().unwrap_or(0))
            .all(|ordinal| is_at_update(view, &view.member(ordinal)));
        if settled {
            draft.pool.partition = 0;
        }
        return wait_for_last(view, draft);
    };
    let member = view.member(ordinal);
    let granted = ordinal >= view.partition();
    let allowed = previous_is_back(view, ordinal).and_then(|()| may_restart(view, &member));
    if let Err((Refusal::LeaderInPlace, words)) = &allowed
        && let Some(phase) = hand_over(view, draft, ordinal, words.clone())
    {
        // What was granted while another led is taken back until this one does not.
        draft.pool.partition = ordinal + 1;
        return phase;
    }
    match allowed {
        Ok(()) => {
            draft.pool.partition = ordinal;
            let pod = view.pod_name(ordinal);
            if view.lead.as_ref().is_some_and(is_group_of_one) {
                draft.tell(
                    Reason::Upgrading,
                    format!("{pod} restarts: a group of one stops serving meanwhile"),
                );
            }
            // The controller does this too, but not while some other pod is not ready.
            if granted {
                draft.actions.extend(restart(&member));
            }
            draft.busy(Reason::Upgrading, format!("{pod} gets the new revision"))
        }
        Err(refused) => {
            if granted {
                draft.pool.partition = ordinal + 1;
            }
            note_stop(view, draft, &refused);
            draft.attempt(Reason::Upgrading, Err(refused), String::new(), None)
        }
    }
}

/// The last one to be restarted is waited for like the others.
fn wait_for_last(view: &View<'_>, draft: &mut Draft) -> Phase {
    if view.current_revision() == view.update_revision() {
        return Phase::Clear;
    }
    match previous_is_back(view, -1) {
        Ok(()) => Phase::Clear,
        Err(refused) => {
            note_stop(view, draft, &refused);
            draft.attempt(Reason::Upgrading, Err(refused), String::new(), None)
        }
    }
}

/// Leadership goes to the lowest ordinal that can take it: it is restarted last.
fn hand_over(view: &View<'_>, draft: &mut Draft, ordinal: i32, words: String) -> Option<Phase> {
    let lead = view.lead.as_ref()?;
    let to = successor(view, lead, ordinal)?;
    let request = MemberRequest::TransferLeader(TransferLeader {
        to: Some(to.to_owned()),
    });
    draft.refuse((Refusal::LeaderInPlace, words));
    draft.actions.extend(ask_leader(view, lead, request));
    let words = format!("{} hands leadership over", view.pod_name(ordinal));
    draft.tell(Reason::Upgrading, words.clone());
    Some(draft.busy(Reason::Upgrading, words))
}

/// The healthy voter with the lowest ordinal, other than this one.
pub(super) fn successor<'a>(view: &View<'a>, lead: &Lead<'a>, ordinal: i32) -> Option<&'a str> {
    let others = view.configured().filter(|(other, _)| *other != ordinal);
    let healthy = others.filter(|(_, member)| lead.counts(&member.id));
    healthy
        .min_by_key(|(other, _)| *other)
        .map(|(_, member)| member.id.as_str())
}

/// The members above this one are there at the new revision and, where they vote, caught up by the leader's account.
fn previous_is_back(view: &View<'_>, ordinal: i32) -> Result<(), Refusing> {
    if planted!(UpgradesTwoAtOnce) {
        return Ok(());
    }
    let above = ordinal + 1..view.replicas().unwrap_or(0);
    let stays = |ordinal: &i32| {
        *ordinal < view.wanted()
            || view
                .configured()
                .any(|(configured, _)| configured == *ordinal)
    };
    for member in above.filter(stays).map(|above| view.member(above)) {
        let pod = view.pod_name(member.ordinal);
        let wait = |words: String| Err((Refusal::PreviousNotReady, words));
        let Some(status) = member.status.filter(|_| is_at_update(view, &member)) else {
            return wait(format!(
                "{pod} is not back: {}",
                member
                    .silence
                    .unwrap_or("it has no pod at the new revision")
            ));
        };
        if let Some(why) = other_version(view, &member) {
            return wait(format!("{pod} {why}"));
        }
        if !is_healthy(view, &member) && status.state != MemberState::Empty {
            return wait(format!("{pod} is back, but not caught up"));
        }
    }
    Ok(())
}

/// Says that the revision goes no further, once the member had time to start.
fn note_stop(view: &View<'_>, draft: &mut Draft, refused: &Refusing) {
    if refused.0 != Refusal::PreviousNotReady {
        return;
    }
    let late = |member: &&Member<'_>| is_late(view, member);
    draft.stopped = view
        .members
        .values()
        .rev()
        .find(late)
        .map(|member| member.ordinal);
}

/// A member that had time to start at the newest revision, and did not get there.
fn is_late(view: &View<'_>, member: &Member<'_>) -> bool {
    let old_enough = member
        .age(view.now)
        .is_some_and(|age| age > super::PATIENCE);
    let arrived = is_healthy(view, member) && other_version(view, member).is_none();
    old_enough && is_at_update(view, member) && !arrived
}

/// A binary of another version than the one specified.
pub(super) fn other_version(view: &View<'_>, member: &Member<'_>) -> Option<String> {
    let wanted = view.desired.valid.release().version.as_ref()?;
    let version = &member.status?.version;
    (version != wanted).then(|| {
        format!("reports version {version}, not {wanted}: the image is not what its name says")
    })
}

/// A pod that is not healthy, whose revision nothing will bring back: a broken upgrade that was reverted or replaced.
/// The StatefulSet's controller leaves it alone, behind the partition; above it, its turn comes.
pub(super) fn is_left_behind(view: &View<'_>, member: &Member<'_>) -> bool {
    let known = member.revision().is_some() && view.current_revision().is_some();
    known
        && member.ordinal < view.partition()
        && member.revision() != view.current_revision()
        && !member.is_terminating()
        && !is_healthy(view, member)
}

/// A voter that counts, or a learner or an empty member that answers.
pub(super) fn is_healthy(view: &View<'_>, member: &Member<'_>) -> bool {
    let Some(id) = member.id() else { return false };
    match view.part(id) {
        Some(quorate_wire::Part::Learner) => member.state() == Some(MemberState::Running),
        Some(_) => view
            .lead
            .as_ref()
            .is_some_and(|lead| lead.healthy.contains(id)),
        None => false,
    }
}

pub(super) fn is_at_update(view: &View<'_>, member: &Member<'_>) -> bool {
    member.revision().is_some() && member.revision() == view.update_revision()
}

fn highest_outdated(view: &View<'_>) -> Option<i32> {
    let replicas = view.replicas()?;
    let outdated = |ordinal: &i32| {
        let member = view.member(*ordinal);
        // One that is gone comes back at the newest revision above the partition.
        match member.pod {
            Some(_) => !is_at_update(view, &member),
            None => {
                *ordinal < view.partition() && view.current_revision() != view.update_revision()
            }
        }
    };
    (0..replicas).rev().find(outdated)
}
