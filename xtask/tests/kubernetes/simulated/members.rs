//! The members of all clusters: which run, on which disk, and what each says.

use std::collections::BTreeMap;

use fastrand::Rng;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use quorate_plan::testing::group::Refused;
use quorate_plan::testing::{self, all};
use quorate_plan::{APP, AnyKind, INSTANCE, OWNER_UID};
use quorate_wire::{ConfigurationStatus, GroupRequest, MemberStatus};

/// What is asked rightly is done within so many steps of the group, which it takes at once.
const STEPS: usize = 8;

/// What a member is started as.
#[derive(Clone)]
pub struct Member {
    pub name: String,
    namespace: String,
    kind: &'static dyn AnyKind,
    /// Its name and its UID.
    resource: String,
    cluster: String,
    /// The UID of its claim.
    disk: String,
    version: String,
}

impl Member {
    /// None before the pod and its claim have all that it takes.
    pub fn of(pod: &Pod, claim: &PersistentVolumeClaim) -> Option<Self> {
        let labels = pod.metadata.labels.as_ref()?;
        let version = labels.get("app.kubernetes.io/version");
        let app = labels.get(APP)?;
        Some(Self {
            name: pod.metadata.name.clone()?,
            namespace: pod.metadata.namespace.clone()?,
            kind: all().find(|kind| kind.marks().app == app)?,
            resource: labels.get(INSTANCE)?.clone(),
            cluster: claim.metadata.labels.as_ref()?.get(OWNER_UID)?.clone(),
            disk: claim.metadata.uid.clone()?,
            version: version.cloned().unwrap_or_default(),
        })
    }
}

/// By the UID of their resource.
#[derive(Debug)]
pub struct Members {
    clusters: BTreeMap<String, testing::Members>,
    rng: Rng,
}

impl Default for Members {
    fn default() -> Self {
        Self {
            clusters: BTreeMap::new(),
            rng: Rng::new(),
        }
    }
}

impl Members {
    pub fn start(&mut self, member: &Member) {
        let made = || {
            let (namespace, resource) = (&member.namespace, &member.resource);
            let mut made = testing::Members::new(member.kind, namespace, resource, &member.cluster);
            made.group.is_idle = true;
            made
        };
        let cluster = self.clusters.entry(member.cluster.clone());
        let fresh = self.rng.u64(1..);
        cluster
            .or_insert_with(made)
            .start(&member.name, &member.disk, &member.version, fresh);
    }

    pub fn stop(&mut self, member: &Member) {
        if let Some(cluster) = self.clusters.get_mut(&member.cluster) {
            cluster.hand_over(&member.name);
            cluster.stop(&member.name);
        }
    }

    /// Time goes on for every group.
    pub fn step(&mut self) {
        for cluster in self.clusters.values_mut() {
            cluster.step(&mut self.rng).unwrap();
        }
    }

    pub fn is_ready(&self, member: &Member) -> bool {
        let cluster = self.clusters.get(&member.cluster);
        cluster.is_some_and(|cluster| cluster.is_ready(&member.name))
    }

    pub fn status(&self, member: &Member) -> Option<MemberStatus> {
        self.clusters.get(&member.cluster)?.document(&member.name)
    }

    pub fn ask(
        &mut self,
        member: &Member,
        request: &GroupRequest,
    ) -> Result<ConfigurationStatus, Refused> {
        let cluster = self.clusters.get_mut(&member.cluster);
        let cluster = cluster.ok_or(Refused::Gone)?;
        cluster.ask(&member.name, request)?;
        for _ in 0..STEPS {
            cluster.step(&mut self.rng).unwrap();
        }
        let document = cluster.document(&member.name).ok_or(Refused::Gone)?;
        let group = document.groups.into_iter().next().ok_or(Refused::Gone)?;
        Ok(group.configuration)
    }
}
