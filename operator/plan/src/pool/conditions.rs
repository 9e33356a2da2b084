//! What is said of a resource: its conditions, and what a person is to mend.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use quorate_api::{ConditionType, Rollout, Status, condition, set_condition};
use quorate_wire::{BAD_CERTIFICATES, DISK_FULL, MemberState};

use super::crew::Crew;
use super::rollout;
use super::step::{Reason, Step, Told};
use super::stuck;
use super::view::{View, is_synced};
use crate::{Applied, Event, Invalid, Objects, Refusal};

/// What is said of the resource whose pools these are, in the status as far as it is common to all kinds. Returns what is
/// news to people.
pub fn tell(
    crews: &[&dyn Crew<'_>],
    step: &Step,
    generation: Option<i64>,
    status: &mut Status,
) -> Option<Event> {
    let trouble = crews.iter().find_map(|crew| trouble(*crew, step));
    status.observed_generation = generation;
    status.rollout = rollout_report(crews);
    conditions(crews, step, trouble.as_ref(), generation, status);
    let ready = condition(&status.conditions, ConditionType::Ready);
    if let Some(first) = crews.first()
        && ready.is_some_and(|ready| ready.status == "True")
    {
        status.stable = Some(first.view().pool.release.clone());
    }
    news(crews, trouble?)
}

/// Adds what only applied objects can tell; `Ready` cannot be true of an object that its controller has not seen. The
/// selector is of the first pool, which is the one that `kubectl scale` scales.
pub fn finish(pools: &[super::Pool], applied: &Objects<Applied>, status: &mut Status) {
    let mut sets = pools
        .iter()
        .filter_map(|pool| applied.stateful_set(&pool.set));
    if let Some(first) = pools.first()
        && applied.stateful_set(&first.set).is_some()
    {
        let selector = first.selector();
        let labels = selector.iter().map(|(key, value)| format!("{key}={value}"));
        status.selector = Some(labels.collect::<Vec<_>>().join(","));
    }
    if sets.all(is_synced) {
        return;
    }
    let conditions = status.conditions.iter_mut();
    for ready in conditions.filter(|c| c.type_ == "Ready" && c.status == "True") {
        ready.status = "False".into();
        ready.reason = Reason::WAITING.0.into();
        ready.message = "the StatefulSet's controller has not seen its latest spec yet".into();
    }
}

/// The conditions of a resource whose spec cannot be carried out.
pub fn invalid(faults: &[Invalid], generation: Option<i64>, now: Timestamp, status: &mut Status) {
    status.observed_generation = generation;
    let words = faults
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ");
    for (type_, holds) in [
        (ConditionType::Progressing, false),
        (ConditionType::Degraded, true),
        (ConditionType::Ready, false),
    ] {
        set_condition(
            &mut status.conditions,
            type_,
            holds,
            Reason::INVALID_SPEC.0,
            &words,
            generation,
            Time(now),
        );
    }
}

fn conditions(
    crews: &[&dyn Crew<'_>],
    step: &Step,
    trouble: Option<&Told>,
    generation: Option<i64>,
    status: &mut Status,
) {
    let now = crews.first().map(|crew| crew.view().now);
    let now = Time(now.unwrap_or(Timestamp::UNIX_EPOCH));
    let mut set = |type_, holds, (reason, words): Told| {
        set_condition(
            &mut status.conditions,
            type_,
            holds,
            reason.0,
            &words,
            generation,
            now.clone(),
        );
    };
    let is_paused = step.is_busy_with(Reason::PAUSED);
    match step.busy.clone() {
        Some(busy) => set(ConditionType::Progressing, !is_paused, busy),
        None => set(
            ConditionType::Progressing,
            false,
            (Reason::AS_SPECIFIED, "nothing is being changed".to_owned()),
        ),
    }
    match trouble.cloned() {
        Some(trouble) => set(ConditionType::Degraded, true, trouble),
        None => set(
            ConditionType::Degraded,
            false,
            (Reason::HEALTHY, "nothing is wrong".to_owned()),
        ),
    }
    match crews.iter().find_map(|crew| unready(*crew, step, trouble)) {
        None => {
            let reason = if is_paused {
                Reason::PAUSED
            } else {
                Reason::AS_SPECIFIED
            };
            let words: Vec<_> = crews.iter().map(|crew| crew.whole()).collect();
            set(ConditionType::Ready, true, (reason, words.join("; ")));
        }
        Some(why) => set(ConditionType::Ready, false, why),
    }
}

/// What needs a repair or a person.
fn trouble(crew: &dyn Crew<'_>, step: &Step) -> Option<Told> {
    let view = crew.view();
    let mut refusals = step.refusals.iter();
    if let Some(foreign) = refusals.find(|refused| refused.refusal == Refusal::ForeignClaim) {
        return Some((Reason::FOREIGN_CLAIM, foreign.message.clone()));
    }
    let found = damaged(view)
        .or_else(|| stopped(crew, step))
        .or_else(|| problem(view, DISK_FULL, Reason::DISK_FULL))
        .or_else(|| bad_certificates(view))
        .or_else(|| stuck::reason(view));
    if found.is_some() {
        return found;
    }
    if let Some(outage) = crew.outage() {
        return outage.trouble.map(|words| (outage.reason, words));
    }
    if step.is_busy_with(Reason::UPGRADING) {
        return None;
    }
    match crew.weakness() {
        Some(words) => Some((Reason::MEMBER_UNAVAILABLE, words)),
        None => other_version(view),
    }
}

fn damaged(view: &View<'_>) -> Option<Told> {
    let damaged = view
        .members
        .values()
        .filter(|member| member.state() == Some(MemberState::Damaged));
    let words: Vec<_> = damaged
        .map(|member| {
            let why = member.status.and_then(|status| status.reason.as_deref());
            let pod = view.pod_name(member.ordinal);
            format!("{pod} is damaged: {}", why.unwrap_or_default())
        })
        .collect();
    (!words.is_empty()).then(|| (Reason::MEMBER_DAMAGED, words.join("; ")))
}

fn stopped(crew: &dyn Crew<'_>, step: &Step) -> Option<Told> {
    let view = crew.view();
    let (_, ordinal) = step
        .stopped
        .filter(|(pool, _)| *pool == view.pool.name.name)?;
    let (pod, member) = (view.pod_name(ordinal), view.member(ordinal));
    let wrong = rollout::other_version(view, &member)
        .map(|why| format!("it {why}"))
        .or_else(|| stuck::not_starting(view, &member));
    let why = wrong
        .as_deref()
        .or(member.silence)
        .unwrap_or_else(|| crew.lacks(&member));
    let words = format!(
        "the upgrade stopped at {pod}: {why}. See its log; go back to the earlier spec, or correct it"
    );
    Some((Reason::UPGRADE_STOPPED, words))
}

/// What a person is to mend, told when it begins: what passes by itself or was refused is none of that. A status older than
/// our own last does not know what was told.
fn news(crews: &[&dyn Crew<'_>], (reason, message): Told) -> Option<Event> {
    let view = crews.first()?.view();
    let is_everyday = [
        Reason::MEMBER_UNAVAILABLE,
        Reason::NO_LEADER,
        Reason::FOREIGN_CLAIM,
    ]
    .contains(&reason);
    let is_news = !is_everyday && !view.was_told(&[reason]) && view.behind.is_empty();
    is_news.then_some(Event {
        warning: true,
        reason: reason.0,
        message,
    })
}

/// An image that is not what its name says, where no upgrade could stop at it: the members were made so. While an upgrade
/// is still to come (behind a pause, say) members report the earlier version, and rightly.
fn other_version(view: &View<'_>) -> Option<Told> {
    if rollout::is_needed(view) {
        return None;
    }
    view.members.values().find_map(|member| {
        let why = rollout::other_version(view, member)?;
        let words = format!(
            "{} {why}. Correct image or version",
            view.pod_name(member.ordinal)
        );
        Some((Reason::OTHER_VERSION, words))
    })
}

fn bad_certificates(view: &View<'_>) -> Option<Told> {
    if let Some(why) = view.secret {
        return Some((Reason::BAD_CERTIFICATES, why.to_owned()));
    }
    let (reason, words) = problem(view, BAD_CERTIFICATES, Reason::BAD_CERTIFICATES)?;
    let tls = view.pool.tls.as_ref();
    let secret = tls.map_or("", |tls| &tls.secret_name);
    Some((reason, format!("correct the Secret {secret}: {words}")))
}

/// The first member that tells of such a problem.
fn problem(view: &View<'_>, code: &str, reason: Reason) -> Option<Told> {
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
fn unready(crew: &dyn Crew<'_>, step: &Step, trouble: Option<&Told>) -> Option<Told> {
    let view = crew.view();
    if let Some(outage) = crew.outage() {
        let busy = || step.busy.as_ref().map(|(_, words)| words.clone());
        let why = || (outage.reason, busy().unwrap_or(outage.brief));
        return Some(trouble.cloned().unwrap_or_else(why));
    }
    if view.lacks_set() && view.pool.paused {
        let words = "its StatefulSet is gone: it is put back, and pods that go come back, when spec.paused is false";
        return Some((Reason::PAUSED, words.to_owned()));
    }
    let busy = step.busy.as_ref();
    if let Some(busy) = busy.filter(|(reason, _)| *reason != Reason::PAUSED) {
        // What keeps it from going on says more than what it is at.
        let cause = trouble.filter(|(reason, _)| *reason != Reason::MEMBER_UNAVAILABLE);
        return Some(cause.unwrap_or(busy).clone());
    }
    let lacking = crew
        .incomplete()
        .or_else(|| problem(view, DISK_FULL, Reason::DISK_FULL))
        .or_else(|| other_version(view));
    if lacking.is_some() {
        return lacking;
    }
    if view.is_between_revisions()
        || rollout::is_needed(view)
        || view.replicas() != Some(view.wanted())
    {
        return Some((Reason::WAITING, "a change is not complete".to_owned()));
    }
    let ready = view.ready_pods();
    (ready < view.wanted()).then(|| {
        let words = format!("{ready} of {} pods are ready for clients", view.wanted());
        (Reason::WAITING, words)
    })
}

fn rollout_report(crews: &[&dyn Crew<'_>]) -> Option<Rollout> {
    let is_under_way = |crew: &&&dyn Crew<'_>| {
        let view = crew.view();
        view.is_between_revisions() || rollout::is_needed(view)
    };
    let target = crews.iter().find(is_under_way)?.view().pool.release.clone();
    let updated = crews.iter().map(|crew| {
        let view = crew.view();
        let updated = view.members.values().filter(|member| {
            !view.publishes && member.revision() == view.update_revision() && crew.counts(member)
        });
        i32::try_from(updated.count()).unwrap_or(i32::MAX)
    });
    Some(Rollout {
        target,
        updated: updated.sum(),
    })
}
