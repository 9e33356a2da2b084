//! A node: a network namespace and a mount namespace, and in them containerd, kubelet and a service proxy. It sees
//! folders of its own in /run, /var/lib and /var/log, so the usual paths serve, and its mounts end with it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::process::Pid;
use serde_json::{Value, json};

use super::addresses::{HOST, Node};
use super::build::Binaries;
use super::cgroups;
use super::control::Options;
use super::network;
use super::place::{Place, write};
use super::process;
use crate::image::{File, Image};
use crate::tool;

/// Where Debian's containernetworking-plugins lie.
const PLUGINS: &str = "/usr/lib/cni";

/// What every sandbox is made from.
const PAUSE: &str = "quorate.local/pause:1";

/// Private first, so that nothing of this reaches the host; then shared, as kubelet wants it.
const ENTER: &str = r#"
mount --make-rshared /
mount --bind "$1/run" /run
mount --bind "$1/lib" /var/lib
mount --bind "$1/log" /var/log
shift
exec "$@"
"#;

/// Starts a node's containerd, in a mount namespace of its own; the others enter the same by its process.
pub fn start_runtime(place: &Place, node: Node, options: &Options) -> Result<Pid> {
    let folder = place.node(node);
    for name in ["run", "lib", "log"] {
        std::fs::create_dir_all(folder.join(name))?;
    }
    cgroups::make(node)?;
    plugins(&folder, options)?;
    let plugin = plugin_name(options)?;
    write(
        &folder.join("cni/10-pods.conflist"),
        cni(node, plugin).to_string(),
    )?;
    let config = folder.join("containerd.toml");
    write(&config, containerd(&folder))?;
    let (folder, config) = (folder.display().to_string(), config.display().to_string());
    let net = format!("--net={}", network::namespace(node).display());
    let line = [
        &net,
        "unshare",
        "--mount",
        "--propagation=private",
        "sh",
        "-ec",
        ENTER,
        "sh",
        &folder,
        "containerd",
        "--config",
        &config,
    ];
    start(place, node, "containerd", &line)
}

/// Waits for containerd and gives it the pause image.
pub fn load_pause(place: &Place, node: Node) -> Result<()> {
    let socket = place.containerd(node);
    process::wait(&format!("containerd of {node}"), 20, || Ok(socket.exists()))?;
    load(place, node, &pause_archive(place))
}

/// Makes the pause image.
pub fn write_pause(place: &Place, binaries: &Binaries) -> Result<()> {
    let program = File {
        path: "/pause".into(),
        mode: 0o755,
        content: std::fs::read(binaries.path("pause")?)?,
    };
    let image = Image {
        name: PAUSE.into(),
        entrypoint: vec!["/pause".into()],
        layers: vec![vec![program]],
        ..Image::default()
    };
    write(&pause_archive(place), image.archive()?.0)
}

fn pause_archive(place: &Place) -> PathBuf {
    place.state().join("pause.tar")
}

/// Loads an image's archive into a node.
pub fn load(place: &Place, node: Node, archive: &Path) -> Result<()> {
    let socket = place.containerd(node).display().to_string();
    let archive = archive.display().to_string();
    let line = ["-a", &socket, "-n", "k8s.io", "images", "import", &archive];
    tool::run("ctr", &line).with_context(|| {
        format!("{node} takes no image; if it was killed: `cargo xtask cluster restore {node}`")
    })?;
    Ok(())
}

/// Starts its kubelet and service proxy.
pub fn start_rest(
    place: &Place,
    node: Node,
    runtime: Pid,
    binaries: &Binaries,
    options: &Options,
) -> Result<()> {
    let folder = place.node(node);
    let config = folder.join("kubelet.json");
    write(
        &config,
        kubelet(place, node, options.node_grace).to_string(),
    )?;
    write(&folder.join("resolv.conf"), "")?;
    let net = format!("--net={}", network::namespace(node).display());
    let mount = format!("--mount=/proc/{}/ns/mnt", runtime.as_raw_nonzero());
    let kubeconfig = format!(
        "--kubeconfig={}",
        place.kubeconfig(&node.to_string()).display()
    );
    let name = format!("--hostname-override={node}");
    let program = binaries.path("kubelet")?.display().to_string();
    let line = [
        &net,
        &mount,
        &program,
        &format!("--config={}", config.display()),
        &kubeconfig,
        &name,
        &format!("--node-ip={}", node.address()),
        &format!("--node-labels=topology.kubernetes.io/zone={}", node.zone()),
    ];
    start(place, node, "kubelet", &line.map(String::as_str))?;

    let kubeconfig = format!("--kubeconfig={}", place.kubeconfig("proxy").display());
    let own = match &options.service_proxy {
        Some(program) => program.display().to_string(),
        None => binaries.path("kube-proxy")?.display().to_string(),
    };
    let mut line = vec![net.as_str(), &mount, &own, &kubeconfig, &name];
    if options.service_proxy.is_none() {
        // The limits of connection tracking belong to the host.
        let ours = [
            "--proxy-mode=iptables",
            "--conntrack-max-per-core=0",
            "--conntrack-min=0",
        ];
        line.extend(ours);
    }
    start(place, node, "proxy", &line)?;
    Ok(())
}

