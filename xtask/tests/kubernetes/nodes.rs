//! `cargo xtask cluster` as a user has it: a StatefulSet with volumes and our own image run on it, nodes are cut off
//! and killed, and nothing is left of it in the end, nor after a crash.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::cluster::{Cluster, cluster as controlled, run, skipped, turn, wait, xtask};

const NAMESPACE: &str = "quorate-test";
const DNS: (Ipv4Addr, u16) = (Ipv4Addr::new(198, 18, 255, 1), 53);

/// What `down` must leave as it found it.
#[derive(Debug, PartialEq)]
struct Machine {
    links: BTreeSet<PathBuf>,
    routes: String,
    rules: BTreeSet<String>,
    mounts: BTreeSet<String>,
    cgroups: BTreeSet<PathBuf>,
}

impl Machine {
    fn look() -> Result<Self> {
        let command = |program: &str, arguments: &[&str]| {
            let mut command = Command::new(program);
            command.args(arguments);
            run(command)
        };
        let inside = |folder: &Path| -> Result<BTreeSet<PathBuf>> {
            let entries = std::fs::read_dir(folder)?;
            Ok(entries.filter_map(|e| Some(e.ok()?.path())).collect())
        };
        let mut cgroups = BTreeSet::new();
        for hierarchy in inside(Path::new("/sys/fs/cgroup"))? {
            if hierarchy.is_dir() {
                cgroups.extend(inside(&hierarchy)?.into_iter().filter(|path| path.is_dir()));
            }
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
        let rules = command("iptables-save", &[])?;
        Ok(Self {
            links: inside(Path::new("/sys/class/net"))?,
            routes: command("ip", &["route", "show"])?,
            rules: rules
                .lines()
                .filter(|line| line.starts_with("-A"))
                .map(str::to_owned)
                .collect(),
            mounts: mounts
                .lines()
                .filter_map(|line| line.split(' ').nth(4))
                .map(str::to_owned)
                .collect(),
            cgroups,
        })
    }
}

#[derive(Debug)]
struct Pod {
    name: String,
    node: String,
    address: String,
    container: String,
}

/// The pods, once all three run.
fn three_pods(cluster: &Cluster) -> Result<Option<[Pod; 3]>> {
    let list = cluster.get(&["pods"])?;
    let pods = list["items"].as_array().context("items")?;
    let text = |value: &Value| Some(value.as_str()?.to_owned());
    let running = pods.iter().filter_map(|pod| {
        let container = &pod["status"]["containerStatuses"][0];
        (container["ready"] == true).then_some(())?;
        Some(Pod {
            name: text(&pod["metadata"]["name"])?,
            node: text(&pod["spec"]["nodeName"])?,
            address: text(&pod["status"]["podIP"])?,
            container: text(&container["containerID"])?,
        })
    });
    Ok(running.collect::<Vec<_>>().try_into().ok())
}

/// What a namespace that enforces `restricted` demands of a container, and more.
fn restricted() -> Value {
    json!({
        "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] },
    })
}

/// A StatefulSet that a `restricted` namespace admits: a pod in each zone, a volume for each.
fn objects() -> Value {
    let labels = json!({ "app": "web" });
    let pod = json!({
        "topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone",
            "whenUnsatisfiable": "DoNotSchedule", "labelSelector": { "matchLabels": labels },
        }],
        "securityContext": { "runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": { "type": "RuntimeDefault" } },
        "containers": [{
            "name": "pause", "image": "quorate.local/pause:1",
            "securityContext": restricted(),
            "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
        }],
    });
    let claim = json!({ "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } });
    json!({ "apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": { "name": NAMESPACE, "labels": { "pod-security.kubernetes.io/enforce": "restricted" } },
        },
        {
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web", "namespace": NAMESPACE },
            "spec": { "clusterIP": "None", "selector": labels, "ports": [{ "port": 80 }] },
        },
        {
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": { "name": "web", "namespace": NAMESPACE },
            "spec": {
                "serviceName": "web", "replicas": 3, "podManagementPolicy": "Parallel",
                "selector": { "matchLabels": labels },
                "template": { "metadata": { "labels": labels }, "spec": pod },
                "volumeClaimTemplates": [{ "metadata": { "name": "data" }, "spec": claim }],
            },
        },
    ]})
}

