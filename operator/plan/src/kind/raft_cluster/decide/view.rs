//! What was observed, in the terms of a raft group: who is there, who leads, who counts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetStatus};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use quorate_wire::{
    ConfigurationStatus, ConfiguredMember, GroupStatus, MemberState, MemberStatus, Part, Role,
};

use super::super::{RaftClusters, build};
use super::marks;
use crate::common::overrides::MEMBER;
use crate::{Desired, OWNER_UID, Observed};

/// The only group of a RaftCluster.
pub(super) const GROUP: u64 = 1;

/// A document that is older says nothing of now.
const FRESH: Duration = Duration::from_secs(5);

/// What kubelets say of a container that does not start; `ContainerCreating` and the like are none of these.
const STARTLESS: [&str; 8] = [
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImagePull",
    "ImageNotFound",
    "ImagePullBackOff",
    "InvalidImageName",
    "RunContainerError",
];

/// The claim template's name.
const VOLUME: &str = "data";

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

/// What is known of an ordinal.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Member<'a> {
    pub ordinal: i32,
    pub pod: Option<&'a Pod>,
    /// Its claim, made for this very resource.
    pub claim: Option<&'a PersistentVolumeClaim>,
    /// One that holds the data of an earlier resource, in the place of its own.
    pub foreign_claim: Option<&'a PersistentVolumeClaim>,
    /// Its document, when it is fresh and of this very pod.
    pub status: Option<&'a MemberStatus>,
    /// Why there is none.
    pub silence: Option<&'a str>,
}

/// The leader, and what it says of the others.
#[derive(Clone, Debug)]
pub(super) struct Lead<'a> {
    pub ordinal: i32,
    pub id: &'a str,
    pub term: u64,
    pub configuration: &'a ConfigurationStatus,
    /// The identities of voters that follow this leader, are ready, and hold what it has committed, by its own account.
    pub healthy: BTreeSet<&'a str>,
    /// Those among them that are about to be restarted.
    going: BTreeSet<&'a str>,
}

/// Whether a StatefulSet's controller has seen the latest spec: until then its status speaks of another one.
pub(super) fn is_synced(set: &StatefulSet) -> bool {
    let status = set.status.as_ref();
    status.and_then(|status| status.observed_generation) == set.metadata.generation
}

impl<'a> View<'a> {
    pub fn of(desired: &'a Desired<RaftClusters>, observed: &'a Observed, now: Timestamp) -> Self {
        let name = desired.valid.identity().name();
        let mut members: BTreeMap<i32, Member<'a>> = BTreeMap::new();
        for (pod_name, pod) in &observed.pods {
            if let Some(ordinal) = ordinal(name, pod_name) {
                let member = members.entry(ordinal).or_default();
                member.pod = Some(pod);
                match fresh(desired, observed, pod_name, pod, now) {
                    Ok(status) => member.status = Some(status),
                    Err(why) => member.silence = Some(why),
                }
            }
        }
        for (claim_name, claim) in &observed.claims {
            if let Some(ordinal) = ordinal(&format!("{VOLUME}-{name}"), claim_name) {
                let member = members.entry(ordinal).or_default();
                let owner = claim
                    .metadata
                    .labels
                    .as_ref()
                    .and_then(|l| l.get(OWNER_UID));
                let uid = desired.valid.identity().uid();
                if owner.is_some_and(|owner| owner == uid) {
                    member.claim = Some(claim);
                } else {
                    member.foreign_claim = Some(claim);
                }
            }
        }
        for (ordinal, member) in &mut members {
            member.ordinal = *ordinal;
        }
        let lead = lead(name, &members);
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
        self.count(|_| true)
    }

    /// Whether somebody took the StatefulSet away from its pods, which may go on serving.
    pub fn lacks_set(&self) -> bool {
        self.set.is_none() && self.pods() > 0
    }

