//! What must hold before each disruptive act. Every refusal names itself: it becomes a condition, an event and a
//! metric label.

use quorate_wire::MemberState;

use super::PATIENCE;
use super::bootstrap::Founder;
use super::census::{Lead, Member};
use super::marks;
use super::view::View;
use crate::Refusal;
use crate::planted::planted;

/// A refusal in the making: its name, and what it waits for.
pub(super) type Refusing = (Refusal, String);

fn refuse<T>(refusal: Refusal, words: impl Into<String>) -> Result<T, Refusing> {
    Err((refusal, words.into()))
}

/// Anything may be changed at all.
pub(super) fn may_work(view: &View<'_>) -> Result<(), Refusing> {
    if view.desired.valid.paused() {
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
pub(super) fn may_populate(view: &View<'_>, replicas: i32) -> Result<(), Refusing> {
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

/// A group may be formed: whoever could know of one has been asked, and knows none. `founder` is the one that was
/// chosen already, whose own claim may say so.
pub(super) fn may_bootstrap(view: &View<'_>, founder: Option<&Founder>) -> Result<(), Refusing> {
    if planted!(BootstrapIgnoresClaims) {
        return Ok(());
    }
    for member in view.members.values() {
        let marked = marks::get(member, marks::GROUP_MARK).is_some();
        if marked && founder.is_none_or(|founder| !founder.marked(member)) {
            let pod = view.pod_name(member.ordinal);
            return refuse(
                Refusal::GroupKnown,
                format!("the claim of {pod} knows a group: waiting for its members"),
            );
        }
    }
    for ordinal in 0..view.wanted() {
        let (member, pod) = (view.member(ordinal), view.pod_name(ordinal));
        match member.state() {
            Some(MemberState::Empty) => {}
            Some(state) => {
                return refuse(
                    Refusal::GroupKnown,
                    format!("{pod} is {state:?}, not Empty"),
                );
            }
            None => {
                let why = member.silence.unwrap_or("it has no pod");
                return refuse(
                    Refusal::MemberSilent,
                    format!("nobody can tell what is on the disk of {pod}: {why}"),
                );
            }
        }
    }
    Ok(())
}

/// The configuration may be changed: somebody leads, and no other change is under way.
pub(super) fn may_change<'v, 'a>(view: &'v View<'a>) -> Result<&'v Lead<'a>, Refusing> {
    let Some(lead) = &view.lead else {
        return refuse(
            Refusal::NoLeader,
            "no member leads with a quorum behind it: nothing is changed before one does",
        );
    };
    if lead.is_changing() {
        let index = lead.configuration.index;
        return refuse(
            Refusal::ChangeInFlight,
            format!("the configuration of index {index} is not committed yet"),
        );
    }
    Ok(lead)
}

/// A learner may be added: one at a time.
pub(super) fn may_add(view: &View<'_>) -> Result<(), Refusing> {
    may_change(view).map(|_| ())
}

/// A learner may vote: it holds the log, and with it the voters that count are still a quorum.
pub(super) fn may_promote(view: &View<'_>, member: &Member<'_>, id: &str) -> Result<(), Refusing> {
    let lead = may_change(view)?;
    if planted!(PromotesWithoutCatchingUp) {
        return Ok(());
    }
    let pod = view.pod_name(member.ordinal);
    if member.id() != Some(id)
        || member.state() != Some(MemberState::Running)
        || !lead.holds_caught_up(id)
    {
        return refuse(
            Refusal::LearnerBehind,
            format!("{pod} does not hold the log yet"),
        );
    }
    if !lead.has_quorum_after_promoting(id) {
        return refuse(
            Refusal::QuorumAtRisk,
            format!("with {pod} as a voter, those that are healthy would be no quorum"),
        );
    }
    Ok(())
}

/// An identity may be removed: it does not lead, and the healthy voters are a quorum without it.
pub(super) fn may_remove(view: &View<'_>, pod: &str, id: &str) -> Result<(), Refusing> {
    let lead = may_change(view)?;
    if lead.id == id {
        return refuse(
            Refusal::LeaderInPlace,
            format!("{pod} leads: leadership is handed over first"),
        );
    }
    if !planted!(RemovesTheUnreachable) && !lead.has_quorum_after_removing(id) {
        return refuse(
            Refusal::QuorumAtRisk,
            format!("without {pod} the healthy voters would be no quorum"),
        );
    }
    Ok(())
}

/// A member may be restarted: the others go on without it, and it does nothing that a restart would interrupt. The
/// restart of a group of one is always allowed, and said aloud by the caller.
pub(super) fn may_restart(view: &View<'_>, member: &Member<'_>) -> Result<(), Refusing> {
    // Leadership is asked about of the leader that a quorum confirms.
    may_interrupt(view, member, &["Leader"])
}

/// The same, heedless of some of what the member names itself.
fn may_interrupt(view: &View<'_>, member: &Member<'_>, heedless: &[&str]) -> Result<(), Refusing> {
    if view.lead.is_none() && is_alone(view, member) {
        return Ok(());
    }
    let lead = may_change(view)?;
    let pod = view.pod_name(member.ordinal);
    let Some(voter) = lead.voters().find(|voter| voter.name == pod) else {
        return Ok(());
    };
    if is_group_of_one(lead) || planted!(RestartIgnoresLag) {
        return Ok(());
    }
    if !lead.has_quorum_without(Some(&voter.id)) {
        return refuse(
            Refusal::QuorumAtRisk,
            format!("without {pod} the healthy, caught-up voters would be no quorum"),
        );
    }
    if lead.id == voter.id {
        return refuse(
            Refusal::LeaderInPlace,
            format!("{pod} leads: leadership is handed over first"),
        );
    }
    let blockers = member
        .status
        .map(|status| status.restart_blockers.as_slice())
        .unwrap_or_default();
    let mut blockers = blockers.iter();
    if let Some(blocker) = blockers.find(|blocker| !heedless.contains(&blocker.code.as_str())) {
        return refuse(
            Refusal::RestartBlocked,
            format!("{pod}: {}", blocker.message),
        );
    }
    Ok(())
}

/// The StatefulSet may be taken away for a moment, in which no pod comes back that dies: every member is healthy. And
/// they are at its newest revision, for the next one knows no other.
pub(super) fn may_renew(view: &View<'_>) -> Result<(), Refusing> {
    let lead = may_change(view)?;
    let missing = lead
        .voters()
        .find(|voter| !lead.healthy.contains(voter.id.as_str()));
    if let Some(voter) = missing {
        return refuse(
            Refusal::QuorumAtRisk,
            format!(
                "the StatefulSet is made anew when all members are healthy, and {} is not",
                voter.name
            ),
        );
    }
    let mut pods = view.members.values().filter(|member| member.pod.is_some());
    let settled = view.current_revision() == view.update_revision()
        && pods.all(|member| member.revision() == view.update_revision());
    if !settled {
        return refuse(
            Refusal::PreviousNotReady,
            "the StatefulSet is made anew when all its pods are at one revision",
        );
    }
    Ok(())
}

/// A pod may be replaced whose revision is given up: like any restart, but once it had its time it is not waited for until
/// it has caught up, which at that revision it may never have; and where its process does not start nobody goes without
/// it. With somebody who leads, the revert of a broken upgrade does not wait for what only the revert brings back.
pub(super) fn may_replace(view: &View<'_>, member: &Member<'_>) -> Result<(), Refusing> {
    if member.does_not_start() {
        return Ok(());
    }
    let had_its_time = member.age(view.now).is_some_and(|age| age > PATIENCE);
    let heedless: &[&str] = match had_its_time {
        true => &["Leader", "CatchingUp"],
        false => &["Leader"],
    };
    may_interrupt(view, member, heedless)
}

/// What is on a member's disk may go, or make way: it is no use to the group, and the others are a healthy quorum without
/// it.
pub(super) fn may_wipe(view: &View<'_>, member: &Member<'_>) -> Result<(), Refusing> {
    if planted!(WipesWithoutQuorum) {
        return Ok(());
    }
    let lead = may_change(view)?;
    let pod = view.pod_name(member.ordinal);
    let Some(voter) = lead.voters().find(|voter| voter.name == pod) else {
        return Ok(());
    };
    if !lead.has_quorum_without(Some(&voter.id)) {
        let words = format!(
            "{pod} is damaged, but the others are no healthy quorum: its disk may be needed"
        );
        return refuse(Refusal::QuorumAtRisk, words);
    }
    Ok(())
}

/// Whether this is the only member that the group counts on, by the marks on the claims: then nobody else can lead, and
/// only a restart helps.
fn is_alone(view: &View<'_>, member: &Member<'_>) -> bool {
    let mut counted = view
        .members
        .values()
        .filter(|member| marks::is_counted(member));
    counted
        .next()
        .is_some_and(|first| first.ordinal == member.ordinal)
        && counted.next().is_none()
}

pub(super) fn is_group_of_one(lead: &Lead<'_>) -> bool {
    lead.voters().count() == 1
}