/// Asks the cluster's DNS for the address of a name.
fn resolve(name: &str) -> Result<Option<Ipv4Addr>> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    // RFC 1035, section 4.1: one question, recursion desired, type A, class IN.
    let mut question = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        question.push(u8::try_from(label.len())?);
        question.extend(label.bytes());
    }
    question.extend([0, 0, 1, 0, 1]);
    socket.send_to(&question, DNS)?;
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer)?;
    // The only answer ends with the address.
    let address: [u8; 4] = *answer[..length].last_chunk().context("an answer")?;
    Ok((answer[7] == 1).then_some(address.into()))
}

#[test]
fn a_cluster_runs_pods_survives_its_nodes_and_leaves_nothing_behind() -> Result<()> {
    let _turn = turn();
    if skipped("our cluster itself") {
        return Ok(());
    }
    let before = Machine::look()?;
    let folder = tempfile::tempdir()?;
    let cluster = Cluster::up(NAMESPACE)?;
    let state = cluster.state()?.to_owned();
    cluster.apply(folder.path(), &objects())?;
    let pods = pods_run_in_every_zone_and_have_names(&cluster)?;
    our_image_runs_on_every_node_and_has_no_shell(&cluster, folder.path())?;
    a_cut_node_keeps_its_containers(&cluster, &pods)?;
    a_killed_node_comes_back_with_its_pods(&cluster, &pods)?;
    a_volume_grows_and_goes_with_its_claim(&cluster, &state)?;
    the_audit_log_tells_who_wrote(&state)?;

    drop(cluster);
    nothing_is_left(&state, &before)?;
    what_was_killed_half_way_up_can_be_taken_down(&state)?;
    nothing_is_left(&state, &before)
}

fn pods_run_in_every_zone_and_have_names(cluster: &Cluster) -> Result<[Pod; 3]> {
    let pods = wait("three pods run", || three_pods(cluster))?;
    let nodes: BTreeSet<_> = pods.iter().map(|pod| pod.node.as_str()).collect();
    ensure!(nodes.len() == 3, "a pod in each zone: {pods:?}");
    for pod in &pods {
        let name = format!("{}.web.{NAMESPACE}.svc.cluster.local", pod.name);
        wait(&name, || {
            Ok(resolve(&name)?.filter(|address| address.to_string() == pod.address))
        })?;
    }
    Ok(pods)
}

/// A pod of our image on one node. Its user is the image's own: kubelet refuses root.
fn of_our_image(name: &str, node: &str, command: &[&str]) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "namespace": NAMESPACE },
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

fn our_image_runs_on_every_node_and_has_no_shell(cluster: &Cluster, folder: &Path) -> Result<()> {
    let said = run(xtask(&["image", "--no-build"]))?;
    println!("{said}");
    let mut words = said.split([' ', ',']);
    let digest = words
        .find(|word| word.starts_with("sha256:"))
        .context("a digest")?;
    for node in ["node1", "node2", "node3"] {
        let name = format!("version-{node}");
        let version = ["quorate-raft-cluster", "--version"];
        cluster.apply(folder, &of_our_image(&name, node, &version))?;
        let pod = wait(&format!("{name} has ended"), || {
            let pod = cluster.get(&["pod", &name])?;
            Ok((pod["status"]["phase"] == "Succeeded").then_some(pod))
        })?;
        let status = &pod["status"]["containerStatuses"][0];
        ensure!(status["imageID"] == digest, "{status}");
        let said = cluster.kubectl(&["logs", &name])?;
        ensure!(said.contains(env!("CARGO_PKG_VERSION")), "{said}");
    }
    cluster.apply(folder, &of_our_image("shell", "node1", &["sh"]))?;
    wait("there is no shell", || {
        let pod = cluster.get(&["pod", "shell"])?;
        let said = pod["status"]["containerStatuses"][0]["state"].to_string();
        Ok(said.contains("executable file not found").then_some(()))
    })
}