    /// How many of the pods the Services lead to: a kubelet learns later than the operator that its member serves.
    pub fn ready_pods(&self) -> i32 {
        self.count(is_ready)
    }

    fn count(&self, counts: impl Fn(&Pod) -> bool) -> i32 {
        let pods = self.members.values().filter_map(|member| member.pod);
        i32::try_from(pods.filter(|pod| counts(pod)).count()).unwrap_or(i32::MAX)
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

impl<'a> Member<'a> {
    pub fn is_terminating(&self) -> bool {
        self.pod
            .is_some_and(|pod| pod.metadata.deletion_timestamp.is_some())
    }

    /// Whether the kubelet has given up starting its process for now.
    pub fn does_not_start(&self) -> bool {
        let status = self.pod.and_then(|pod| pod.status.as_ref());
        let containers = status.and_then(|status| status.container_statuses.as_ref());
        let mut own = containers.into_iter().flatten();
        // A sidecar that does not start keeps nobody from voting.
        own.any(|container| {
            let waiting = container
                .state
                .as_ref()
                .and_then(|state| state.waiting.as_ref());
            let reason = waiting.and_then(|waiting| waiting.reason.as_deref());
            container.name == MEMBER && reason.is_some_and(|reason| STARTLESS.contains(&reason))
        })
    }

    pub fn state(&self) -> Option<MemberState> {
        self.status.map(|status| status.state)
    }

    pub fn id(&self) -> Option<&'a str> {
        self.status.map(|status| status.incarnation.as_str())
    }

    pub fn group(&self) -> Option<&'a GroupStatus> {
        self.status.and_then(group)
    }

    /// The revision that its pod was made at.
    pub fn revision(&self) -> Option<&'a str> {
        let labels = self.pod?.metadata.labels.as_ref()?;
        labels.get("controller-revision-hash").map(String::as_str)
    }

    /// How long ago its pod was made.
    pub fn age(&self, now: Timestamp) -> Option<Duration> {
        let created = self.pod?.metadata.creation_timestamp.as_ref()?;
        Duration::try_from(now.duration_since(created.0)).ok()
    }
}

impl<'a> Lead<'a> {
    /// Whether the healthy voters without this one are a quorum, in both halves of a joint configuration.
    pub fn has_quorum_without(&self, id: Option<&str>) -> bool {
        self.suffices(&self.configuration.members, |member| {
            self.counts(&member.id) && Some(member.id.as_str()) != id
        })
    }

    /// Whether the healthy voters would be a quorum of the configuration that a removal leads to.
    pub fn has_quorum_after_removing(&self, id: &str) -> bool {
        let left: Vec<_> = self
            .configuration
            .members
            .iter()
            .filter(|member| member.id != id)
            .cloned()
            .collect();
        self.suffices(&left, |member| self.counts(&member.id))
    }

    /// Whether the healthy voters would be a quorum of the configuration that a promotion leads to. The learner itself
    /// counts: it was asked before.
    pub fn has_quorum_after_promoting(&self, id: &str) -> bool {
        let mut grown = self.configuration.members.clone();
        for member in grown.iter_mut().filter(|member| member.id == id) {
            member.part = Part::Voter;
        }
        self.suffices(&grown, |member| self.counts(&member.id) || member.id == id)
    }

    /// Whether the group can count on this identity.
    pub fn counts(&self, id: &str) -> bool {
        self.healthy.contains(id) && !self.going.contains(id)
    }

    fn suffices(
        &self,
        members: &[ConfiguredMember],
        counts: impl Fn(&ConfiguredMember) -> bool,
    ) -> bool {
        is_quorum(members, counts)
    }

    /// A change that is not committed yet, or half made.
    pub fn is_changing(&self) -> bool {
        self.configuration.joint || !self.configuration.committed
    }

