//! What is said of a group.

use quorate_wire::MemberState;

use super::{Group, marks};
use crate::pool::{Member, Outage, Reason, Told};

pub(super) fn outage(group: &Group<'_>) -> Option<Outage> {
    let formed = group.is_formed();
    if group.lead.is_some() {
        return None;
    }
    Some(Outage {
        reason: if formed {
            Reason::NO_LEADER
        } else {
            Reason::FORMING
        },
        brief: "no member leads".to_owned(),
        trouble: formed.then(|| without_leader(group)),
    })
}

/// What a person must know where the operator can do nothing.
fn without_leader(group: &Group<'_>) -> String {
    let view = &group.view;
    // One that has not joined yet has lost nothing.
    let lost = view.members.values().filter(|member| {
        member.state() == Some(MemberState::Empty)
            && marks::incarnation(member).is_some_and(|id| member.id() != Some(id))
    });
    let names: Vec<_> = lost.map(|member| view.pod_name(member.ordinal)).collect();
    let mut words = "no member leads with a quorum behind it".to_owned();
    if view.set.is_none() && view.pool.paused {
        words += ", and no pod comes back without its StatefulSet while spec.paused is true";
    }
    if names.is_empty() {
        return words;
    }
    format!(
        "{words}, and the disk of {} is empty. Without a quorum nobody can take the lost members' places: bring back the \
         volumes of enough members, or delete the resource and its claims and begin anew",
        names.join(", ")
    )
}

pub(super) fn weakness(group: &Group<'_>) -> Option<String> {
    let lead = group.lead.as_ref()?;
    let voters = lead.voters();
    let unhealthy = voters.filter(|voter| !lead.healthy.contains(voter.id.as_str()));
    let names: Vec<_> = unhealthy.map(|voter| voter.name.as_str()).collect();
    (!names.is_empty()).then(|| format!("not healthy, or not caught up: {}", names.join(", ")))
}

pub(super) fn incomplete(group: &Group<'_>) -> Option<Told> {
    let lead = group.lead.as_ref()?;
    let (voters, healthy) = (lead.voters().count(), lead.healthy.len());
    let wanted = usize::try_from(group.voters()).unwrap_or(0);
    if voters != wanted || lead.configuration.members.len() != wanted || healthy != wanted {
        let words = format!("{healthy} of {wanted} members are healthy voters; {voters} vote");
        return Some((Reason::MEMBER_UNAVAILABLE, words));
    }
    lead.is_changing()
        .then(|| (Reason::WAITING, "a change is not complete".to_owned()))
}

/// What a member that answers lacks, to be counted on.
pub(super) fn lacks(group: &Group<'_>, member: &Member<'_>) -> &'static str {
    let said = member.group(group.spec.number);
    if said.is_some_and(|said| said.leader.is_none()) {
        "it finds no leader among its peers"
    } else if said.is_some_and(|said| said.caught_up) {
        "it follows its leader, and never gets ready"
    } else {
        "it does not catch up"
    }
}
