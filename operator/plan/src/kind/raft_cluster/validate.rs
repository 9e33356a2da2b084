//! From a RaftCluster to one that cannot be wrong.

use kube::core::Resource;
use quorate_api as api;
use quorate_api::RaftCluster;

use super::{POOL, RaftClusters};
use crate::common::check::{Checked, Faults};
use crate::common::rules::Rules;
use crate::pool::build::client_names;
use crate::pool::{Basics, Given};
use crate::{Env, Invalid, Kind};

/// A RaftCluster whose every field was checked. Only [`validate`] makes one.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidRaftCluster {
    pub(super) basics: Basics,
    pub(super) members: i32,
    pub(super) timing: Checked<api::Timing>,
    pub(super) snapshots: Checked<api::Snapshots>,
    pub(super) limits: Checked<api::Limits>,
    pub(super) allowed_hosts: Vec<String>,
    pub(super) allowed_origins: Vec<String>,
}

/// The rules of the CRD.
static RULES: Rules<RaftCluster> = Rules::new(&["/spec/storage/size"]);

/// Checks a RaftCluster by the rules of its CRD, in their words, and what they cannot see (as `podOverrides`). All faults
/// at once. Rules on changes are the API server's, and [`unchangeable`]'s where there is none.
pub fn validate(resource: &RaftCluster, env: &Env) -> Result<ValidRaftCluster, Vec<Invalid>> {
    let spec = &resource.spec;
    let mut faults = Faults::from(RULES.faults(resource));
    let given = Given {
        image: spec.image.as_deref(),
        version: spec.version.as_deref(),
        storage: Some(&spec.storage),
        resources: &spec.resources,
        tls: spec.tls.as_ref(),
        service: &spec.service,
        monitoring: &spec.monitoring,
        logging: &spec.logging,
        paused: spec.paused,
        pods: &spec.pods,
        pod_overrides: spec.pod_overrides.as_ref(),
    };
    let names = RaftClusters::NAMES;
    let basics = Basics::checked::<RaftCluster>(names, resource.meta(), &given, env, &mut faults);
    let mut allowed_hosts = client_names(&basics.identity, POOL, env);
    allowed_hosts.extend(spec.allowed_hosts.iter().cloned());
    let valid = ValidRaftCluster {
        basics,
        members: spec.members,
        timing: Checked::new(spec.timing.clone()),
        snapshots: Checked::new(spec.snapshots.clone()),
        limits: Checked::new(spec.limits.clone()),
        allowed_hosts,
        allowed_origins: spec.allowed_origins.clone(),
    };
    faults.unless_any(valid)
}

/// What a change of a living RaftCluster may not do: the transition rules of its CRD, for a host without API server.
pub fn unchangeable(old: &RaftCluster, new: &RaftCluster) -> Result<(), Vec<Invalid>> {
    Faults::from(RULES.faults_of_change(old, new)).unless_any(())
}
