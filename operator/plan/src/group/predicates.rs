//! What must hold before each act on the group. Every refusal names itself: it becomes a condition, an event and a metric
//! label.

use quorate_wire::MemberState;

use super::bootstrap::Founder;
use super::{Group, Lead, marks};
use crate::Refusal;
use crate::planted::planted;
use crate::pool::claims::get;
use crate::pool::{Member, Refusing, refuse};

/// A group may be formed: whoever could know of one has been asked, and knows none. `founder` is the one that was
/// chosen already, whose own claim may say so.
pub(super) fn may_bootstrap(group: &Group<'_>, founder: Option<&Founder>) -> Result<(), Refusing> {
    if planted!(BootstrapIgnoresClaims) {
        return Ok(());
    }
    let view = &group.view;
    for member in view.members.values() {
        let marked = get(member, marks::GROUP_MARK).is_some();
        if marked && founder.is_none_or(|founder| !founder.marked(member)) {
            let pod = view.pod_name(member.ordinal);
            return refuse(
                Refusal::GroupKnown,
                format!("the claim of {pod} knows a group: waiting for its members"),
            );
        }
    }
    for ordinal in 0..group.voters() {
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
pub(super) fn may_change<'g, 'a>(group: &'g Group<'a>) -> Result<&'g Lead<'a>, Refusing> {
    let Some(lead) = &group.lead else {
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

/// A learner may vote: it holds the log, and with it the voters that count are still a quorum.
pub(super) fn may_promote(
    group: &Group<'_>,
    member: &Member<'_>,
    id: &str,
) -> Result<(), Refusing> {
    let lead = may_change(group)?;
    if planted!(PromotesWithoutCatchingUp) {
        return Ok(());
    }
    let pod = group.view.pod_name(member.ordinal);
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
pub(super) fn may_remove(group: &Group<'_>, pod: &str, id: &str) -> Result<(), Refusing> {
    let lead = may_change(group)?;
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

/// A voter may be restarted: the others are a quorum without it, and it does not lead. The restart of a group of one is
/// always allowed, and said aloud by the caller.
pub(super) fn may_restart(group: &Group<'_>, member: &Member<'_>) -> Result<(), Refusing> {
    if group.lead.is_none() && is_alone(group, member) {
        return Ok(());
    }
    let lead = may_change(group)?;
    let pod = group.view.pod_name(member.ordinal);
    let Some(voter) = lead.voters().find(|voter| voter.name == pod) else {
        return Ok(());
    };
    if lead.is_alone() || planted!(RestartIgnoresLag) {
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
    Ok(())
}

/// What is on a member's disk may go, or make way: it is no use to the group, and the others are a healthy quorum without
/// it.
pub(super) fn may_wipe(group: &Group<'_>, member: &Member<'_>) -> Result<(), Refusing> {
    if planted!(WipesWithoutQuorum) {
        return Ok(());
    }
    let lead = may_change(group)?;
    let pod = group.view.pod_name(member.ordinal);
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
fn is_alone(group: &Group<'_>, member: &Member<'_>) -> bool {
    let mut counted = group
        .view
        .members
        .values()
        .filter(|member| marks::is_counted(member));
    counted
        .next()
        .is_some_and(|first| first.ordinal == member.ordinal)
        && counted.next().is_none()
}
