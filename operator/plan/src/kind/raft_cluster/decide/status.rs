//! What is said of a RaftCluster.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use quorate_api::{
    ConditionType, RaftCluster, RaftClusterStatus, Rollout, condition, set_condition,
};
use quorate_wire::{BAD_CERTIFICATES, DISK_FULL, MemberState, Part};
use serde_json::Value;

use super::super::{POOL, RaftClusters};
use super::census::{Member, survey};
use super::draft::{Draft, Reason};
use super::marks;
use super::report::report;
use super::rollout;
use super::stuck;
use super::view::{View, is_synced};
use crate::{Applied, Decision, Desired, Event, Invalid, Objects, Observed, Refusal};

/// The status as far as the observation tells it.
pub(super) fn status(
    view: &View<'_>,
    draft: &Draft,
    trouble: Option<&(Reason, String)>,
) -> RaftClusterStatus {
    let old = view.desired.resource.status.clone().unwrap_or_default();
    let mut status = RaftClusterStatus {
        observed_generation: view.desired.resource.metadata.generation,
        group: draft.group.clone(),
        rollout: rollout_report(view, draft),
        ..old
    };
    report(
        &view.desired.resource,
        &view.members,
        view.lead.as_ref(),
        &mut status,
    );
    conditions(view, draft, trouble, &mut status);
    if condition(&status.conditions, ConditionType::Ready)
        .is_some_and(|ready| ready.status == "True")
    {
        status.stable = Some(view.desired.valid.release().clone());
    }
    status
}

/// Adds what only applied objects can tell; `Ready` cannot be true of an object that its controller has not seen.
pub(crate) fn finish(
    desired: &Desired<RaftClusters>,
    decision: &Decision,
    applied: &Objects<Applied>,
) -> Value {
    let Ok(mut status) = serde_json::from_value::<RaftClusterStatus>(decision.status.clone())
    else {
        return decision.status.clone();
    };
    let identity = desired.valid.identity();
    if let Some(set) = applied.stateful_set(identity.name()) {
        let selector = identity.selector(POOL);
        let labels = selector.iter().map(|(key, value)| format!("{key}={value}"));
        status.selector = Some(labels.collect::<Vec<_>>().join(","));
        if !is_synced(set) {
            for ready in status
                .conditions
                .iter_mut()
                .filter(|c| c.type_ == "Ready" && c.status == "True")
            {
                ready.status = "False".into();
                ready.reason = Reason::Waiting.name().into();
                ready.message =
                    "the StatefulSet's controller has not seen its latest spec yet".into();
            }
        }
    }
    serde_json::to_value(status).unwrap_or_else(|_| decision.status.clone())
}

/// The status of a resource whose spec cannot be carried out; what runs goes on running, and is reported.
pub(crate) fn invalid(
    resource: &RaftCluster,
    faults: &[Invalid],
    observed: &Observed,
    now: Timestamp,
) -> Value {
    let mut status = resource.status.clone().unwrap_or_default();
    let (name, uid) = (&resource.metadata.name, &resource.metadata.uid);
    if let Some((name, uid)) = name.as_deref().zip(uid.as_deref()) {
        let (members, lead) = survey(name, uid, observed, now);
        report(resource, &members, lead.as_ref(), &mut status);
    }
    let generation = resource.metadata.generation;
    status.observed_generation = generation;
    let words = faults
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ");
    let mut set = |type_, value| {
        let reason = Reason::InvalidSpec.name();
        set_condition(
            &mut status.conditions,
            type_,
            value,
            reason,
            &words,
            generation,
            Time(now),
        );
    };
    set(ConditionType::Progressing, false);
    set(ConditionType::Degraded, true);
    set(ConditionType::Ready, false);
    serde_json::to_value(status).unwrap_or(Value::Null)
}

fn conditions(
    view: &View<'_>,
    draft: &Draft,
    trouble: Option<&(Reason, String)>,
    status: &mut RaftClusterStatus,
) {
    let generation = view.desired.resource.metadata.generation;
    let mut set = |type_, value, (reason, words): (Reason, String)| {
        set_condition(
            &mut status.conditions,
            type_,
            value,
            reason.name(),
            &words,
            generation,
            Time(view.now),
        );
    };
    let progressing = match &draft.busy {
        Some((reason, words)) => (!matches!(reason, Reason::Paused), (*reason, words.clone())),
        None => (
            false,
            (Reason::AsSpecified, "nothing is being changed".to_owned()),
        ),
    };
    set(
        ConditionType::Progressing,
        progressing.0,
        progressing.1.clone(),
    );
    match trouble.cloned() {
        Some(trouble) => set(ConditionType::Degraded, true, trouble),
        None => set(
            ConditionType::Degraded,
            false,
            (Reason::Healthy, "nothing is wrong".to_owned()),
        ),
    }
    match unready(view, draft, trouble) {
        None => {
            let is_paused = progressing.1.0 == Reason::Paused;
            let reason = if is_paused {
                Reason::Paused
            } else {
                Reason::AsSpecified
            };
            let words = format!("{} members vote", view.wanted());
            set(ConditionType::Ready, true, (reason, words));
        }
        Some(why) => set(ConditionType::Ready, false, why),
    }
}