    pub fn voters(&self) -> impl Iterator<Item = &'a ConfiguredMember> {
        self.configuration
            .members
            .iter()
            .filter(|member| member.part != Part::Learner)
    }

    /// Whether the leader holds this learner to be caught up.
    pub fn holds_caught_up(&self, id: &str) -> bool {
        self.configuration
            .members
            .iter()
            .any(|member| member.id == id && member.caught_up == Some(true))
    }
}

/// Whether those who count are more than half of each half of a configuration that has any voters.
fn is_quorum(members: &[ConfiguredMember], counts: impl Fn(&ConfiguredMember) -> bool) -> bool {
    [Part::Outgoing, Part::Incoming].into_iter().all(|half| {
        let voters: Vec<_> = members
            .iter()
            .filter(|member| member.part == Part::Voter || member.part == half)
            .collect();
        let counted = voters.iter().filter(|member| counts(member)).count();
        counted * 2 > voters.len()
    })
}

fn is_ready(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn ordinal(prefix: &str, name: &str) -> Option<i32> {
    let digits = name.strip_prefix(prefix)?.strip_prefix('-')?;
    let ordinal: i32 = digits.parse().ok()?;
    (ordinal >= 0 && ordinal.to_string() == digits).then_some(ordinal)
}

fn group(status: &MemberStatus) -> Option<&GroupStatus> {
    status.groups.iter().find(|group| group.group == GROUP)
}

fn fresh<'a>(
    desired: &Desired<RaftClusters>,
    observed: &'a Observed,
    name: &str,
    pod: &Pod,
    now: Timestamp,
) -> Result<&'a MemberStatus, &'a str> {
    let answer = observed.members.get(name).ok_or("it was not asked")?;
    let status = answer.status.as_ref().map_err(String::as_str)?;
    if pod.metadata.uid.as_ref() != Some(&answer.pod_uid) {
        return Err("the answer is of an earlier pod");
    }
    if pod.metadata.deletion_timestamp.is_some() {
        return Err("it is being shut down");
    }
    if now.duration_since(answer.at).unsigned_abs() > FRESH {
        return Err("its last answer is too old");
    }
    if status.cluster != desired.valid.identity().uid() {
        return Err("it belongs to another cluster");
    }
    Ok(status)
}

/// The leader of the highest term, if a quorum of its configuration says in this very observation that it follows.
fn lead<'a>(name: &str, members: &BTreeMap<i32, Member<'a>>) -> Option<Lead<'a>> {
    let leading = members
        .values()
        .filter(|member| member.state() == Some(MemberState::Running));
    let leading = leading.filter(|member| {
        member
            .group()
            .is_some_and(|group| group.role == Role::Leader)
    });
    let leader = leading.max_by_key(|member| member.group().map_or(0, |group| group.term))?;
    let (id, group) = (leader.id()?, leader.group()?);
    let of = |configured: &ConfiguredMember| {
        let seen = members.get(&ordinal(name, &configured.name)?)?;
        (seen.id() == Some(configured.id.as_str()) && seen.state() == Some(MemberState::Running))
            .then_some(*seen)
    };
    let follows = |configured: &ConfiguredMember| {
        of(configured)
            .and_then(|seen| seen.group())
            .is_some_and(|seen| {
                seen.term == group.term
                    && (seen.leader.as_deref() == Some(id) || configured.id == id)
            })
    };
    if !is_quorum(&group.configuration.members, follows) {
        return None;
    }
    let is_healthy = |configured: &&ConfiguredMember| {
        let ready = of(configured)
            .and_then(|seen| seen.status)
            .is_some_and(|status| status.ready);
        ready && follows(configured) && (configured.id == id || configured.caught_up == Some(true))
    };
    let voters = group
        .configuration
        .members
        .iter()
        .filter(|member| member.part != Part::Learner);
    let healthy = voters
        .filter(is_healthy)
        .map(|member| member.id.as_str())
        .collect();
    Some(Lead {
        ordinal: leader.ordinal,
        id,
        term: group.term,
        configuration: &group.configuration,
        healthy,
        going: BTreeSet::new(),
    })
}
