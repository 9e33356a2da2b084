//! From a RaftCluster to one that cannot be wrong.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::core::Resource;
use quorate_api as api;
use quorate_api::{RaftCluster, RaftClusterSpec, Release, Resources, RetentionPolicy, Storage};

use crate::common::check::{Checked, Faults};
use crate::common::identity::Identity;
use crate::common::overrides::Overrides;
use crate::common::pods;
use crate::common::rules::Rules;
use crate::{Env, Invalid};

/// The label of this kind's objects.
pub(crate) const APP: &str = "raft-cluster";

/// A RaftCluster whose every field was checked. Only [`validate`] makes one.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidRaftCluster {
    pub(super) identity: Identity,
    pub(super) members: Members,
    pub(super) release: Release,
    pub(super) storage: Checked<Storage>,
    pub(super) resources: Checked<Resources>,
    pub(super) timing: Checked<api::Timing>,
    pub(super) snapshots: Checked<api::Snapshots>,
    pub(super) limits: Checked<api::Limits>,
    pub(super) tls: Option<Checked<api::Tls>>,
    pub(super) service: api::Service,
    pub(super) monitoring: api::Monitoring,
    pub(super) logging: Checked<api::Logging>,
    pub(super) paused: bool,
    pub(super) pods: Checked<api::Pods>,
    pub(super) overrides: Overrides,
}

/// How many members vote: 1, 3, 5 or 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Members(i32);

impl Members {
    /// The number.
    pub fn get(self) -> i32 {
        self.0
    }
}

impl ValidRaftCluster {
    /// Whose the objects are.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// How many members shall vote.
    pub fn members(&self) -> Members {
        self.members
    }

    /// What they shall run.
    pub fn release(&self) -> &Release {
        &self.release
    }

    /// Whether nothing may be changed.
    pub fn paused(&self) -> bool {
        self.paused
    }

    /// How large each member's volume is to be.
    pub fn volume_size(&self) -> &Quantity {
        &self.storage.size
    }

    /// What becomes of the volumes when the resource goes.
    pub fn when_deleted(&self) -> RetentionPolicy {
        self.storage.retention.when_deleted
    }

    /// What becomes of the volume of a member that was scaled in.
    pub fn when_scaled(&self) -> RetentionPolicy {
        self.storage.retention.when_scaled
    }
}

/// The rules of the CRD.
static RULES: Rules<RaftCluster> = Rules::new(&["/spec/storage/size"]);

/// Checks a RaftCluster by the rules of its CRD, in their words, and what they cannot see (as `podOverrides`). All faults
/// at once. Rules on changes are the API server's, and [`unchangeable`]'s where there is none.
pub fn validate(resource: &RaftCluster, env: &Env) -> Result<ValidRaftCluster, Vec<Invalid>> {
    let spec = &resource.spec;
    let mut faults = Faults::from(RULES.faults(resource));
    let valid = ValidRaftCluster {
        identity: Identity::checked::<RaftCluster>(APP, resource.meta(), &mut faults),
        members: Members(spec.members),
        release: release(spec, env),
        storage: Checked::new(spec.storage.clone()),
        resources: pods::checked_resources(&spec.resources, &mut faults),
        timing: Checked::new(spec.timing.clone()),
        snapshots: Checked::new(spec.snapshots.clone()),
        limits: Checked::new(spec.limits.clone()),
        tls: spec.tls.clone().map(Checked::new),
        service: spec.service.clone(),
        monitoring: spec.monitoring.clone(),
        logging: Checked::new(spec.logging.clone()),
        paused: spec.paused,
        pods: pods::checked(&spec.pods, &mut faults),
        overrides: Overrides::checked(spec.pod_overrides.as_ref(), spec.tls.is_some(), &mut faults),
    };
    faults.annotations("spec.service.annotations", &spec.service.annotations);
    faults.unless_any(valid)
}

/// What a change of a living RaftCluster may not do: the transition rules of its CRD, for a host without API server.
pub fn unchangeable(old: &RaftCluster, new: &RaftCluster) -> Result<(), Vec<Invalid>> {
    Faults::from(RULES.faults_of_change(old, new)).unless_any(())
}

fn release(spec: &RaftClusterSpec, env: &Env) -> Release {
    Release {
        image: spec
            .image
            .clone()
            .unwrap_or_else(|| env.default_image.clone()),
        version: spec.version.clone(),
    }
}
