//! The operator, as its documentation installs it.

use anyhow::{Context, Result};

use crate::cluster::{Cluster, foreign, load_image};

/// Where the operator runs.
pub const SYSTEM: &str = "quorate-system";

/// How much is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// What CI runs, with an operator that is succeeded soon.
    Fast,
    /// Everything, with the operator as it is shipped.
    Soak,
}

impl Tier {
    /// How often an operator is killed while something is under way.
    pub fn kills(self) -> usize {
        match self {
            Self::Fast => 1,
            Self::Soak => 3,
        }
    }

    /// Half of the shipped 8 where it is short: a busy machine keeps no operator from its lease for that long.
    fn lease_seconds(self) -> Option<&'static str> {
        (self == Self::Fast).then_some("4")
    }
}

pub fn definitions_are_installed(cluster: &Cluster) -> Result<()> {
    cluster.kubectl(&["apply", "--server-side", "-f", &path("crds")])?;
    let definition = "crd/raftclusters.quorate.dev";
    let established = ["wait", "--for=condition=Established", definition];
    cluster.kubectl(&established).map(drop)
}

pub fn the_operator_is_installed(cluster: &Cluster, tier: Tier) -> Result<()> {
    load_image(&[])?;
    let mut manifest = std::fs::read_to_string(path("examples/operator.yaml"))?;
    if let Some(seconds) = tier.lease_seconds() {
        let (before, after) = manifest.split_once("        env:\n").context("its env")?;
        let variable = format!("- name: QUORATE_LEASE_SECONDS\n          value: \"{seconds}\"");
        manifest = format!("{before}        env:\n        {variable}\n{after}");
    }
    let inside = cluster.within(SYSTEM);
    inside.apply_text(&manifest)?;
    let rollout = "deployment/quorate-operator";
    inside.kubectl(&["rollout", "status", rollout, "--timeout=60s"])?;
    Ok(())
}

/// The operator, the definitions and the namespaces: a cluster that is not ours is left as it was, and ours goes as a whole.
pub fn all_is_uninstalled(cluster: &Cluster, namespaces: &[&str]) -> Result<()> {
    if foreign().is_none() {
        return Ok(());
    }
    cluster.kubectl(&[&["delete", "namespace"], namespaces].concat())?;
    let [operator, definitions] = ["examples/operator.yaml", "crds"].map(path);
    cluster
        .within(SYSTEM)
        .kubectl(&["delete", "-f", &operator])?;
    cluster.kubectl(&["delete", "-f", &definitions]).map(drop)
}

/// A file of the repository.
pub fn path(name: &str) -> String {
    format!("{}/../{name}", env!("CARGO_MANIFEST_DIR"))
}
