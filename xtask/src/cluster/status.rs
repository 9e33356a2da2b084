//! What runs, asked of the kernel, and what Kubernetes says of its nodes.

use std::path::Path;

use anyhow::Result;

use super::addresses::Node;
use super::build::Binaries;
use super::place::Place;
use super::process::{self, Process};
use super::{Kubectl, network};
use crate::say::say;

const HOST: [&str; 6] = [
    "etcd",
    "apiserver",
    "controller-manager",
    "scheduler",
    "coredns",
    "provisioner",
];
const NODE: [&str; 3] = ["containerd", "kubelet", "proxy"];

/// Whether everything of a node runs.
pub fn is_whole(place: &Place, node: Node) -> Result<bool> {
    let running = process::running(place)?;
    let mut parts = NODE.map(|part| format!("{node}/{part}")).into_iter();
    Ok(parts.all(|part| runs(&running, &part)))
}

fn runs(running: &[Process], part: &str) -> bool {
    let mut ours = running.iter().filter(|process| process.part == part);
    ours.any(|process| !process.is_shim())
}

/// Shows it.
pub fn show(root: &Path, place: &Place) -> Result<()> {
    let Some(binaries) = Binaries::found(root, place)? else {
        return say("not built: `cargo xtask cluster up` builds and starts it");
    };
    let running = process::running(place)?;
    if running.is_empty() && !place.state().exists() {
        return say("down: `cargo xtask cluster up` starts it");
    }
    let runs = |part: &str| {
        let state = if runs(&running, part) {
            "runs"
        } else {
            "is DEAD"
        };
        format!("{part} {state}")
    };
    say(format!("host: {}", HOST.map(runs).join(", ")))?;
    for node in Node::ALL {
        let parts = NODE.map(|part| runs(&format!("{node}/{part}")));
        let cable = if network::is_plugged(node) {
            ""
        } else {
            ", CUT off"
        };
        say(format!("{node}: {}{cable}", parts.join(", ")))?;
    }
    say(format!("audit log: {}", place.audit_log().display()))?;
    let kubectl = Kubectl::new(place, &binaries)?;
    let nodes = kubectl.run(&["get", "nodes", "-L", "topology.kubernetes.io/zone"]);
    say(nodes
        .unwrap_or_else(|error| format!("the API server does not answer: {error:#}"))
        .trim_end())
}
