//! What the members' configuration file says of a RaftCluster.

use std::fmt::Write as _;

use super::ValidRaftCluster;

/// Its lines.
pub(super) fn lines(valid: &ValidRaftCluster) -> String {
    let (timing, snapshots, limits) = (&valid.timing, &valid.snapshots, &valid.limits);
    let numbers: [(&str, i64); 18] = [
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
    ];
    numbers
        .iter()
        .fold(String::new(), |mut file, (key, number)| {
            let _ = writeln!(file, "{key}: {number}");
            file
        })
}
