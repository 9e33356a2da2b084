//! What the engine asks of its surroundings. There are two: Kubernetes, and processes on this machine.

use std::future::Future;

use jiff::Timestamp;
use quorate_plan::{Action, AnyKind, Env, Event, Object, Observed};
use quorate_wire::Problem;
use serde_json::Value;

/// Which resource.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// A resource and its world, as a host saw them together.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The resource as JSON, with metadata (uid, generation, resourceVersion) and status.
    pub resource: Value,
    /// What belongs to it.
    pub observed: Observed,
}

/// Why a host could not do what it was asked. Whatever it is, the next round starts from a new observation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The object or the configuration changed since it was observed (a precondition did not hold).
    #[error("{0} changed since it was observed; trying again")]
    Conflict(String),
    /// An object of that name exists and belongs to someone else.
    #[error("{0} exists and is not owned by this resource; delete or rename it")]
    Foreign(String),
    /// The API server refused the request, in its own words: only a person can mend that.
    #[error("{0}")]
    Denied(String),
    /// A member refused the request, in its own words.
    #[error("the member refused: {0}")]
    Refused(String),
    /// The request did not get through, or nobody knows whether it did.
    #[error("{0}")]
    Unavailable(String),
}

impl Failure {
    /// How people hear of it: of a refusal by somebody else, and not of what passes by itself.
    pub(crate) fn event(&self) -> Option<Event> {
        let reason = match self {
            Failure::Foreign(_) => "ForeignObject",
            Failure::Denied(_) => "RequestDenied",
            Failure::Refused(_) => "MemberRefused",
            Failure::Conflict(_) | Failure::Unavailable(_) => return None,
        };
        Some(Event {
            warning: true,
            reason,
            message: self.to_string(),
        })
    }

    /// What came of a request to the member of this pod that was not answered by a configuration: by a problem, or by
    /// none.
    pub fn of_member(pod: &str, problem: Option<&Problem>, otherwise: impl ToString) -> Self {
        let Some(problem) = problem else {
            return Failure::Unavailable(otherwise.to_string());
        };
        let words = format!("{pod}: {}", problem.detail);
        match problem.status {
            409 => Failure::Conflict(words),
            // What came of it is not known.
            504 => Failure::Unavailable(words),
            _ => Failure::Refused(words),
        }
    }
}

/// Observes and acts. Calls for one resource are made one after another; `Send` lets a host run many on threads.
pub trait Host: Send {
    /// What builders must know of the surroundings.
    fn env(&self) -> Env;

    /// The time.
    fn now(&self) -> Timestamp;

    /// Reads the resource, its objects and its members' documents; none when the resource is gone.
    fn observe(
        &mut self,
        kind: &dyn AnyKind,
        key: &Key,
    ) -> impl Future<Output = Result<Option<Snapshot>, Failure>> + Send;

    /// Creates the object or brings it to what it should be; returns it as it is afterwards. Where nothing would
    /// change, nothing is written. An existing object must be owned by the resource; a StatefulSet is only changed
    /// when it is still the one (uid, resourceVersion) that `observe` returned, and only made where `observe` saw none.
    fn apply(&mut self, object: Object) -> impl Future<Output = Result<Object, Failure>> + Send;

    /// Carries out one action.
    fn act(&mut self, action: &Action) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Tells people.
    fn emit(&mut self, event: &Event) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Replaces the resource's status, on the resourceVersion that was observed; returns the new resourceVersion.
    fn write_status(
        &mut self,
        status: Value,
    ) -> impl Future<Output = Result<String, Failure>> + Send;
}
