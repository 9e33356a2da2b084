//! Who is there, as far as an observation tells it without the spec.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use quorate_wire::{GroupStatus, MemberState, MemberStatus};

use crate::common::overrides::MEMBER;
use crate::{OWNER_UID, Observed};

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
pub(crate) const VOLUME: &str = "data";

/// What is known of an ordinal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Member<'a> {
    /// The number at the end of its name.
    pub ordinal: i32,
    /// Its pod.
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

/// Everyone of one pool.
#[derive(Clone, Debug, Default)]
pub struct Census<'a> {
    /// The StatefulSet's name, which the pods' begin with.
    pub set: String,
    /// By ordinal: every one that has a pod or a claim.
    pub members: BTreeMap<i32, Member<'a>>,
}

impl<'a> Census<'a> {
    /// Takes the census of the pool whose StatefulSet has this name, of the resource with this UID.
    pub fn of(set: String, uid: &str, observed: &'a Observed, now: Timestamp) -> Self {
        let mut members: BTreeMap<i32, Member<'a>> = BTreeMap::new();
        for (pod_name, pod) in &observed.pods {
            if let Some(ordinal) = ordinal(&set, pod_name) {
                let member = members.entry(ordinal).or_default();
                member.pod = Some(pod);
                match fresh(uid, observed, pod_name, pod, now) {
                    Ok(status) => member.status = Some(status),
                    Err(why) => member.silence = Some(why),
                }
            }
        }
        let prefix = format!("{VOLUME}-{set}");
        for (claim_name, claim) in &observed.claims {
            if let Some(ordinal) = ordinal(&prefix, claim_name) {
                let member = members.entry(ordinal).or_default();
                let labels = claim.metadata.labels.as_ref();
                let owner = labels.and_then(|labels| labels.get(OWNER_UID));
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
        Census { set, members }
    }

    /// What is known of an ordinal, be it nothing.
    pub fn member(&self, ordinal: i32) -> Member<'a> {
        self.members.get(&ordinal).copied().unwrap_or(Member {
            ordinal,
            ..Member::default()
        })
    }

    /// What the pod of an ordinal is called.
    pub fn pod_name(&self, ordinal: i32) -> String {
        format!("{}-{ordinal}", self.set)
    }

    /// The ordinal of a pod, if it is one of these by its name.
    pub fn ordinal(&self, pod: &str) -> Option<i32> {
        ordinal(&self.set, pod)
    }

    /// How many pods are such.
    pub fn count_pods(&self, is_such: impl Fn(&Pod) -> bool) -> i32 {
        let pods = self.members.values().filter_map(|member| member.pod);
        i32::try_from(pods.filter(|pod| is_such(pod)).count()).unwrap_or(i32::MAX)
    }

    /// The documents of those that answer.
    pub fn documents(&self) -> impl Iterator<Item = &'a MemberStatus> {
        self.members.values().filter_map(|member| member.status)
    }
}

impl<'a> Member<'a> {
    /// Whether its pod is on its way out.
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

    /// Whether no process of it runs, and nobody waits for one: no node has taken the pod, or it does not start.
    pub fn cannot_run(&self) -> bool {
        let status = self.pod.and_then(|pod| pod.status.as_ref());
        let phase = status.and_then(|status| status.phase.as_deref());
        phase == Some("Pending") || self.does_not_start()
    }

    /// What it is able to do, by its own account.
    pub fn state(&self) -> Option<MemberState> {
        self.status.map(|status| status.state)
    }

    /// The identity on its disk.
    pub fn id(&self) -> Option<&'a str> {
        self.status.map(|status| status.incarnation.as_str())
    }

    /// What it says of the group of this number.
    pub fn group(&self, group: u64) -> Option<&'a GroupStatus> {
        let mut groups = self.status?.groups.iter();
        groups.find(|status| status.group == group)
    }

    /// Whether its kubelet says that it serves.
    pub fn is_ready(&self) -> bool {
        self.pod.is_some_and(is_ready)
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

/// Whether its kubelet says that it serves.
pub(super) fn is_ready(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// The ordinal in a pod's name, or a claim's.
fn ordinal(prefix: &str, name: &str) -> Option<i32> {
    let digits = name.strip_prefix(prefix)?.strip_prefix('-')?;
    let ordinal: i32 = digits.parse().ok()?;
    (ordinal >= 0 && ordinal.to_string() == digits).then_some(ordinal)
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
