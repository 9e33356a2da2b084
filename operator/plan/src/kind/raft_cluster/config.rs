//! What the members' configuration file says of a RaftCluster.

use std::fmt::Write as _;

use quorate_wire::raft_cluster::LIMITS;
use serde_json::json;

use super::ValidRaftCluster;

/// Its lines: one for each limit, and who may call.
pub(super) fn lines(valid: &ValidRaftCluster) -> String {
    let numbers = json!({
        "timing": *valid.timing,
        "snapshots": *valid.snapshots,
        "limits": *valid.limits,
    });
    let mut file = LIMITS.iter().fold(String::new(), |mut file, limit| {
        let (key, number) = (limit.key(), &numbers[limit.block()][limit.key()]);
        let _ = writeln!(file, "{key}: {number}");
        file
    });
    for (key, patterns) in [
        ("allowedHosts", &valid.allowed_hosts),
        ("allowedOrigins", &valid.allowed_origins),
    ] {
        let _ = writeln!(file, "{key}: \"{}\"", patterns.join(","));
    }
    file
}
