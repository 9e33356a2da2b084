//! The cables: a bridge in the host, a network namespace per node, and routes between their pods.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::addresses::{BRIDGE, HOST, Node, RANGE};
use crate::tool::run;

const NAMESPACES: &str = "/run/netns";

/// Lays them.
pub fn lay() -> Result<()> {
    // First: what has no address yet must not be looked for outside this machine.
    ip(&format!("route add unreachable {RANGE} metric 999"))?;
    ip(&format!("link add {BRIDGE} type bridge"))?;
    ip(&format!("address add {HOST}/24 dev {BRIDGE}"))?;
    ip(&format!("link set {BRIDGE} up"))?;
    for node in Node::ALL {
        lay_node(node)?;
    }
    Ok(())
}

fn lay_node(node: Node) -> Result<()> {
    let (machine, link) = (node.machine(), node.link());
    ip(&format!("netns add {machine}"))?;
    ip(&format!(
        "link add {link} type veth peer name eth0 netns {machine}"
    ))?;
    ip(&format!("link set {link} master {BRIDGE} up"))?;
    ip(&format!("-n {machine} link set lo up"))?;
    ip(&format!(
        "-n {machine} address add {}/24 dev eth0",
        node.address()
    ))?;
    ip(&format!("-n {machine} link set eth0 up"))?;
    ip(&format!("-n {machine} route add default via {HOST}"))?;
    for other in Node::ALL.into_iter().filter(|other| *other != node) {
        let (pods, via) = (other.pods(), other.address());
        ip(&format!("-n {machine} route add {pods} via {via}"))?;
    }
    ip(&format!("route add {} via {}", node.pods(), node.address()))?;
    let forward = "echo 1 > /proc/sys/net/ipv4/ip_forward";
    let net = format!("--net={}", namespace(node).display());
    run("nsenter", &[&net, "sh", "-c", forward])?;
    Ok(())
}

/// Takes away what is there of them, in whatever state it is.
pub fn remove() -> Result<()> {
    for node in Node::ALL {
        if is_link(&node.link()) {
            ip(&format!("link delete {}", node.link()))?;
        }
        if namespace(node).exists() {
            ip(&format!("netns delete {}", node.machine()))?;
        }
    }
    if is_link(BRIDGE) {
        ip(&format!("link delete {BRIDGE}"))?;
    }
    if !ip(&format!("route show type unreachable {RANGE}"))?.is_empty() {
        ip(&format!("route delete unreachable {RANGE} metric 999"))?;
    }
    // `ip netns add` mounts this folder; without a namespace in it nobody needs it.
    let folder = Path::new(NAMESPACES);
    if folder.exists() && folder.read_dir()?.next().is_none() {
        run("umount", &[NAMESPACES])?;
        std::fs::remove_dir(folder)?;
    }
    Ok(())
}

/// Plugs a node's cable in or out.
pub fn plug(node: Node, plugged: bool) -> Result<()> {
    let state = if plugged { "up" } else { "down" };
    ip(&format!("link set {} {state}", node.link()))?;
    Ok(())
}

/// Takes the links of a node's pods away: sockets of the dead can hold them, and would answer at an address that a new
/// pod is given.
pub fn forget_pods(node: Node) -> Result<()> {
    let machine = node.machine();
    let links = ip(&format!("-n {machine} -o link show type veth"))?;
    // As `7: veth1a2b@if2: <BROADCAST...`.
    let names = links.lines().filter_map(|line| line.split(": ").nth(1));
    let names = names.filter_map(|name| name.split('@').next());
    for name in names.filter(|name| *name != "eth0") {
        ip(&format!("-n {machine} link delete {name}"))?;
    }
    Ok(())
}

/// Whether a node's cable is plugged in.
pub fn is_plugged(node: Node) -> bool {
    let state = std::fs::read_to_string(format!("/sys/class/net/{}/operstate", node.link()));
    state.is_ok_and(|state| state.trim() == "up")
}

/// The file that stands for a node's network namespace.
pub fn namespace(node: Node) -> PathBuf {
    Path::new(NAMESPACES).join(node.machine())
}

fn is_link(name: &str) -> bool {
    Path::new("/sys/class/net").join(name).exists()
}

fn ip(arguments: &str) -> Result<String> {
    run("ip", &arguments.split(' ').collect::<Vec<_>>())
}