/// What needs a repair or a person.
pub(super) fn trouble(view: &View<'_>, draft: &Draft) -> Option<(Reason, String)> {
    let foreign = draft
        .refusals
        .iter()
        .find(|refused| refused.refusal == Refusal::ForeignClaim);
    if let Some(foreign) = foreign {
        return Some((Reason::ForeignClaim, foreign.message.clone()));
    }
    let is_formed = draft.group.as_ref().is_some_and(|group| group.formed);
    let damaged = view
        .members
        .values()
        .filter(|member| member.state() == Some(MemberState::Damaged));
    let damaged: Vec<_> = damaged
        .map(|member| {
            let why = member.status.and_then(|status| status.reason.as_deref());
            let pod = view.pod_name(member.ordinal);
            format!("{pod} is damaged: {}", why.unwrap_or_default())
        })
        .collect();
    if !damaged.is_empty() {
        return Some((Reason::MemberDamaged, damaged.join("; ")));
    }
    if let Some(ordinal) = draft.stopped {
        let (pod, member) = (view.pod_name(ordinal), view.member(ordinal));
        let wrong = rollout::other_version(view, &member)
            .map(|why| format!("it {why}"))
            .or_else(|| stuck::not_starting(view, &member));
        let why = wrong
            .as_deref()
            .or(member.silence)
            .unwrap_or_else(|| unhealthy(&member));
        let words = format!(
            "the upgrade stopped at {pod}: {why}. See its log; go back to the earlier spec, or correct it"
        );
        return Some((Reason::UpgradeStopped, words));
    }
    let found = problem(view, DISK_FULL, Reason::DiskFull)
        .or_else(|| bad_certificates(view))
        .or_else(|| stuck::reason(view));
    if found.is_some() {
        return found;
    }
    let Some(lead) = view.lead.as_ref().filter(|_| is_formed) else {
        return is_formed.then(|| (Reason::NoLeader, without_leader(view)));
    };
    let unhealthy: Vec<_> = lead
        .voters()
        .filter(|voter| !lead.healthy.contains(voter.id.as_str()))
        .collect();
    let is_upgrading = draft
        .busy
        .as_ref()
        .is_some_and(|(reason, _)| *reason == Reason::Upgrading);
    if is_upgrading {
        return None;
    }
    if unhealthy.is_empty() {
        return other_version(view, draft);
    }
    let names: Vec<_> = unhealthy.iter().map(|voter| voter.name.as_str()).collect();
    Some((
        Reason::MemberUnavailable,
        format!("not healthy, or not caught up: {}", names.join(", ")),
    ))
}

/// What a person is to mend, told when it begins: what passes by itself or was refused is none of that. A status older than
/// our own last does not know what was told.
pub(super) fn news(view: &View<'_>, (reason, message): (Reason, String)) -> Option<Event> {
    let is_everyday = matches!(
        reason,
        Reason::MemberUnavailable | Reason::NoLeader | Reason::ForeignClaim
    );
    let old = view.desired.resource.status.as_ref();
    let degraded = old.and_then(|old| condition(&old.conditions, ConditionType::Degraded));
    let was_told =
        degraded.is_some_and(|told| told.status == "True" && told.reason == reason.name());
    let is_news = !is_everyday && !was_told && view.behind.is_empty();
    is_news.then(|| Event {
        warning: true,
        reason: reason.name(),
        message,
    })
}

/// An image that is not what its name says, where no upgrade could stop at it: the group was made so. While an upgrade
/// is still to come (behind a pause, say) members report the earlier version, and rightly.
fn other_version(view: &View<'_>, draft: &Draft) -> Option<(Reason, String)> {
    if rollout::is_needed(view, draft) {
        return None;
    }
    view.members.values().find_map(|member| {
        let why = rollout::other_version(view, member)?;
        let words = format!(
            "{} {why}. Correct image or version",
            view.pod_name(member.ordinal)
        );
        Some((Reason::OtherVersion, words))
    })
}

