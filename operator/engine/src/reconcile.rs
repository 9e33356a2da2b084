//! One round for one resource. It reads as a table of contents, and may be killed between any two effects: whatever
//! it was about to do, the next round decides anew from what is there.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use quorate_api::{ConditionType, Status, condition, set_condition};
use quorate_plan::{
    AnyDesired, AnyKind, AnyStatus, Applied, Decision, Event, Object, Objects, Observed, Refused,
    Rejected,
};
use serde_json::Value;

use crate::{Failure, Host, Key, Memory, Snapshot};

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
/// 4. Tell what is about to be done and what is not: nobody would hear of an act after which this process dies.
/// 5. Build the stage's objects (pure, infallible) and apply them in order (the host).
/// 6. Act, one effect after another; the first that fails is the last (the host).
/// 7. Last, write the status, which only applied objects can give whole. What failed keeps nobody from seeing how things
///    stand.
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

    let desired = match kind.validate(&seen.resource, &host.env()) {
        Ok(desired) => desired,
        Err(rejected) => return reject(host, kind, memory, &seen, rejected).await,
    };
    let decision = desired.decide(&seen.observed, host.now());

    let mut lasting: Vec<_> = decision.refusals.iter().map(Refused::event).collect();
    tell(host, memory, &decision.events).await;
    tell(host, memory, &lasting).await;
    let done = carry_out(host, memory, &*desired, &decision, seen.observed).await;
    if let Err(failure) = &done {
        let refused: Vec<_> = failure.event().into_iter().collect();
        tell(host, memory, &refused).await;
        // It is tried again, and told again when it is something else.
        lasting.extend(decision.events.iter().cloned().chain(refused));
    }
    memory.lasts(lasting);
    let mut status = decision.status;
    match &done {
        Ok(applied) => desired.finish(applied, status.common()),
        Err(failure) => blame(status.common(), &seen.resource, failure, host.now()),
    }
    report(host, memory, &seen.resource, &*status, kind.volatile()).await?;
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
    decision: &Decision<Box<dyn AnyStatus>>,
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
fn blame(status: &mut Status, resource: &Value, failure: &Failure, now: Timestamp) {
    if matches!(failure, Failure::Refused(_)) {
        return;
    }
    let Some(Event {
        reason, message, ..
    }) = failure.event()
    else {
        return;
    };
    // In the conditions of before, so that the time of transition is theirs.
    let before = resource["status"]["conditions"].clone();
    let mut conditions = serde_json::from_value(before).unwrap_or_default();
    let generation = resource["metadata"]["generation"].as_i64();
    for told in &mut status.conditions {
        // What serves is Ready nevertheless; where it is not, this is why, and what a table shows.
        let (type_, holds) = match told.type_.as_str() {
            "Degraded" => (ConditionType::Degraded, true),
            "Ready" if told.status == "False" => (ConditionType::Ready, false),
            _ => continue,
        };
        let now = Time(now);
        set_condition(
            &mut conditions,
            type_,
            holds,
            reason,
            &message,
            generation,
            now,
        );
        if let Some(blamed) = condition(&conditions, type_) {
            told.clone_from(blamed);
        }
    }
}