/// A cable pulled: the containers run on.
fn a_cut_node_keeps_its_containers(cluster: &Cluster, pods: &[Pod; 3]) -> Result<()> {
    run(controlled(&["cut", "node2"]))?;
    cluster.wait_node("node2", "Unknown")?;
    ensure!(run(controlled(&["status"]))?.contains("CUT off"));
    run(controlled(&["heal", "node2"]))?;
    cluster.wait_node("node2", "True")?;
    let healed = wait("all run again", || three_pods(cluster))?;
    for (old, new) in pods.iter().zip(&healed) {
        ensure!(old.container == new.container, "{old:?} {new:?}");
    }
    Ok(())
}

/// A power cut: another container, the same pod and volume.
fn a_killed_node_comes_back_with_its_pods(cluster: &Cluster, pods: &[Pod; 3]) -> Result<()> {
    run(controlled(&["kill", "node3"]))?;
    ensure!(run(controlled(&["status"]))?.contains("node3/kubelet is DEAD"));
    cluster.wait_node("node3", "Unknown")?;
    run(controlled(&["restore", "node3"]))?;
    cluster.wait_node("node3", "True")?;
    let twice = String::from_utf8(controlled(&["restore", "node3"]).output()?.stderr)?;
    ensure!(twice.contains("node3 runs"), "{twice}");
    wait("another container on node3 alone", || {
        Ok(three_pods(cluster)?.filter(|now| {
            now.iter().zip(pods).all(|(new, old)| {
                new.name == old.name && (new.container != old.container) == (new.node == "node3")
            })
        }))
    })?;
    Ok(())
}

fn a_volume_grows_and_goes_with_its_claim(cluster: &Cluster, state: &Path) -> Result<()> {
    let more = r#"{"spec":{"resources":{"requests":{"storage":"2Gi"}}}}"#;
    cluster.kubectl(&["patch", "pvc", "data-web-0", "-p", more])?;
    wait("the volume has grown", || {
        let claim = cluster.get(&["pvc", "data-web-0"])?;
        Ok((claim["status"]["capacity"]["storage"] == "2Gi").then_some(()))
    })?;
    cluster.kubectl(&["delete", "namespace", NAMESPACE])?;
    wait("no volume is left", || {
        let volumes = cluster.get(&["persistentvolumes"])?;
        let folders = std::fs::read_dir(state.join("volumes"))?.count();
        Ok((volumes["items"] == json!([]) && folders == 0).then_some(()))
    })
}

fn the_audit_log_tells_who_wrote(state: &Path) -> Result<()> {
    let audit = std::fs::read_to_string(state.join("audit.log"))?;
    let wrote = |line: &str| line.contains("statefulset-controller") && line.contains("\"create\"");
    ensure!(
        audit.lines().any(wrote),
        "the audit log must tell who wrote"
    );
    Ok(())
}

fn what_was_killed_half_way_up_can_be_taken_down(state: &Path) -> Result<()> {
    let mut half = controlled(&["up"]).stdout(Stdio::null()).spawn()?;
    let begun = wait("the first processes run", || {
        Ok(state.join("node3/containerd.toml").exists().then_some(()))
    });
    half.kill()?;
    half.wait()?;
    begun?;
    let refused = controlled(&["up"]).output()?;
    let said = String::from_utf8(refused.stderr)?;
    ensure!(
        !refused.status.success() && said.contains("cluster down"),
        "{said}"
    );
    run(controlled(&["down"]))?;
    Ok(())
}

fn nothing_is_left(state: &Path, before: &Machine) -> Result<()> {
    ensure!(!state.exists(), "{} is left", state.display());
    let now = Machine::look()?;
    ensure!(now == *before, "{now:#?} was {before:#?}");
    Ok(())
}
