//! The operator, as its documentation installs it.

use anyhow::Result;

use crate::cluster::{Cluster, foreign, load_image};

pub fn definitions_are_installed(cluster: &Cluster) -> Result<()> {
    cluster.kubectl(&["apply", "--server-side", "-f", &path("crds")])?;
    let definition = "crd/raftclusters.quorate.dev";
    let established = ["wait", "--for=condition=Established", definition];
    cluster.kubectl(&established).map(drop)
}

pub fn the_operator_is_installed(cluster: &Cluster) -> Result<()> {
    load_image(&[])?;
    let manifest = path("examples/operator.yaml");
    let rollout = "deployment/quorate-operator";
    let inside =
        |arguments: &[&str]| cluster.kubectl(&[&["-n", "quorate-system"], arguments].concat());
    inside(&["apply", "-f", &manifest])?;
    inside(&["rollout", "status", rollout, "--timeout=60s"])?;
    Ok(())
}

/// The claims that the policy kept, the operator and the definitions: a cluster that is not ours is left as it was, and
/// ours goes as a whole.
pub fn all_is_uninstalled(cluster: &Cluster) -> Result<()> {
    if foreign().is_none() {
        return Ok(());
    }
    let ours =
        "app.kubernetes.io/instance in (demo, denied, classless, secretless, garbled, secure)";
    cluster.kubectl(&["delete", "pvc", "-l", ours])?;
    // Where a node was drained it may have gone with the rest.
    cluster.kubectl(&["delete", "pod", "reader", "--ignore-not-found"])?;
    let free = "pod-security.kubernetes.io/enforce-";
    cluster.kubectl(&["label", "namespace", "default", free])?;
    let [operator, definitions] = ["examples/operator.yaml", "crds"].map(path);
    cluster.kubectl(&["-n", "quorate-system", "delete", "-f", &operator])?;
    cluster.kubectl(&["delete", "-f", &definitions]).map(drop)
}

/// A file of the repository.
pub fn path(name: &str) -> String {
    format!("{}/../{name}", env!("CARGO_MANIFEST_DIR"))
}
