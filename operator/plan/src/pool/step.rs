//! What a phase of a decision wants. A phase is a function of what was observed; a decision is a list of them.

use std::collections::BTreeMap;

use quorate_api::Formation;

use crate::{Action, Event, Refusal, Refused};

/// The reason of a condition or an event. A kind may have others than these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason(pub &'static str);

macro_rules! reasons {
    ($($reason:ident = $name:literal),+ $(,)?) => {
        impl Reason {
            $(pub(crate) const $reason: Reason = Reason($name);)+
        }
    };
}

reasons! {
    AS_SPECIFIED = "AsSpecified",
    FORMING = "Forming",
    REPAIRING = "Repairing",
    JOINING = "Joining",
    UPGRADING = "Upgrading",
    SCALING = "Scaling",
    GROWING = "Growing",
    WAITING = "Waiting",
    PAUSED = "Paused",
    DELETING = "Deleting",
    NO_LEADER = "NoLeader",
    MEMBER_UNAVAILABLE = "MemberUnavailable",
    MEMBER_DAMAGED = "MemberDamaged",
    DISK_FULL = "DiskFull",
    BAD_CERTIFICATES = "BadCertificates",
    POD_NOT_STARTING = "PodNotStarting",
    POD_UNSCHEDULABLE = "PodUnschedulable",
    POD_DENIED = "PodDenied",
    CLAIM_UNBOUND = "ClaimUnbound",
    FOREIGN_CLAIM = "ForeignClaim",
    UPGRADE_STOPPED = "UpgradeStopped",
    OTHER_VERSION = "OtherVersion",
    HEALTHY = "Healthy",
    INVALID_SPEC = "InvalidSpec",
}

/// A reason, and the same in words.
pub type Told = (Reason, String);

/// A refusal in the making: its name, and what it waits for.
pub type Refusing = (Refusal, String);

pub(crate) fn refuse<T>(refusal: Refusal, words: impl Into<String>) -> Result<T, Refusing> {
    Err((refusal, words.into()))
}

/// What a phase wants of a pool's StatefulSet; what it says nothing of stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// How many pods there are to be.
    pub replicas: Option<i32>,
    /// Up to where they keep their revision.
    pub partition: Option<i32>,
}

/// What a phase wants: nothing, if it is clear.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// What is being done, or waited for: the phases that follow wait too.
    pub busy: Option<Told>,
    /// Busy with something that those behind it need not wait for.
    pub yields: bool,
    /// By the pool's name.
    pub sets: BTreeMap<&'static str, Change>,
    /// Acts, in their order.
    pub actions: Vec<Action>,
    /// What was not done and why.
    pub refusals: Vec<Refused>,
    /// What people are told.
    pub events: Vec<Event>,
    /// The pool and the ordinal at which the revision that is being rolled out stopped.
    pub stopped: Option<(&'static str, i32)>,
    /// What status is to say of the formation of a group, from now on.
    pub group: Option<Formation>,
}

/// A phase, handed what the phases before it wanted.
pub type Phase<'p> = &'p dyn Fn(&Step) -> Step;

