//! The members' configuration file. What differs from pod to pod, and every path, comes by environment instead (see
//! `members`): the file is the same for all, and the embedded host can put the paths where it likes.

use k8s_openapi::api::core::v1::ConfigMap;
use quorate_api::LogFormat;
use sha2::{Digest, Sha256};

use super::{MEMBER, ValidRaftCluster};
use crate::digest::short;

/// The file's name in the ConfigMap.
pub(super) const FILE: &str = "config.yaml";

/// One ConfigMap for all revisions: a member that restarts in the middle of a roll may read the new file early, which
/// is harmless, since any two valid files can serve in one group.
pub(super) fn config_map(valid: &ValidRaftCluster) -> ConfigMap {
    ConfigMap {
        metadata: valid.identity.meta("-config", MEMBER),
        data: Some([(FILE.to_owned(), yaml(valid))].into()),
        ..ConfigMap::default()
    }
}

/// A digest of a ConfigMap's content.
pub(super) fn hash(config: &ConfigMap) -> String {
    let mut digest = Sha256::new();
    for (name, content) in config.data.iter().flatten() {
        digest.update(name);
        digest.update([0]);
        digest.update(content);
        digest.update([0]);
    }
    short(digest)
}

fn yaml(valid: &ValidRaftCluster) -> String {
    let (timing, snapshots, limits) = (&valid.timing, &valid.snapshots, &valid.limits);
    let numbers: [(&str, i64); 19] = [
        ("electionTimeoutMs", timing.election_timeout_ms.into()),
        ("heartbeatIntervalMs", timing.heartbeat_interval_ms.into()),
        ("compactAfterEntries", snapshots.compact_after_entries),
        ("compactAfterBytes", snapshots.compact_after_bytes),
        ("keepEntries", snapshots.keep_entries),
        ("maxKeyBytes", limits.max_key_bytes),
        ("maxValueBytes", limits.max_value_bytes),
        ("maxBatchOperations", limits.max_batch_operations.into()),
        ("maxBatchBytes", limits.max_batch_bytes),
        ("maxPageEntries", limits.max_page_entries.into()),
        ("maxPendingBytes", limits.max_pending_bytes),
        ("maxPendingRequests", limits.max_pending_requests.into()),
        ("maxConnections", limits.max_connections.into()),
        ("maxSessions", limits.max_sessions.into()),
        ("sessionLifetimeMs", limits.session_lifetime_ms),
        ("requestTimeoutMs", limits.request_timeout_ms),
        ("lagBoundEntries", limits.lag_bound_entries),
        ("freeSpaceReserveBytes", limits.free_space_reserve_bytes),
        ("drainTimeoutMs", drain_timeout_ms(valid)),
    ];
    let format = match valid.logging.format {
        LogFormat::Human => "human",
        LogFormat::Json => "json",
    };
    let mut file = format!("cluster: \"{}\"\n", valid.identity.uid());
    for (key, number) in numbers {
        file.push_str(&format!("{key}: {number}\n"));
    }
    file.push_str(&format!(
        "logFormat: {format}\nlogFilter: \"{}\"\n",
        valid.logging.filter
    ));
    file
}

/// Requests under way may take a third of the grace period; the rest is for handing over and for closing files.
fn drain_timeout_ms(valid: &ValidRaftCluster) -> i64 {
    valid.pods.termination_grace_period_seconds * 1000 / 3
}
