//! One round for one resource. It reads as a table of contents, and may be killed between any two effects: whatever
//! it was about to do, the next round decides anew from what is there.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use quorate_api::{ConditionType, condition, set_condition};
use quorate_plan::{
    AnyDesired, AnyKind, Applied, Decision, Event, Object, Objects, Observed, Refused, Rejected,
};
use serde_json::{Value, json};

use crate::{Failure, Host, Key, Memory};

/// What came of a round.
#[derive(Clone, Debug, PartialEq)]
pub enum Round {
    /// There is no such resource (any more): nothing is left to do.
    Gone,
    /// The resource is wrong; it says so in its status, and nothing is done until it changes.
    Rejected(String),
    /// Everything that was decided was done.
    Done {
        /// When to come again if nothing happens before.
        requeue_after: Duration,
        /// What was refused, for metrics.
        refusals: Vec<Refused>,
        /// The names of the actions that were carried out, for metrics.
        actions: Vec<&'static str>,
    },
}

/// 1. Observe the resource, its objects and its members (the host), and hold that against our own last writes.
/// 2. Validate: from here on no value can be bad (pure).
/// 3. Decide the stage, the actions and what to say (pure).
/// 4. Build the stage's objects (pure, infallible) and apply them in order (the host).
/// 5. Act, one effect after another; the first that fails is the last (the host).
/// 6. Tell, and last write the status, which only applied objects can give whole. What failed keeps nobody from seeing
///    how things stand.
///
/// # Errors
/// The first failure of the host; call again after a pause.
pub async fn reconcile<H: Host>(
    host: &mut H,
    kind: &dyn AnyKind,
    key: &Key,
    memory: &mut Memory,
) -> Result<Round, Failure> {
    let Some(mut seen) = host.observe(kind, key).await? else {
        return Ok(Round::Gone);
    };
    seen.observed.behind = memory.unseen(&seen);

    let desired = match kind.validate(&seen.resource, &host.env(), host.now()) {
        Ok(desired) => desired,
        Err(rejected) => return reject(host, memory, &seen.resource, rejected).await,
    };
    let decision = desired.decide(&seen.observed, host.now());

    let done = carry_out(host, memory, &*desired, &decision, seen.observed).await;
    // What was about to be done and was not is no event.
    let events = if done.is_ok() {
        &decision.events[..]
    } else {
        &[]
    };
    tell(host, memory, events, &decision.refusals).await;
    let status = match &done {
        Ok(applied) => desired.status(&decision, applied),
        Err(failure) => blame(decision.status, &seen.resource, failure, host.now()),
    };
    report(host, memory, &seen.resource, status, desired.volatile()).await?;
    done?;
    Ok(Round::Done {
        requeue_after: decision.requeue_after,
        actions: decision
            .actions
            .iter()
            .map(quorate_plan::Action::name)
            .collect(),
        refusals: decision.refusals,
    })
}

async fn carry_out<H: Host>(
    host: &mut H,
    memory: &mut Memory,
    desired: &dyn AnyDesired,
    decision: &Decision,
    observed: Observed,
) -> Result<Objects<Applied>, Failure> {
    let applied = apply(host, memory, desired, decision, observed).await?;
    for action in &decision.actions {
        memory.acts(action, host.now());
        host.act(action).await?;
        memory.acted(action);
    }
    Ok(applied)
}

/// Says in the status what only a person can mend; other failures pass.
fn blame(mut status: Value, resource: &Value, failure: &Failure, now: Timestamp) -> Value {
    let reason = match failure {
        Failure::Foreign(_) => "ForeignObject",
        Failure::Denied(_) => "RequestDenied",
        Failure::Conflict(_) | Failure::Refused(_) | Failure::Unavailable(_) => return status,
    };
    // In the conditions of before, so that the time of transition is theirs.
    let before = resource["status"]["conditions"].clone();
    let mut conditions = serde_json::from_value(before).unwrap_or_default();
    let type_ = ConditionType::Degraded;
    let generation = resource["metadata"]["generation"].as_i64();
    let words = failure.to_string();
    set_condition(
        &mut conditions,
        type_,
        true,
        reason,
        &words,
        generation,
        Time(now),
    );
    let told = status["conditions"].as_array_mut().into_iter().flatten();
    for degraded in told.filter(|told| told["type"] == type_.as_str()) {
        *degraded = json!(condition(&conditions, type_));
    }
    status
}

async fn report<H: Host>(
    host: &mut H,
    memory: &mut Memory,
    resource: &Value,
    status: Value,
    volatile: &[&str],
) -> Result<(), Failure> {
    if memory.worth_writing(resource, &status, volatile, host.now()) {
        let version = host.write_status(status).await?;
        memory.status_written(version, host.now());
    }
    Ok(())
}

/// Where nothing is to be applied, what was observed stands for it: a paused resource still reports.
async fn apply<H: Host>(
    host: &mut H,
    memory: &mut Memory,
    desired: &dyn AnyDesired,
    decision: &Decision,
    observed: Observed,
) -> Result<Objects<Applied>, Failure> {
    let Some(stage) = &decision.stage else {
        let sets = observed
            .stateful_sets
            .into_values()
            .map(Object::StatefulSet);
        return Ok(Objects::applied(
            observed.objects.into_iter().chain(sets).collect(),
        ));
    };
    let mut applied = Vec::new();
    for object in desired.build(stage) {
        let object = host.apply(object).await?;
        memory.applied(&object);
        applied.push(object);
    }
    Ok(Objects::applied(applied))
}

/// Events are for people: one that is lost is no reason to stop.
async fn tell<H: Host>(host: &mut H, memory: &mut Memory, events: &[Event], refusals: &[Refused]) {
    for event in events {
        let _ = host.emit(event).await;
    }
    for refused in memory.news(refusals) {
        let event = Event {
            warning: refused.refusal.needs_attention(),
            reason: refused.refusal.name(),
            message: refused.message,
        };
        let _ = host.emit(&event).await;
    }
}

async fn reject<H: Host>(
    host: &mut H,
    memory: &mut Memory,
    resource: &Value,
    rejected: Rejected,
) -> Result<Round, Failure> {
    let words = rejected.to_string();
    if let Rejected::Invalid { status, .. } = rejected {
        report(host, memory, resource, *status, &[]).await?;
    }
    Ok(Round::Rejected(words))
}