/// What a member that answers lacks, to be counted on.
fn unhealthy(member: &Member<'_>) -> &'static str {
    let group = member.group();
    if group.is_some_and(|group| group.leader.is_none()) {
        "it finds no leader among its peers"
    } else if group.is_some_and(|group| group.caught_up) {
        "it follows its leader, and never gets ready"
    } else {
        "it does not catch up"
    }
}

fn bad_certificates(view: &View<'_>) -> Option<(Reason, String)> {
    if let Some(why) = view.secret {
        return Some((Reason::BadCertificates, why.to_owned()));
    }
    let (reason, words) = problem(view, BAD_CERTIFICATES, Reason::BadCertificates)?;
    let tls = view.desired.resource.spec.tls.as_ref();
    let secret = tls.map_or("", |tls| &tls.secret_name);
    Some((reason, format!("correct the Secret {secret}: {words}")))
}

/// What a person must know where the operator can do nothing.
fn without_leader(view: &View<'_>) -> String {
    // One that has not joined yet has lost nothing.
    let lost = view.members.values().filter(|member| {
        member.state() == Some(MemberState::Empty)
            && marks::get(member, marks::INCARNATION).is_some_and(|id| member.id() != Some(id))
    });
    let names: Vec<_> = lost.map(|member| view.pod_name(member.ordinal)).collect();
    let mut words = "no member leads with a quorum behind it".to_owned();
    if view.set.is_none() && view.desired.valid.paused() {
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

/// The first member that tells of such a problem.
fn problem(view: &View<'_>, code: &str, reason: Reason) -> Option<(Reason, String)> {
    view.members.values().find_map(|member| {
        let mut problems = member
            .status
            .into_iter()
            .flat_map(|status| &status.problems);
        let found = problems.find(|problem| problem.code == code)?;
        let pod = view.pod_name(member.ordinal);
        Some((reason, format!("{pod}: {}", found.message)))
    })
}

/// Why the resource is not as specified, or does not serve.
fn unready(
    view: &View<'_>,
    draft: &Draft,
    trouble: Option<&(Reason, String)>,
) -> Option<(Reason, String)> {
    let Some(lead) = &view.lead else {
        if let Some(cause) = trouble {
            return Some(cause.clone());
        }
        let is_formed = draft.group.as_ref().is_some_and(|group| group.formed);
        let reason = if is_formed {
            Reason::NoLeader
        } else {
            Reason::Forming
        };
        return Some((
            reason,
            draft
                .busy
                .as_ref()
                .map_or_else(|| "no member leads".to_owned(), |(_, words)| words.clone()),
        ));
    };
    let busy = draft.busy.as_ref();
    if view.lacks_set() && view.desired.valid.paused() {
        let words = "its StatefulSet is gone: it is put back, and pods that go come back, when spec.paused is false";
        return Some((Reason::Paused, words.to_owned()));
    }
    if let Some(busy) = busy.filter(|(reason, _)| *reason != Reason::Paused) {
        // What keeps it from going on says more than what it is at.
        let cause = trouble.filter(|(reason, _)| *reason != Reason::MemberUnavailable);
        return Some(cause.unwrap_or(busy).clone());
    }
    let (voters, healthy) = (lead.voters().count(), lead.healthy.len());
    let wanted = usize::try_from(view.wanted()).unwrap_or(0);
    if voters != wanted || lead.configuration.members.len() != wanted || healthy != wanted {
        let words = format!("{healthy} of {wanted} members are healthy voters; {voters} vote");
        return Some((Reason::MemberUnavailable, words));
    }
    if let Some(full) = problem(view, DISK_FULL, Reason::DiskFull) {
        return Some(full);
    }
    if let Some(other) = other_version(view, draft) {
        return Some(other);
    }
    let incomplete = view.current_revision() != view.update_revision();
    if lead.is_changing()
        || incomplete
        || rollout::is_needed(view, draft)
        || view.replicas() != Some(view.wanted())
    {
        return Some((Reason::Waiting, "a change is not complete".to_owned()));
    }
    let ready = view.ready_pods();
    (ready < view.wanted()).then(|| {
        let words = format!("{ready} of {} pods are ready for clients", view.wanted());
        (Reason::Waiting, words)
    })
}

fn rollout_report(view: &View<'_>, draft: &Draft) -> Option<Rollout> {
    let incomplete = view.current_revision() != view.update_revision();
    if !incomplete && !rollout::is_needed(view, draft) {
        return None;
    }
    let updated = view.members.values().filter(|member| {
        let voter = member
            .id()
            .and_then(|id| view.part(id))
            .is_some_and(|part| part != Part::Learner);
        !draft.publishes
            && voter
            && member.revision() == view.update_revision()
            && rollout::is_healthy(view, member)
    });
    let updated = i32::try_from(updated.count()).unwrap_or(i32::MAX);
    Some(Rollout {
        target: view.desired.valid.release().clone(),
        updated,
    })
}
