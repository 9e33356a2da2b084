//! The image that users get.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::cluster::{Cluster, run, wait, xtask};

/// What a namespace that enforces `restricted` demands of a container, and more.
pub fn restricted() -> Value {
    json!({
        "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] },
    })
}

/// A pod of our image on one node. Its user is the image's own: kubelet refuses root.
fn of_our_image(name: &str, node: &str, command: &[&str]) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
        "spec": {
            "nodeName": node, "restartPolicy": "Never",
            "securityContext": { "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } },
            "containers": [{
                "name": "main", "image": "quorate.local/quorate:dev", "imagePullPolicy": "Never",
                "command": command, "securityContext": restricted(),
            }],
        },
    })
}

pub fn our_image_runs_on_every_node_and_has_no_shell(cluster: &Cluster) -> Result<()> {
    let cluster = &cluster.make("images")?;
    let said = run(xtask(&["image", "--no-build"]))?;
    println!("{said}");
    let mut words = said.split([' ', ',']);
    let digest = words
        .find(|word| word.starts_with("sha256:"))
        .context("a digest")?;
    let nodes = ["node1", "node2", "node3"];
    let name = |node: &str| format!("version-{node}");
    for node in nodes {
        let version = ["quorate-raft-cluster", "--version"];
        cluster.apply(&of_our_image(&name(node), node, &version))?;
    }
    cluster.apply(&of_our_image("shell", "node1", &["sh"]))?;
    for name in nodes.map(name) {
        let pod = wait(&format!("{name} has ended"), || {
            let pod = cluster.get(&["pod", &name])?;
            Ok((pod["status"]["phase"] == "Succeeded").then_some(pod))
        })?;
        let status = &pod["status"]["containerStatuses"][0];
        ensure!(status["imageID"] == digest, "{status}");
        let said = cluster.kubectl(&["logs", &name])?;
        ensure!(said.contains(env!("CARGO_PKG_VERSION")), "{said}");
    }
    wait("there is no shell", || {
        let pod = cluster.get(&["pod", "shell"])?;
        let said = pod["status"]["containerStatuses"][0]["state"].to_string();
        Ok(said.contains("executable file not found").then_some(()))
    })
}
