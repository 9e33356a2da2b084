//! The members' configuration file. What differs from pod to pod, and every path, comes by environment instead (see
//! `members`): the file is the same for all, and the embedded host can put the paths where it likes.

use k8s_openapi::api::core::v1::ConfigMap;
use quorate_api::LogFormat;
use sha2::{Digest, Sha256};

use crate::digest::short;
use crate::pool::Pool;

/// The file's name in the ConfigMap.
pub(super) const FILE: &str = "config.yaml";

/// One ConfigMap for all revisions: a member that restarts in the middle of a roll may read the new file early, which
/// is harmless, since any two valid files can serve in one group.
pub(super) fn config_map(pool: &Pool) -> ConfigMap {
    ConfigMap {
        metadata: pool.meta("-config"),
        data: Some([(FILE.to_owned(), yaml(pool))].into()),
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

fn yaml(pool: &Pool) -> String {
    let format = match pool.logging.format {
        LogFormat::Human => "human",
        LogFormat::Json => "json",
    };
    format!(
        "cluster: \"{}\"\n{}drainTimeoutMs: {}\nlogFormat: {format}\nlogFilter: \"{}\"\n",
        pool.identity.uid(),
        pool.program.config,
        drain_timeout_ms(pool),
        pool.logging.filter
    )
}

/// Requests under way may take a third of the grace period; the rest is for handing over and for closing files.
fn drain_timeout_ms(pool: &Pool) -> i64 {
    pool.pods.termination_grace_period_seconds * 1000 / 3
}
