//! What must hold before each disruptive act, whatever the kind. Every refusal names itself: it becomes a condition, an
//! event and a metric label.

use std::time::Duration;

use super::PATIENCE;
use super::census::Member;
use super::crew::{Crew, Loss};
use super::step::{Refusing, refuse};
use super::view::View;
use crate::Refusal;

/// So long a pod that serves and whose revision is given up may finish what it is at.
const REVERT_PATIENCE: Duration = Duration::from_secs(60);

/// Anything may be changed at all.
pub fn may_work(view: &View<'_>) -> Result<(), Refusing> {
    if view.pool.paused {
        return refuse(
            Refusal::Paused,
            "spec.paused is true: nothing is changed until it is false",
        );
    }
    if !view.behind.is_empty() {
        return refuse(
            Refusal::CachesBehind,
            format!(
                "the observation does not show {} yet",
                view.behind.join(", ")
            ),
        );
    }
    if !view.set_is_synced() {
        return refuse(
            Refusal::CachesBehind,
            "the StatefulSet's controller has not seen its latest spec yet",
        );
    }
    Ok(())
}

/// A pod may be made for each ordinal below `replicas`: no claim of an earlier resource would come into its hands.
pub fn may_populate(view: &View<'_>, replicas: i32) -> Result<(), Refusing> {
    let mut below = view.members.range(..replicas);
    match below.find_map(|(_, member)| member.foreign_claim) {
        None => Ok(()),
        Some(claim) => refuse(
            Refusal::ForeignClaim,
            format!(
                "claim {} holds the data of an earlier resource: delete the claim, or give this resource another name",
                claim.metadata.name.as_deref().unwrap_or_default()
            ),
        ),
    }
}

/// A member may be restarted: the others go on without it, and it does nothing that a restart would interrupt.
pub fn may_restart<'a>(crew: &dyn Crew<'a>, member: &Member<'a>) -> Result<(), Refusing> {
    crew.may_lose(member, Loss::Restart)?;
    is_idle(crew, member)
}

/// A pod may be replaced whose revision is given up. Where its process does not start nobody goes without it. One that
/// serves is waited for a little; one that does not had its time, and may never finish what it is at.
pub fn may_replace<'a>(crew: &dyn Crew<'a>, member: &Member<'a>) -> Result<(), Refusing> {
    if member.does_not_start() {
        return Ok(());
    }
    crew.may_lose(member, Loss::Replace)?;
    let patience = if member.is_ready() {
        REVERT_PATIENCE
    } else {
        PATIENCE
    };
    let had_its_time = member
        .age(crew.view().now)
        .is_some_and(|age| age > patience);
    if had_its_time {
        return Ok(());
    }
    is_idle(crew, member)
}

/// The member names nothing that a restart would interrupt, but for what is judged by the others' account.
pub fn is_idle<'a>(crew: &dyn Crew<'a>, member: &Member<'a>) -> Result<(), Refusing> {
    if crew.view().pool.heedless {
        return Ok(());
    }
    let blockers = member.status.map(|status| &status.restart_blockers);
    let mut blockers = blockers.into_iter().flatten();
    match blockers.find(|blocker| !crew.judges_itself(&blocker.code)) {
        None => Ok(()),
        Some(blocker) => {
            let pod = crew.view().pod_name(member.ordinal);
            let words = format!("{pod}: {}", blocker.message);
            refuse(Refusal::RestartBlocked, words)
        }
    }
}

/// The StatefulSet may be taken away for a moment: every member is healthy, and at its newest revision, for the next one
/// knows no other.
pub fn may_renew(crew: &dyn Crew<'_>) -> Result<(), Refusing> {
    crew.may_be_without_set()?;
    let view = crew.view();
    let mut pods = view.members.values().filter(|member| member.pod.is_some());
    let settled = !view.is_between_revisions()
        && pods.all(|member| member.revision() == view.update_revision());
    if settled {
        Ok(())
    } else {
        refuse(
            Refusal::PreviousNotReady,
            "the StatefulSet is made anew when all its pods are at one revision",
        )
    }
}
