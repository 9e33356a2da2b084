//! What `decide` answers.

use std::time::Duration;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::digest::short;
use crate::{Action, Refusal, Stage};

/// What to do now, and what to say about it.
#[derive(Clone, Debug)]
pub struct Decision<S> {
    /// The objects to apply, as a stage for `build`; none to leave every object as it is (paused, deleted, or the
    /// caches are behind).
    pub stage: Option<Stage>,
    /// To be carried out after the objects were applied, in this order; the first failure ends the round.
    pub actions: Vec<Action>,
    /// What was not done and why.
    pub refusals: Vec<Refused>,
    /// What happened, for people.
    pub events: Vec<Event>,
    /// The kind's status as far as the observation tells it; what the applied objects say is added to it later.
    pub status: S,
    /// When to look again if nothing happens before.
    pub requeue_after: Duration,
}

/// An act that was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// Why: the reason of a condition and an event, and the label of a metric.
    pub refusal: Refusal,
    /// In words: what was refused, on which member, and what it waits for.
    pub message: String,
}

impl Refused {
    /// How people hear of it.
    #[must_use]
    pub fn event(&self) -> Event {
        Event {
            warning: self.refusal.needs_attention(),
            reason: self.refusal.name(),
            message: self.message.clone(),
        }
    }
}

/// Something that people should hear of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// Whether it needs attention.
    pub warning: bool,
    /// In CamelCase, stable.
    pub reason: &'static str,
    /// In words.
    pub message: String,
}

impl Event {
    /// What the object of this event is called, of the resource `about`: what happens again is counted in the same
    /// object, and what says something else is another.
    #[must_use]
    pub fn name(&self, about: &str, uid: &str) -> String {
        let mut digest = Sha256::new();
        for part in [uid, self.reason, &self.message] {
            digest.update(part);
            digest.update([0]);
        }
        format!("{about}.{}", short(digest))
    }
}

impl<S> Decision<S> {
    /// The same with the status made something else.
    pub fn map<T>(self, status: impl FnOnce(S) -> T) -> Decision<T> {
        Decision {
            stage: self.stage,
            actions: self.actions,
            refusals: self.refusals,
            events: self.events,
            status: status(self.status),
            requeue_after: self.requeue_after,
        }
    }
}
