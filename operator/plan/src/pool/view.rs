//! A pool as it was observed, in the terms of what is wanted.

use std::ops::Deref;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetStatus};
use quorate_api::{ConditionType, Status, condition};

use super::build;
use super::census::{Census, Member, is_ready};
use super::spec::Pool;
use super::step::Reason;
use crate::planted::planted;
use crate::{Env, Observed, PoolStage, TEMPLATE_DIGEST, Template, template_digest};

/// One pool and what was seen of it.
pub struct View<'a> {
    /// As it is specified.
    pub pool: &'a Pool,
    /// What its objects are built in.
    pub env: &'a Env,
    /// When it was observed.
    pub now: Timestamp,
    /// The status of before.
    pub old: Option<&'a Status>,
    /// Our own writes that the observation does not show yet.
    pub behind: &'a [String],
    /// Why a missing pod could not be made.
    pub denial: Option<&'a str>,
    /// Why the Secret with the certificates is of no use, while a pod waits for it.
    pub secret: Option<&'a str>,
    /// The living StatefulSet.
    pub set: Option<&'a StatefulSet>,
    /// Who is there.
    pub census: Census<'a>,
    /// The living StatefulSet carries another template than the wanted one, which takes its place now.
    pub publishes: bool,
}

/// Whether a StatefulSet's controller has seen the latest spec: until then its status speaks of another one.
pub(crate) fn is_synced(set: &StatefulSet) -> bool {
    let status = set.status.as_ref();
    status.and_then(|status| status.observed_generation) == set.metadata.generation
}

impl<'a> Deref for View<'a> {
    type Target = Census<'a>;

    fn deref(&self) -> &Census<'a> {
        &self.census
    }
}

impl<'a> View<'a> {
    /// Looks at one pool; `old` is the status that its resource has.
    pub fn of(
        pool: &'a Pool,
        env: &'a Env,
        old: Option<&'a Status>,
        observed: &'a Observed,
        now: Timestamp,
    ) -> Self {
        let set = observed.stateful_sets.get(&pool.set);
        let uid = pool.basics.identity.uid();
        View {
            pool,
            env,
            now,
            old,
            behind: &observed.behind,
            denial: observed.denials.get(&pool.set).map(String::as_str),
            secret: observed.secret.as_deref(),
            set,
            census: Census::of(pool.set.clone(), uid, observed, now),
            publishes: set.is_some_and(|set| !carries(set, pool, env)),
        }
    }

    /// How many members are wanted.
    pub fn wanted(&self) -> i32 {
        self.pool.members
    }

    fn spec(&self) -> Option<&'a StatefulSetSpec> {
        self.set.and_then(|set| set.spec.as_ref())
    }

    /// How many pods the living StatefulSet is to have.
    pub fn replicas(&self) -> Option<i32> {
        self.spec().map(|spec| spec.replicas.unwrap_or(1))
    }

    /// The living StatefulSet's partition.
    pub fn partition(&self) -> i32 {
        let strategy = self.spec().and_then(|spec| spec.update_strategy.as_ref());
        strategy
            .and_then(|strategy| strategy.rolling_update.as_ref()?.partition)
            .unwrap_or(0)
    }

    /// How many pods there are. A StatefulSet that was made anew around its pods has not counted them yet.
    pub fn pods(&self) -> i32 {
        self.count_pods(|_| true)
    }

    /// Whether somebody took the StatefulSet away from its pods, which may go on serving.
    pub fn lacks_set(&self) -> bool {
        self.set.is_none() && self.pods() > 0
    }

    /// How many of the pods the Services lead to: a kubelet learns later than the operator that its member serves.
    pub fn ready_pods(&self) -> i32 {
        self.count_pods(is_ready)
    }

    /// The revision at which pods below the partition come back.
    pub fn current_revision(&self) -> Option<&'a str> {
        self.set_status()?.current_revision.as_deref()
    }

    /// The newest revision.
    pub fn update_revision(&self) -> Option<&'a str> {
        self.set_status()?.update_revision.as_deref()
    }

    fn set_status(&self) -> Option<&'a StatefulSetStatus> {
        self.set?.status.as_ref()
    }

    /// Whether its controller has seen the latest spec.
    pub fn set_is_synced(&self) -> bool {
        self.set.is_none_or(is_synced)
    }

    /// How many pods there can be without one that comes into the hands of an earlier resource's claim.
    pub fn room(&self) -> i32 {
        let mut taken = self.members.values();
        taken
            .find(|member| member.foreign_claim.is_some())
            .map_or(i32::MAX, |member| member.ordinal)
    }

    /// Whether a member's pod is of the newest revision.
    pub fn is_at_update(&self, member: &Member<'_>) -> bool {
        member.revision().is_some() && member.revision() == self.update_revision()
    }

    /// Whether the pods are to be of two revisions.
    pub fn is_between_revisions(&self) -> bool {
        self.current_revision() != self.update_revision()
    }

    /// Whether the last status says that something is wrong, for one of these reasons.
    pub fn was_told(&self, reasons: &[Reason]) -> bool {
        let degraded = self
            .old
            .and_then(|old| condition(&old.conditions, ConditionType::Degraded));
        degraded.is_some_and(|told| {
            told.status == "True" && reasons.iter().any(|reason| told.reason == reason.0)
        })
    }

    /// Leaves everything as it is, but for what has drifted: pods that are counted on (there are `floor`) come back, and a
    /// template that is not the wanted one is replaced, fenced off in the same write (two writes would be a race that rolls
    /// pods).
    pub fn base(&self, floor: i32) -> PoolStage {
        let replicas = self
            .replicas()
            .unwrap_or_else(|| self.wanted())
            .min(self.room())
            .max(floor);
        let partition = match self.set {
            // Around pods that are there, of whatever revision: they are fenced off as from a new template.
            None if (self.lacks_set() || floor > 0) && !planted!(NoFence) => replicas,
            None => 0,
            Some(_) if !self.publishes || planted!(NoFence) => self.partition(),
            Some(_) => replicas,
        };
        let stable = self.old.and_then(|old| old.stable.clone());
        PoolStage {
            replicas,
            partition,
            // The first revision of a StatefulSet is the stable one, at which pods come back.
            template: stable
                .filter(|_| self.lacks_set())
                .map_or(Template::Target, Template::Stable),
            claim_size: self
                .set
                .and_then(super::volumes::template_size)
                .map(|size| size.0.clone()),
        }
    }
}

/// Whether the living StatefulSet was applied with the template that is wanted.
fn carries(set: &StatefulSet, pool: &Pool, env: &Env) -> bool {
    let annotations = set.metadata.annotations.as_ref();
    let digest = annotations.and_then(|annotations| annotations.get(TEMPLATE_DIGEST));
    let wanted = build::stateful_set(pool, &pool.specified(), env);
    digest.is_some_and(|digest| *digest == template_digest(&wanted))
}
