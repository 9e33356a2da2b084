//! The decision while it is being made.

use quorate_api::Group;

use super::view::View;
use super::volumes;
use crate::planted::planted;
use crate::{Action, Event, PoolStage, Refusal, Refused, TEMPLATE_DIGEST, Template};

/// Whether a phase leaves the round to the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// There is nothing to do in this phase.
    Clear,
    /// Something is being done, or waited for: the phases after it wait too.
    Busy,
}

pub(super) struct Draft {
    pub pool: PoolStage,
    pub actions: Vec<Action>,
    pub refusals: Vec<Refused>,
    pub events: Vec<Event>,
    pub group: Option<Group>,
    /// The first phase that was busy, as the reason of a condition, and in words.
    pub busy: Option<(Reason, String)>,
    /// The revision that is being rolled out stopped at this ordinal.
    pub stopped: Option<i32>,
    /// The living StatefulSet carries another template than the wanted one, which takes its place now.
    pub publishes: bool,
}

/// The reasons of the conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    AsSpecified,
    Forming,
    Repairing,
    Joining,
    Upgrading,
    Scaling,
    Growing,
    Waiting,
    Paused,
    Deleting,
    NoLeader,
    MemberUnavailable,
    MemberDamaged,
    DiskFull,
    BadCertificates,
    PodNotStarting,
    PodUnschedulable,
    PodDenied,
    ClaimUnbound,
    ForeignClaim,
    UpgradeStopped,
    OtherVersion,
    Healthy,
    InvalidSpec,
}

impl Reason {
    pub fn name(self) -> &'static str {
        match self {
            Reason::AsSpecified => "AsSpecified",
            Reason::Forming => "Forming",
            Reason::Repairing => "Repairing",
            Reason::Joining => "Joining",
            Reason::Upgrading => "Upgrading",
            Reason::Scaling => "Scaling",
            Reason::Growing => "Growing",
            Reason::Waiting => "Waiting",
            Reason::Paused => "Paused",
            Reason::Deleting => "Deleting",
            Reason::NoLeader => "NoLeader",
            Reason::MemberUnavailable => "MemberUnavailable",
            Reason::MemberDamaged => "MemberDamaged",
            Reason::DiskFull => "DiskFull",
            Reason::BadCertificates => "BadCertificates",
            Reason::PodNotStarting => "PodNotStarting",
            Reason::PodUnschedulable => "PodUnschedulable",
            Reason::PodDenied => "PodDenied",
            Reason::ClaimUnbound => "ClaimUnbound",
            Reason::ForeignClaim => "ForeignClaim",
            Reason::UpgradeStopped => "UpgradeStopped",
            Reason::OtherVersion => "OtherVersion",
            Reason::Healthy => "Healthy",
            Reason::InvalidSpec => "InvalidSpec",
        }
    }
}

impl Draft {
    /// Leaves everything as it is, but for what has drifted: pods that the group counts on come back, and a template
    /// that is not the wanted one is replaced, fenced off in the same write (two writes would be a race that rolls
    /// pods).
    pub fn of(view: &View<'_>, wanted_digest: &str) -> Self {
        let replicas = view
            .replicas()
            .unwrap_or_else(|| view.wanted())
            .min(view.room())
            .max(view.floor());
        let digest = view
            .set
            .and_then(|set| set.metadata.annotations.as_ref()?.get(TEMPLATE_DIGEST));
        let same = digest.is_some_and(|digest| digest == wanted_digest);
        let partition = match view.set {
            // Around pods that are there, of whatever revision: they are fenced off as from a new template.
            None if (view.lacks_set() || view.floor() > 0) && !planted!(NoFence) => replicas,
            None => 0,
            Some(_) if same || planted!(NoFence) => view.partition(),
            Some(_) => replicas,
        };
        let size = view.set.and_then(volumes::template_size);
        let status = view.desired.resource.status.as_ref();
        let stable = status.and_then(|status| status.stable.clone());
        Draft {
            pool: PoolStage {
                replicas,
                partition,
                // The first revision of a StatefulSet is the stable one, at which pods come back.
                template: stable
                    .filter(|_| view.lacks_set())
                    .map_or(Template::Target, Template::Stable),
                claim_size: size.map(|size| size.0.clone()),
            },
            actions: Vec::new(),
            refusals: Vec::new(),
            events: Vec::new(),
            group: view
                .desired
                .resource
                .status
                .as_ref()
                .and_then(|status| status.group.clone()),
            busy: None,
            stopped: None,
            publishes: view.set.is_some() && !same,
        }
    }

    /// Whether marks of claims are being written, which the next observation is to show.
    pub fn marks_claims(&self) -> bool {
        let mut actions = self.actions.iter();
        actions.any(|action| matches!(action, Action::MarkClaim { .. }))
    }

    pub fn refuse(&mut self, (refusal, message): (Refusal, String)) {
        let refused = Refused { refusal, message };
        if !self.refusals.contains(&refused) {
            self.refusals.push(refused);
        }
    }

    /// Carries out acts that a predicate allowed, and says so; or notes the refusal.
    pub fn attempt(
        &mut self,
        reason: Reason,
        allowed: Result<(), (Refusal, String)>,
        words: String,
        acts: impl IntoIterator<Item = Action>,
    ) -> Phase {
        match allowed {
            Ok(()) => {
                self.actions.extend(acts);
                self.tell(reason, words.clone());
                self.busy(reason, words)
            }
            Err(refused) => {
                let words = refused.1.clone();
                self.refuse(refused);
                self.busy(reason, words)
            }
        }
    }

    pub fn busy(&mut self, reason: Reason, words: String) -> Phase {
        self.busy.get_or_insert((reason, words));
        Phase::Busy
    }

    pub fn tell(&mut self, reason: Reason, message: String) {
        self.events.push(Event {
            warning: false,
            reason: reason.name(),
            message,
        });
    }
}
