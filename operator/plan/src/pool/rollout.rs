//! A new revision goes to one member at a time, from the top: the partition says how far it may reach, also when a
//! node dies. Who must hand over first does, to the lowest ordinal: it is restarted last.

use super::census::Member;
use super::crew::{Crew, Loss};
use super::predicates::may_restart;
use super::repair::restart;
use super::step::{Reason, Refusing, Step};
use super::view::View;
use crate::Refusal;
use crate::planted::planted;

/// Whether any pod is not at the newest revision, or another template is about to be published.
pub fn is_needed(view: &View<'_>) -> bool {
    highest_outdated(view).is_some() || view.publishes
}

/// While another phase is busy no member may be restarted beside: what was granted and not used is taken back.
pub fn take_back(view: &View<'_>) -> Step {
    let granted = highest_outdated(view).filter(|ordinal| *ordinal >= view.partition());
    match granted.filter(|_| !view.publishes) {
        Some(ordinal) => Step::default().partition(view.pool.name.name, ordinal + 1),
        None => Step::default(),
    }
}

/// The next member gets the new revision, when the last one is back.
pub fn roll(crew: &dyn Crew<'_>) -> Step {
    let view = crew.view();
    if view.publishes {
        return Step::waits(
            Reason::UPGRADING,
            "the new revision is published, and fenced off",
        );
    }
    if view.replicas() != Some(view.base(crew.floor()).replicas) {
        return Step::waits(
            Reason::REPAIRING,
            "the number of pods was changed by another hand, and is put back",
        );
    }
    match highest_outdated(view) {
        Some(ordinal) => upgrade(crew, ordinal),
        None => settle(crew),
    }
}

fn upgrade(crew: &dyn Crew<'_>, ordinal: i32) -> Step {
    let view = crew.view();
    let (member, pool) = (view.member(ordinal), view.pool.name.name);
    let granted = ordinal >= view.partition();
    let allowed = previous_is_back(crew, ordinal).and_then(|()| may_restart(crew, &member));
    // What was granted while it could be spared is taken back until it can be again.
    let fence = || Step::default().partition(pool, ordinal + 1);
    match allowed {
        Ok(()) => {
            let pod = view.pod_name(ordinal);
            let price = crew.price(&member).map(|price| {
                let words = format!("{pod} restarts: {price}");
                Step::told(Reason::UPGRADING, words)
            });
            // The controller does this too, but not while some other pod is not ready.
            let deletion = restart(&member).filter(|_| granted);
            Step::acts(deletion)
                .and(price.unwrap_or_default())
                .and(Step::waits(
                    Reason::UPGRADING,
                    format!("{pod} gets the new revision"),
                ))
                .partition(pool, ordinal)
        }
        Err(refused) => {
            if let Some(prepared) = crew.prepare(&member, Loss::Restart, &refused) {
                return prepared.and(fence());
            }
            let stopped = stop(crew, &refused);
            let waits = Step::attempt(Reason::UPGRADING, Err(refused), "", None).and(stopped);
            if granted { waits.and(fence()) } else { waits }
        }
    }
}

/// Every pod is at the newest revision: nothing is left to fence. The last one to be restarted is waited for like the
/// others.
fn settle(crew: &dyn Crew<'_>) -> Step {
    let view = crew.view();
    let mut all = 0..view.replicas().unwrap_or(0);
    let step = if all.all(|ordinal| view.is_at_update(&view.member(ordinal))) {
        Step::default().partition(view.pool.name.name, 0)
    } else {
        Step::default()
    };
    if !view.is_between_revisions() {
        return step;
    }
    match previous_is_back(crew, -1) {
        Ok(()) => step,
        Err(refused) => {
            let stopped = stop(crew, &refused);
            step.and(Step::attempt(Reason::UPGRADING, Err(refused), "", None))
                .and(stopped)
        }
    }
}

/// The members above this one are there at the new revision, and count.
fn previous_is_back(crew: &dyn Crew<'_>, ordinal: i32) -> Result<(), Refusing> {
    if planted!(UpgradesTwoAtOnce) {
        return Ok(());
    }
    let view = crew.view();
    let above = ordinal + 1..view.replicas().unwrap_or(0);
    let stays = |ordinal: &i32| *ordinal < view.wanted() || crew.stays(*ordinal);
    for member in above.filter(stays).map(|above| view.member(above)) {
        let pod = view.pod_name(member.ordinal);
        let wait = |words: String| Err((Refusal::PreviousNotReady, words));
        if member.status.is_none() || !view.is_at_update(&member) {
            return wait(format!(
                "{pod} is not back: {}",
                member
                    .silence
                    .unwrap_or("it has no pod at the new revision")
            ));
        }
        if let Some(why) = other_version(view, &member) {
            return wait(format!("{pod} {why}"));
        }
        if !crew.is_healthy(&member) && !crew.waits_to_join(&member) {
            return wait(format!("{pod} is back, but not caught up"));
        }
    }
    Ok(())
}

/// Says that the revision goes no further, once the member had time to start.
fn stop<'a>(crew: &dyn Crew<'a>, refused: &Refusing) -> Step {
    let view = crew.view();
    let late = |member: &&Member<'a>| is_late(crew, member);
    let stopped = view.members.values().rev().find(late);
    Step {
        stopped: stopped
            .filter(|_| refused.0 == Refusal::PreviousNotReady)
            .map(|member| (view.pool.name.name, member.ordinal)),
        ..Step::default()
    }
}

/// A member that had time to start at the newest revision, and did not get there.
fn is_late<'a>(crew: &dyn Crew<'a>, member: &Member<'a>) -> bool {
    let view = crew.view();
    let old_enough = member
        .age(view.now)
        .is_some_and(|age| age > super::PATIENCE);
    let arrived = crew.is_healthy(member) && other_version(view, member).is_none();
    old_enough && view.is_at_update(member) && !arrived
}

/// A binary of another version than the one specified.
pub fn other_version(view: &View<'_>, member: &Member<'_>) -> Option<String> {
    let wanted = view.pool.release.version.as_ref()?;
    let version = &member.status?.version;
    (version != wanted).then(|| {
        format!("reports version {version}, not {wanted}: the image is not what its name says")
    })
}

/// A pod that is not healthy, whose revision nothing will bring back: a broken upgrade that was reverted or replaced.
/// The StatefulSet's controller leaves it alone, behind the partition; above it, its turn comes.
pub fn is_left_behind<'a>(crew: &dyn Crew<'a>, member: &Member<'a>) -> bool {
    let view = crew.view();
    let known = member.revision().is_some() && view.current_revision().is_some();
    known
        && member.ordinal < view.partition()
        && member.revision() != view.current_revision()
        && !member.is_terminating()
        && !crew.is_healthy(member)
}

fn highest_outdated(view: &View<'_>) -> Option<i32> {
    let replicas = view.replicas()?;
    let outdated = |ordinal: &i32| {
        let member = view.member(*ordinal);
        // One that is gone comes back at the newest revision above the partition.
        match member.pod {
            Some(_) => !view.is_at_update(&member),
            None => *ordinal < view.partition() && view.is_between_revisions(),
        }
    };
    (0..replicas).rev().find(outdated)
}
