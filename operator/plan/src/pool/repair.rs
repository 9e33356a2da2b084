//! Pods that nothing else brings back.

use super::census::Member;
use super::crew::Crew;
use super::predicates::may_replace;
use super::rollout::is_left_behind;
use super::step::{Reason, Step};
use crate::Action;

/// A pod of a revision that is given up is replaced, if it is not healthy.
pub fn left_behind<'a>(crew: &dyn Crew<'a>, member: &Member<'a>) -> Step {
    if !is_left_behind(crew, member) {
        return Step::default();
    }
    let pod = crew.view().pod_name(member.ordinal);
    let words = format!("{pod} is not healthy, and its revision is given up: it is replaced");
    Step::attempt(
        Reason::REPAIRING,
        may_replace(crew, member),
        words,
        restart(member),
    )
}

/// One repair at a time; one that is refused keeps no other from being made, which may be what it waits for.
pub fn one_by_one<'m, 'a: 'm>(
    members: impl Iterator<Item = &'m Member<'a>>,
    repair: impl Fn(&Member<'a>) -> Step,
) -> Step {
    let mut wanted = Step::default();
    for member in members {
        wanted = wanted.and(repair(member));
        if !wanted.actions.is_empty() {
            break;
        }
    }
    wanted
}

/// The claim first: it waits for its pod to go, and the pod that comes next waits for the claim.
pub fn wipe(member: &Member<'_>) -> Vec<Action> {
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

/// Its StatefulSet makes the pod anew.
pub fn restart(member: &Member<'_>) -> Option<Action> {
    let pod = member.pod.filter(|_| !member.is_terminating())?;
    Some(Action::DeletePod {
        name: pod.metadata.name.clone()?,
        uid: pod.metadata.uid.clone()?,
    })
}
