//! RaftCluster: one raft group, one pool of members.

mod build;
mod decide;
mod try_next;
mod validate;

use jiff::Timestamp;
use quorate_api::RaftCluster;
use serde_json::Value;

use crate::{Applied, Decision, Desired, Env, Invalid, Kind, Object, Objects, Observed, Stage};

pub use build::{POOL, build};
pub use decide::{FOUNDER, GROUP_MARK, INCARNATION, LEFT, REMOVED};
pub use validate::{Members, ValidRaftCluster, unchangeable, validate};

/// The kind.
#[derive(Clone, Copy, Debug)]
pub struct RaftClusters;

impl Kind for RaftClusters {
    type Resource = RaftCluster;
    type Valid = ValidRaftCluster;
    const BINARY: &'static str = "quorate-raft-cluster";
    const VOLATILE: &'static [&'static str] = &["matchIndex", "applied", "lag"];

    fn validate(resource: &RaftCluster, env: &Env) -> Result<ValidRaftCluster, Vec<Invalid>> {
        validate(resource, env)
    }

    fn unchangeable(old: &RaftCluster, new: &RaftCluster) -> Result<(), Vec<Invalid>> {
        unchangeable(old, new)
    }

    fn decide(desired: &Desired<Self>, observed: &Observed, now: Timestamp) -> Decision {
        decide::decide(desired, observed, now)
    }

    fn build(valid: &ValidRaftCluster, stage: &Stage, env: &Env) -> Vec<Object> {
        build(valid, stage, env)
    }

    fn status(desired: &Desired<Self>, decision: &Decision, applied: &Objects<Applied>) -> Value {
        decide::finish(desired, decision, applied)
    }

    fn try_next(resource: &RaftCluster, endpoint: &str) -> Vec<String> {
        try_next::try_next(resource, endpoint)
    }

    fn invalid(
        resource: &RaftCluster,
        faults: &[Invalid],
        observed: &Observed,
        now: Timestamp,
    ) -> Value {
        decide::invalid(resource, faults, observed, now)
    }
}
