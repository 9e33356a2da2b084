//! The members' configuration file. What differs from pod to pod, and every path, comes by environment instead (see
//! `members`): the file is the same for all, and the embedded host can put the paths where it likes.

use k8s_openapi::api::core::v1::ConfigMap;
use quorate_api::LogFormat;
use quorate_wire::raft_cluster::LIMITS;
use serde_json::json;
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
    let mut file = format!("cluster: \"{}\"\n", valid.identity.uid());
    let numbers = json!({
        "timing": *valid.timing,
        "snapshots": *valid.snapshots,
        "limits": *valid.limits,
    });
    for limit in &LIMITS {
        let (key, number) = (limit.key(), &numbers[limit.block()][limit.key()]);
        file.push_str(&format!("{key}: {number}\n"));
    }
    let format = match valid.logging.format {
        LogFormat::Human => "human",
        LogFormat::Json => "json",
    };
    file.push_str(&format!(
        "drainTimeoutMs: {}\nlogFormat: {format}\nlogFilter: \"{}\"\n",
        drain_timeout_ms(valid),
        valid.logging.filter
    ));
    file
}

/// Requests under way may take a third of the grace period; the rest is for handing over and for closing files.
fn drain_timeout_ms(valid: &ValidRaftCluster) -> i64 {
    valid.pods.termination_grace_period_seconds * 1000 / 3
}
