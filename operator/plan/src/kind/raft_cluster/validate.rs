//! From a RaftCluster to one that cannot be wrong.

use kube::core::Resource;
use quorate_api as api;
use quorate_api::RaftCluster;

use super::RaftClusters;
use crate::common::check::{Checked, Faults, is_dns_subdomain, is_log_filter};
use crate::common::storage;
use crate::pool::{Basics, Given};
use crate::{Env, Invalid, Kind};

/// A RaftCluster whose every field was checked. Only [`validate`] makes one.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidRaftCluster {
    pub(super) basics: Basics,
    pub(super) members: Members,
    pub(super) timing: Checked<api::Timing>,
    pub(super) snapshots: Checked<api::Snapshots>,
    pub(super) limits: Checked<api::Limits>,
}

/// How many members vote: 1, 3, 5 or 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Members(i32);

impl Members {
    fn checked(members: i32, faults: &mut Faults) -> Self {
        faults.demand(
            [1, 3, 5, 7].contains(&members),
            "spec.members",
            api::MEMBERS,
        );
        Self(members)
    }

    /// The number.
    pub fn get(self) -> i32 {
        self.0
    }
}

/// Checks a RaftCluster by the rules of its CRD, in their words, and what they cannot see (`podOverrides`). All faults
/// at once. Rules on changes are the API server's, and [`unchangeable`]'s where there is none.
pub fn validate(resource: &RaftCluster, env: &Env) -> Result<ValidRaftCluster, Vec<Invalid>> {
    let spec = &resource.spec;
    let mut faults = Faults::default();
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
    let valid = ValidRaftCluster {
        basics: Basics::checked::<RaftCluster>(names, resource.meta(), &given, env, &mut faults),
        members: Members::checked(spec.members, &mut faults),
        timing: timing(&spec.timing, &mut faults),
        snapshots: snapshots(&spec.snapshots, &mut faults),
        limits: limits(&spec.limits, &mut faults),
    };
    if let Some(given) = &spec.tls {
        tls(given, &mut faults);
    }
    logging(&spec.logging, &mut faults);
    let reserve = u128::try_from(spec.limits.free_space_reserve_bytes).unwrap_or(0);
    let log = u128::try_from(spec.snapshots.compact_after_bytes).unwrap_or(0);
    let size = api::quantity::whole(&spec.storage.size);
    faults.demand(
        size.is_none_or(|size| size < storage::LEAST || size >= reserve + 2 * log),
        "spec.storage.size",
        api::THE_LOG_FITS,
    );
    faults.unless_any(valid)
}

/// What a change of a living RaftCluster may not do: the transition rules of its CRD, for a host without API server.
pub fn unchangeable(old: &RaftCluster, new: &RaftCluster) -> Result<(), Vec<Invalid>> {
    let mut faults = Faults::default();
    let (before, after) = (&old.spec.storage, &new.spec.storage);
    let sizes = (
        api::quantity::whole(&before.size),
        api::quantity::whole(&after.size),
    );
    let shrinks = matches!(sizes, (Some(before), Some(after)) if after < before);
    faults.demand(
        !shrinks,
        "spec.storage.size",
        api::fragment_rules::SIZE_GROWS,
    );
    let same_class = before.storage_class_name == after.storage_class_name;
    faults.demand(
        same_class,
        "spec.storage.storageClassName",
        api::fragment_rules::CLASS_IS_FIXED,
    );
    faults.demand(
        old.spec.tls.is_some() == new.spec.tls.is_some(),
        "spec.tls",
        api::TLS_IS_FIXED,
    );
    faults.demand(
        new.spec.limits.max_key_bytes >= old.spec.limits.max_key_bytes,
        "spec.limits.maxKeyBytes",
        api::KEYS_STAY_IN_REACH,
    );
    faults.unless_any(())
}

