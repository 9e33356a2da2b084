//! Who is there, and who leads, as far as an observation tells it without the spec.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use quorate_wire::{
    ConfigurationStatus, ConfiguredMember, GroupStatus, MemberState, MemberStatus, Part, Role,
};

use crate::common::overrides::MEMBER;
use crate::{OWNER_UID, Observed};

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
    pub going: BTreeSet<&'a str>,
}

/// Everyone of the resource of this name and UID, and who leads them.
pub(super) fn survey<'a>(
    name: &str,
    uid: &str,
    observed: &'a Observed,
    now: Timestamp,
) -> (BTreeMap<i32, Member<'a>>, Option<Lead<'a>>) {
    let mut members: BTreeMap<i32, Member<'a>> = BTreeMap::new();
    for (pod_name, pod) in &observed.pods {
        if let Some(ordinal) = ordinal(name, pod_name) {
            let member = members.entry(ordinal).or_default();
            member.pod = Some(pod);
            match fresh(uid, observed, pod_name, pod, now) {
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
    (members, lead)
}

/// How many pods are such.
pub(super) fn count_pods(
    members: &BTreeMap<i32, Member<'_>>,
    is_such: impl Fn(&Pod) -> bool,
) -> i32 {
    let pods = members.values().filter_map(|member| member.pod);
    i32::try_from(pods.filter(|pod| is_such(pod)).count()).unwrap_or(i32::MAX)
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

/// Whether its kubelet says that it serves.
pub(super) fn is_ready(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// The ordinal in a pod's name, or a claim's.
pub(super) fn ordinal(prefix: &str, name: &str) -> Option<i32> {
    let digits = name.strip_prefix(prefix)?.strip_prefix('-')?;
    let ordinal: i32 = digits.parse().ok()?;
    (ordinal >= 0 && ordinal.to_string() == digits).then_some(ordinal)
}

fn group(status: &MemberStatus) -> Option<&GroupStatus> {
    status.groups.iter().find(|group| group.group == GROUP)
}

fn fresh<'a>(
    uid: &str,
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
    if status.cluster != uid {
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