async fn report<H: Host>(
    host: &mut H,
    memory: &mut Memory,
    resource: &Value,
    status: &dyn AnyStatus,
    volatile: &[&str],
) -> Result<(), Failure> {
    let status = status.json();
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
    decision: &Decision<Box<dyn AnyStatus>>,
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
async fn tell<H: Host>(host: &mut H, memory: &Memory, events: &[Event]) {
    for event in events.iter().filter(|event| memory.is_news(event)) {
        let _ = host.emit(event).await;
    }
}

async fn reject<H: Host>(
    host: &mut H,
    kind: &dyn AnyKind,
    memory: &mut Memory,
    seen: &Snapshot,
    rejected: Rejected,
) -> Result<Round, Failure> {
    let words = rejected.to_string();
    let event = Event {
        warning: true,
        reason: "InvalidSpec",
        message: words.clone(),
    };
    tell(host, memory, std::slice::from_ref(&event)).await;
    memory.lasts(vec![event]);
    if let Rejected::Invalid(faults) = rejected
        && let Some(status) = kind.invalid(&seen.resource, &faults, &seen.observed, host.now())
    {
        report(host, memory, &seen.resource, &*status, kind.volatile()).await?;
    }
    Ok(Round::Rejected(words))
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use quorate_plan::{Action, Env, Invalid, KindNames, Names, Prepared, Refusal, Stage, kinds};
    use serde_json::json;

    use super::*;

    /// A kind of which a pod is always to be deleted.
    #[derive(Clone, Default)]
    struct Deletes(ObjectMeta);

    impl AnyKind for Deletes {
        fn names(&self) -> &Names {
            kinds()[0].names()
        }

        fn crd(&self) -> CustomResourceDefinition {
            kinds()[0].crd()
        }

        fn validate(&self, _: &Value, _: &Env) -> Result<Box<dyn AnyDesired>, Rejected> {
            Ok(Box::new(self.clone()))
        }

        fn marks(&self) -> KindNames {
            kinds()[0].marks()
        }

        fn sets(&self, _: &str) -> Vec<String> {
            Vec::new()
        }

        fn invalid(
            &self,
            _: &Value,
            _: &[Invalid],
            _: &Observed,
            _: Timestamp,
        ) -> Option<Box<dyn AnyStatus>> {
            None
        }

        fn certificates(&self, _: &Value) -> Option<String> {
            None
        }

        fn unlearned(&self, status: &Value) -> Value {
            status.clone()
        }

        fn refusals(&self) -> &'static [Refusal] {
            &[]
        }

        fn requests(&self) -> &'static [&'static str] {
            &[]
        }

        fn unchangeable(&self, _: &Value, _: &Value) -> Result<(), Vec<Invalid>> {
            Ok(())
        }

        fn try_next(&self, _: &Value, _: &str) -> Vec<String> {
            Vec::new()
        }

        fn volatile(&self) -> &'static [&'static str] {
            &[]
        }
    }

    impl AnyDesired for Deletes {
        fn metadata(&self) -> &ObjectMeta {
            &self.0
        }

        fn decide(&self, _: &Observed, _: Timestamp) -> Decision<Box<dyn AnyStatus>> {
            Decision {
                stage: None,
                actions: vec![Action::DeletePod {
                    name: "a-0".into(),
                    uid: "p".into(),
                }],
                refusals: Vec::new(),
                events: vec![Event {
                    warning: false,
                    reason: "Repairing",
                    message: String::new(),
                }],
                status: Box::new(Status::default()),
                requeue_after: Duration::ZERO,
            }
        }

        fn build(&self, _: &Stage) -> Objects<Prepared> {
            Objects::prepared(Vec::new())
        }

        fn finish(&self, _: &Objects<Applied>, _: &mut Status) {}
    }

    /// What it was asked to do, in order; acts come to this.
    struct Notes {
        done: Vec<&'static str>,
        comes_to: Result<(), Failure>,
    }

    impl Host for Notes {
        fn env(&self) -> Env {
            Env {
                cluster_domain: String::new(),
                default_image: String::new(),
                operator_namespace: None,
            }
        }

        fn now(&self) -> Timestamp {
            Timestamp::UNIX_EPOCH
        }

        async fn observe(&mut self, _: &dyn AnyKind, _: &Key) -> Result<Option<Snapshot>, Failure> {
            Ok(Some(Snapshot {
                resource: json!({}),
                observed: Observed::default(),
            }))
        }

        async fn apply(&mut self, object: Object) -> Result<Object, Failure> {
            Ok(object)
        }

        async fn act(&mut self, action: &Action) -> Result<(), Failure> {
            self.done.push(action.name());
            self.comes_to.clone()
        }

        async fn emit(&mut self, event: &Event) -> Result<(), Failure> {
            self.done.push(event.reason);
            Ok(())
        }

        async fn write_status(&mut self, _: Value) -> Result<String, Failure> {
            Ok(String::new())
        }
    }

    #[test]
    fn an_act_is_told_before_it_is_done_and_once_until_it_is() {
        let refuses = || Err(Failure::Refused("no".into()));
        let passes = || Err(Failure::Conflict("pod a-0".into()));
        let mut host = Notes {
            done: Vec::new(),
            comes_to: Ok(()),
        };
        let mut memory = Memory::default();
        for (comes_to, done) in [
            (refuses(), &["Repairing", "DeletePod", "MemberRefused"][..]),
            (refuses(), &["DeletePod"]),
            (passes(), &["DeletePod"]),
            (refuses(), &["DeletePod", "MemberRefused"]),
            (Ok(()), &["DeletePod"]),
            (Ok(()), &["Repairing", "DeletePod"]),
        ] {
            host.comes_to = comes_to;
            host.done.clear();
            let key = Key {
                namespace: String::new(),
                name: String::new(),
            };
            let kind = Deletes::default();
            let polled = pin!(reconcile(&mut host, &kind, &key, &mut memory))
                .poll(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(polled, Poll::Ready(_)), "its host never waits");
            assert_eq!(host.done, done);
        }
    }
}
