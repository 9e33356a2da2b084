//! What was observed, in the terms of what is wanted: what there is, what counts, and what is still to come.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetStatus};
use quorate_wire::{ConfiguredMember, Part};

use super::super::{RaftClusters, build};
use super::census::{Lead, Member, count_pods, is_ready, ordinal, survey};
use super::marks;
use crate::{Desired, Observed};

pub(super) struct View<'a> {
    pub desired: &'a Desired<RaftClusters>,
    pub now: Timestamp,
    pub behind: &'a [String],
    /// Why a missing pod could not be made.
    pub denial: Option<&'a str>,
    /// Why the Secret with the certificates is of no use, while a pod waits for it.
    pub secret: Option<&'a str>,
    pub set: Option<&'a StatefulSet>,
    /// By ordinal: every one that has a pod or a claim.
    pub members: BTreeMap<i32, Member<'a>>,
    /// Confirmed by a quorum of its own configuration, so that it is not one that was deposed.
    pub lead: Option<Lead<'a>>,
}

/// Whether a StatefulSet's controller has seen the latest spec: until then its status speaks of another one.
pub(super) fn is_synced(set: &StatefulSet) -> bool {
    let status = set.status.as_ref();
    status.and_then(|status| status.observed_generation) == set.metadata.generation
}

impl<'a> View<'a> {
    pub fn of(desired: &'a Desired<RaftClusters>, observed: &'a Observed, now: Timestamp) -> Self {
        let identity = desired.valid.identity();
        let name = identity.name();
        let (members, lead) = survey(name, identity.uid(), observed, now);
        let mut view = View {
            desired,
            now,
            behind: &observed.behind,
            denial: observed.denials.get(name).map(String::as_str),
            secret: observed.secret.as_deref(),
            set: observed.stateful_sets.get(name),
            members,
            lead,
        };
        let going = view.going();
        if let Some(lead) = &mut view.lead {
            lead.going = going;
        }
        view
    }

    /// Identities whose restart is granted and not carried out yet: the StatefulSet's controller may take them away
    /// at any time.
    fn going(&self) -> BTreeSet<&'a str> {
        let outdated = |member: &&Member<'a>| member.revision() != self.update_revision();
        let granted = self
            .members
            .range(self.partition()..)
            .map(|(_, member)| member);
        let granted = granted
            .filter(|member| member.pod.is_some())
            .filter(outdated);
        granted.filter_map(Member::id).collect()
    }

    /// How many members are wanted.
    pub fn wanted(&self) -> i32 {
        self.desired.valid.members().get()
    }

    pub fn pod_name(&self, ordinal: i32) -> String {
        format!("{}-{ordinal}", self.desired.valid.identity().name())
    }

    pub fn spec(&self) -> Option<&'a StatefulSetSpec> {
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
        count_pods(&self.members, |_| true)
    }

    /// Whether somebody took the StatefulSet away from its pods, which may go on serving.
    pub fn lacks_set(&self) -> bool {
        self.set.is_none() && self.pods() > 0
    }

    /// How many of the pods the Services lead to: a kubelet learns later than the operator that its member serves.
    pub fn ready_pods(&self) -> i32 {
        count_pods(&self.members, is_ready)
    }

    pub fn current_revision(&self) -> Option<&'a str> {
        self.set_status()?.current_revision.as_deref()
    }

    pub fn update_revision(&self) -> Option<&'a str> {
        self.set_status()?.update_revision.as_deref()
    }

    fn set_status(&self) -> Option<&'a StatefulSetStatus> {
        self.set?.status.as_ref()
    }

    pub fn set_is_synced(&self) -> bool {
        self.set.is_none_or(is_synced)
    }

    pub fn member(&self, ordinal: i32) -> Member<'a> {
        self.members.get(&ordinal).copied().unwrap_or(Member {
            ordinal,
            ..Member::default()
        })
    }

    /// Everyone in the configuration, with the ordinal in the name.
    pub fn configured(&self) -> impl Iterator<Item = (i32, &'a ConfiguredMember)> {
        let name = self.desired.valid.identity().name();
        let configuration = self.lead.as_ref().map(|lead| lead.configuration);
        configuration
            .into_iter()
            .flat_map(|configuration| &configuration.members)
            .filter_map(move |member| Some((ordinal(name, &member.name)?, member)))
    }

    /// A learner that is no member of this cluster: its name is none of ours, it is said to be elsewhere, or nothing
    /// is left of its pod and never will be. It was added by another hand, and would be waited for for ever.
    pub fn stranger(&self) -> Option<&'a ConfiguredMember> {
        let mut members = self
            .lead
            .iter()
            .flat_map(|lead| &lead.configuration.members);
        members.find(|member| member.part == Part::Learner && self.is_strange(member))
    }

    fn is_strange(&self, learner: &ConfiguredMember) -> bool {
        let desired = self.desired;
        let Some(ordinal) = ordinal(desired.valid.identity().name(), &learner.name) else {
            return true;
        };
        let member = self.member(ordinal);
        let beyond = ordinal >= self.wanted().max(self.replicas().unwrap_or(0));
        beyond && member.pod.is_none() && member.claim.is_none()
            || learner.address != build::peer_address(&desired.valid, &desired.env, &learner.name)
    }

    /// The part of an identity in the configuration.
    pub fn part(&self, id: &str) -> Option<Part> {
        self.configured()
            .find(|(_, member)| member.id == id)
            .map(|(_, member)| member.part)
    }

    /// How many pods there can be without one that comes into the hands of an earlier resource's claim.
    pub fn room(&self) -> i32 {
        let mut taken = self.members.values();
        taken
            .find(|member| member.foreign_claim.is_some())
            .map_or(i32::MAX, |member| member.ordinal)
    }

    /// One more than the highest ordinal that the group counts on. Without a leader the marked claims speak for it.
    pub fn floor(&self) -> i32 {
        let highest = match self.lead {
            Some(_) => self
                .configured()
                .filter(|(_, member)| member.part != Part::Learner || !self.is_strange(member))
                .map(|(ordinal, _)| ordinal)
                .max(),
            None => self
                .members
                .values()
                .filter(|member| marks::is_counted(member))
                .map(|member| member.ordinal)
                .max(),
        };
        highest.map_or(0, |ordinal| ordinal + 1)
    }
}
