//! The operator, as its documentation installs it.

use anyhow::Result;

use crate::cluster::{Cluster, run, xtask};

pub fn definitions_are_installed(cluster: &Cluster) -> Result<()> {
    cluster.kubectl(&["apply", "--server-side", "-f", &path("crds")])?;
    let definition = "crd/raftclusters.quorate.dev";
    let established = ["wait", "--for=condition=Established", definition];
    cluster.kubectl(&established).map(drop)
}

pub fn the_operator_is_installed(cluster: &Cluster) -> Result<()> {
    println!("{}", run(xtask(&["image", "--no-build"]))?);
    let manifest = path("examples/operator.yaml");
    let rollout = "deployment/quorate-operator";
    let inside =
        |arguments: &[&str]| cluster.kubectl(&[&["-n", "quorate-system"], arguments].concat());
    inside(&["apply", "-f", &manifest])?;
    inside(&["rollout", "status", rollout, "--timeout=60s"])?;
    Ok(())
}

/// A file of the repository.
pub fn path(name: &str) -> String {
    format!("{}/../{name}", env!("CARGO_MANIFEST_DIR"))
}