fn start(place: &Place, node: Node, part: &str, line: &[&str]) -> Result<Pid> {
    let line: Vec<String> = line.iter().map(|s| (*s).to_owned()).collect();
    process::start(
        place,
        &format!("{node}/{part}"),
        Path::new("nsenter"),
        &line,
    )
}

/// Ends everything that runs on a node, at once.
pub fn kill(place: &Place, node: Node) -> Result<()> {
    let prefix = format!("{node}/");
    process::kill_all(|| {
        let mut pids = cgroups::processes(node)?;
        let running = process::running(place)?.into_iter();
        pids.extend(
            running
                .filter(|p| p.part.starts_with(&prefix))
                .map(|p| p.pid),
        );
        Ok(pids)
    })
}

/// Forgets what a reboot forgets: /run with its sockets, containers and addresses.
pub fn forget(place: &Place, node: Node) -> Result<()> {
    std::fs::remove_dir_all(place.node(node).join("run")).context("cannot empty /run")
}

/// A folder with Debian's plugins and the replaced one: containerd looks into one only.
fn plugins(folder: &Path, options: &Options) -> Result<()> {
    let bin = folder.join("cni-bin");
    if bin.exists() {
        return Ok(());
    }
    std::fs::create_dir_all(&bin)?;
    for entry in std::fs::read_dir(PLUGINS)? {
        let entry = entry?;
        std::os::unix::fs::symlink(entry.path(), bin.join(entry.file_name()))?;
    }
    if let Some(program) = &options.cni {
        let link = bin.join(plugin_name(options)?);
        if link.exists() {
            std::fs::remove_file(&link)?;
        }
        std::os::unix::fs::symlink(program, link)?;
    }
    Ok(())
}

fn plugin_name(options: &Options) -> Result<&str> {
    let Some(program) = &options.cni else {
        return Ok("bridge");
    };
    let name = program.file_name().and_then(|name| name.to_str());
    name.with_context(|| format!("{} is no program's path", program.display()))
}

fn cni(node: Node, plugin: &str) -> Value {
    let mut pods = json!({
        "type": plugin,
        "ipam": {
            "type": "host-local",
            "dataDir": "/run/cni",
            "ranges": [[{"subnet": node.pods()}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    });
    if plugin == "bridge" {
        pods["bridge"] = json!("cni0");
        pods["isGateway"] = json!(true);
        pods["hairpinMode"] = json!(true);
    }
    json!({
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [pods, {"type": "portmap", "capabilities": {"portMappings": true}}],
    })
}

/// `restrict_oom_score_adj`: where root lacks CAP_SYS_RESOURCE every sandbox would die without it.
fn containerd(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        r#"version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{folder}/cni-bin"
  conf_dir = "{folder}/cni"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
"#
    )
}

fn kubelet(place: &Place, node: Node, node_grace: u8) -> Value {
    let file = |name: String| place.certificates().join(name);
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": node.address(),
        "authentication": {"x509": {"clientCAFile": file("ca.crt".into())}},
        "tlsCertFile": file(format!("{node}.crt")),
        "tlsPrivateKeyFile": file(format!("{node}.key")),
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", node.machine()),
        "clusterDNS": [HOST],
        "clusterDomain": "cluster.local",
        // An empty file: pods must not ask the host's own servers.
        "resolvConf": place.node(node).join("resolv.conf"),
        "failSwapOn": false,
        "healthzPort": 0,
        // So that its lease is renewed four times in the grace: kubelet does that four times in this duration.
        "nodeLeaseDurationSeconds": node_grace,
        "nodeStatusUpdateFrequency": format!("{}s", node_grace / 4),
        // A fifteenth of the default: so long it takes until a pod's files follow its Secret, and tests wait for it.
        "syncFrequency": "4s",
        // The disk is the whole machine's: its filling is nothing that a node could mend.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "memory.available": "50Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1%",
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_of_ones_own_gets_the_range_and_nothing_of_the_bridge() {
        let options = Options {
            cni: Some("/x/quorate-cni".into()),
            ..Options::default()
        };
        let plugin = plugin_name(&options).unwrap();
        let config = cni(Node::ALL[1], plugin);
        let pods = &config["plugins"][0];
        assert_eq!(pods["type"], "quorate-cni");
        assert_eq!(pods["ipam"]["ranges"][0][0]["subnet"], "198.18.2.0/24");
        assert!(pods.get("bridge").is_none());
    }

    #[test]
    fn the_bridge_is_a_gateway_and_masks_nothing() {
        let config = cni(Node::ALL[0], "bridge");
        assert_eq!(config["plugins"][0]["isGateway"], true);
        assert!(config["plugins"][0].get("ipMasq").is_none());
    }

    #[test]
    fn containerd_takes_images_of_ours_alone() {
        assert!(containerd(Path::new("/c")).contains("sandbox_image = \"quorate.local/pause:1\""));
    }
}