impl Step {
    /// One after another, until one is busy: those behind it wait for a later round.
    pub fn first_busy(phases: &[Phase<'_>]) -> Self {
        let mut wanted = Step::default();
        for phase in phases {
            let next = phase(&wanted);
            let ends = next.is_busy();
            wanted = wanted.and(next);
            if ends {
                break;
            }
        }
        wanted
    }

    /// Waits, for what these words say.
    pub fn waits(reason: Reason, words: impl Into<String>) -> Self {
        Step {
            busy: Some((reason, words.into())),
            ..Step::default()
        }
    }

    /// Acts that keep nothing from going on.
    pub fn acts(actions: impl IntoIterator<Item = Action>) -> Self {
        Step {
            actions: actions.into_iter().collect(),
            ..Step::default()
        }
    }

    /// Notes a refusal that keeps nothing from going on.
    pub fn refused((refusal, message): Refusing) -> Self {
        Step {
            refusals: vec![Refused { refusal, message }],
            ..Step::default()
        }
    }

    /// An everyday event.
    pub fn told(reason: Reason, message: impl Into<String>) -> Self {
        Step {
            events: vec![Event {
                warning: false,
                reason: reason.0,
                message: message.into(),
            }],
            ..Step::default()
        }
    }

    /// Carries out acts that a predicate allowed, and says so; or notes the refusal. Busy in either case.
    pub fn attempt(
        reason: Reason,
        allowed: Result<(), Refusing>,
        words: impl Into<String>,
        acts: impl IntoIterator<Item = Action>,
    ) -> Self {
        match allowed {
            Ok(()) => {
                let words = words.into();
                Step::acts(acts)
                    .and(Step::told(reason, words.clone()))
                    .and(Step::waits(reason, words))
            }
            Err(refused) => {
                let words = refused.1.clone();
                Step::refused(refused).and(Step::waits(reason, words))
            }
        }
    }

    /// So many pods in this pool.
    pub fn replicas(mut self, pool: &'static str, replicas: i32) -> Self {
        self.sets.entry(pool).or_default().replicas = Some(replicas);
        self
    }

    /// The pods of this pool below an ordinal keep their revision.
    pub fn partition(mut self, pool: &'static str, partition: i32) -> Self {
        self.sets.entry(pool).or_default().partition = Some(partition);
        self
    }

    /// Both: the first to be busy says what it is about, the later of two changes holds.
    pub fn and(mut self, other: Self) -> Self {
        self.yields = match (self.is_busy(), other.is_busy()) {
            (false, false) => self.yields || other.yields,
            _ => false,
        };
        self.busy = self.busy.or(other.busy);
        for (pool, change) in other.sets {
            let both = self.sets.entry(pool).or_default();
            both.replicas = change.replicas.or(both.replicas);
            both.partition = change.partition.or(both.partition);
        }
        self.actions.extend(other.actions);
        for refused in other.refusals {
            if !self.refusals.contains(&refused) {
                self.refusals.push(refused);
            }
        }
        self.events.extend(other.events);
        self.stopped = self.stopped.or(other.stopped);
        self.group = other.group.or(self.group);
        self
    }

    /// What follows unless this one is busy.
    pub fn and_unless_busy(self, other: impl FnOnce() -> Self) -> Self {
        if self.is_busy() {
            self
        } else {
            self.and(other())
        }
    }

    /// What else is wanted where this one is busy.
    pub fn and_while_busy(self, other: impl FnOnce() -> Self) -> Self {
        if self.is_busy() {
            self.and(other())
        } else {
            self
        }
    }

    /// Whether the phases behind it wait.
    pub fn is_busy(&self) -> bool {
        self.busy.is_some() && !self.yields
    }

    /// The same, and those behind it need not wait.
    pub fn yielding(mut self) -> Self {
        self.yields = true;
        self
    }

    /// Whether it is busy with this.
    pub fn is_busy_with(&self, reason: Reason) -> bool {
        self.busy.as_ref().is_some_and(|(busy, _)| *busy == reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_busy_phase_ends_the_list_and_says_what_it_is_about() {
        let wanted = Step::first_busy(&[
            &|_| Step::told(Reason::SCALING, "a").partition("p", 3),
            &|before| {
                assert_eq!(before.events.len(), 1);
                Step::waits(Reason::JOINING, "b")
                    .partition("p", 2)
                    .and(Step::waits(Reason::SCALING, "c"))
            },
            &|_| unreachable!("it waits"),
        ]);
        assert_eq!(wanted.busy, Some((Reason::JOINING, "b".to_owned())));
        assert_eq!(wanted.sets["p"].partition, Some(2));
        assert_eq!(wanted.sets["p"].replicas, None);
    }
}