fn timing(timing: &api::Timing, faults: &mut Faults) -> Checked<api::Timing> {
    let (heartbeat, election) = (timing.heartbeat_interval_ms, timing.election_timeout_ms);
    let in_range = (10..=10_000).contains(&heartbeat) && (50..=60_000).contains(&election);
    faults.demand(in_range, "spec.timing", api::TIMING_IN_RANGE);
    let outlasts = i64::from(election) >= 5 * i64::from(heartbeat);
    faults.demand(
        outlasts,
        "spec.timing.electionTimeoutMs",
        api::ELECTION_OUTLASTS_HEARTBEATS,
    );
    Checked::new(timing.clone())
}

fn snapshots(snapshots: &api::Snapshots, faults: &mut Faults) -> Checked<api::Snapshots> {
    let in_range = snapshots.compact_after_entries >= 100
        && snapshots.compact_after_bytes >= 1024 * 1024
        && snapshots.keep_entries >= 0;
    faults.demand(in_range, "spec.snapshots", api::SNAPSHOTS_IN_RANGE);
    let less = snapshots.keep_entries < snapshots.compact_after_entries;
    faults.demand(
        less,
        "spec.snapshots.keepEntries",
        api::KEEP_LESS_THAN_COMPACTED,
    );
    Checked::new(snapshots.clone())
}

fn limits(limits: &api::Limits, faults: &mut Faults) -> Checked<api::Limits> {
    const NO_BOUND: i64 = i64::MAX;
    let numbers = [
        ("maxKeyBytes", limits.max_key_bytes, 32 * 1024),
        ("maxValueBytes", limits.max_value_bytes, 8 * 1024 * 1024),
        (
            "maxBatchOperations",
            limits.max_batch_operations.into(),
            10_000,
        ),
        ("maxBatchBytes", limits.max_batch_bytes, 8 * 1024 * 1024),
        ("maxPageEntries", limits.max_page_entries.into(), 100_000),
        ("maxPendingBytes", limits.max_pending_bytes, u32::MAX.into()),
        (
            "maxPendingRequests",
            limits.max_pending_requests.into(),
            NO_BOUND,
        ),
        ("maxConnections", limits.max_connections.into(), 1 << 20),
        ("maxSessions", limits.max_sessions.into(), NO_BOUND),
        ("requestTimeoutMs", limits.request_timeout_ms, 600_000),
        ("lagBoundEntries", limits.lag_bound_entries, NO_BOUND),
    ];
    for (name, value, most) in numbers {
        let field = format!("spec.limits.{name}");
        faults.demand(value > 0, &field, api::LIMITS_ARE_POSITIVE);
        faults.demand(value <= most, &field, api::LIMITS_ARE_BOUNDED);
    }
    faults.demand(
        limits.free_space_reserve_bytes >= 0,
        "spec.limits.freeSpaceReserveBytes",
        api::LIMITS_ARE_POSITIVE,
    );
    let fits = limits.max_pending_bytes >= limits.max_value_bytes.max(limits.max_batch_bytes);
    faults.demand(
        fits,
        "spec.limits.maxPendingBytes",
        api::A_REQUEST_FITS_THE_QUEUE,
    );
    let in_range = (1_000..=86_400_000).contains(&limits.session_lifetime_ms);
    faults.demand(
        in_range,
        "spec.limits.sessionLifetimeMs",
        api::SESSION_LIFETIME_IN_RANGE,
    );
    Checked::new(limits.clone())
}

fn tls(tls: &api::Tls, faults: &mut Faults) {
    faults.demand(
        is_dns_subdomain(&tls.secret_name),
        "spec.tls.secretName",
        api::fragment_rules::SECRET_IS_A_NAME,
    );
}

fn logging(logging: &api::Logging, faults: &mut Faults) {
    faults.demand(
        is_log_filter(&logging.filter),
        "spec.logging.filter",
        api::fragment_rules::FILTER_IS_ONE,
    );
}
