//! `cargo xtask cluster`: a real Kubernetes of three nodes in three zones on this machine, from packages alone.

mod addresses;
mod build;
mod certificates;
mod cgroups;
mod control;
mod network;
mod node;
mod place;
pub mod process;
mod status;
mod volumes;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::Subcommand;

use addresses::Node;
use build::Binaries;
use control::Options;
use place::Place;

use crate::say::say;
use crate::tool;

/// What to do with the cluster.
#[derive(Debug, Subcommand)]
pub enum Cluster {
    /// Builds what is missing, starts the cluster and waits until its nodes are Ready.
    #[command(
        after_help = "Examples:\n  cargo xtask cluster up\n  cargo xtask cluster up --scheduler target/release/my-scheduler"
    )]
    Up(Options),
    /// Builds what is missing, and no more: `up` then takes seconds.
    #[command(after_help = "Example:\n  cargo xtask cluster build")]
    Build,
    /// Ends it and removes all that it left, also after a crash; only what was built stays.
    #[command(after_help = "Example:\n  cargo xtask cluster down")]
    Down,
    /// Shows what runs, and the nodes as Kubernetes sees them.
    #[command(after_help = "Example:\n  cargo xtask cluster status")]
    Status,
    /// Pulls a node's cable: it runs on, and nobody reaches it.
    #[command(after_help = "Example:\n  cargo xtask cluster cut node2")]
    Cut(OfNode),
    /// Plugs it in again.
    #[command(after_help = "Example:\n  cargo xtask cluster heal node2")]
    Heal(OfNode),
    /// Kills a node with everything on it, as a power cut does.
    #[command(after_help = "Example:\n  cargo xtask cluster kill node2")]
    Kill(OfNode),
    /// Starts a killed node again, as after a reboot.
    #[command(after_help = "Example:\n  cargo xtask cluster restore node2")]
    Restore(OfNode),
    /// The volume provisioner; `up` starts it.
    #[command(hide = true)]
    Provision(volumes::Provision),
}

/// Which node.
#[derive(Debug, clap::Args)]
pub struct OfNode {
    /// node1, node2 or node3.
    node: Node,
}

impl Cluster {
    /// Does it. The provisioner, which the cluster runs for itself, knows of no repository.
    pub fn run(&self, root: impl FnOnce() -> Result<PathBuf>) -> Result<()> {
        if let Self::Provision(provision) = self {
            return provision.run();
        }
        let root = &root()?;
        let place = Place::of_user()?;
        if let Self::Status = self {
            return status::show(root, &place);
        }
        if let Self::Build = self {
            let _lock = place.lock()?;
            return Binaries::build(root, &place).map(drop);
        }
        as_root()?;
        let _lock = place.lock()?;
        match self {
            Self::Up(options) => up(root, &place, options),
            Self::Down => down(&place),
            Self::Cut(of) => running(&place).and_then(|()| network::plug(of.node, false)),
            Self::Heal(of) => heal(&place, of.node),
            Self::Kill(of) => kill(&place, of.node),
            Self::Restore(of) => restore(root, &place, of.node),
            Self::Status | Self::Build | Self::Provision(_) => Ok(()),
        }
    }
}

/// The cluster that runs, for who has an image for it.
#[derive(Debug)]
pub struct Running(Place);

impl Running {
    /// Finds it.
    pub fn find() -> Result<Self> {
        as_root()?;
        let place = Place::of_user()?;
        running(&place)?;
        Ok(Self(place))
    }

    /// Loads an image's archive into every node.
    pub fn load(&self, archive: &Path) -> Result<()> {
        let _lock = self.0.lock()?;
        Node::ALL
            .into_iter()
            .try_for_each(|node| node::load(&self.0, node, archive))
    }
}

fn up(root: &Path, place: &Place, options: &Options) -> Result<()> {
    tools()?;
    let binaries = Binaries::build(root, place)?;
    if place.state().exists() || !process::running(place)?.is_empty() {
        bail!(
            "there is a cluster already, or what a crash left of one: `cargo xtask cluster down`"
        );
    }
    let begun = Instant::now();
    let options = options.keep(place)?;
    start(place, &binaries, &options).with_context(|| {
        let logs = place.state().join("logs");
        format!(
            "the cluster did not start: see {}, then `cargo xtask cluster down`",
            logs.display()
        )
    })?;
    say(format!(
        "three nodes are Ready after {:.1} s\n\nexport KUBECONFIG={}\nexport PATH={}:$PATH",
        begun.elapsed().as_secs_f64(),
        place.kubeconfig("admin").display(),
        binaries
            .path("kubectl")?
            .parent()
            .context("its folder")?
            .display(),
    ))
}

fn start(place: &Place, binaries: &Binaries, options: &Options) -> Result<()> {
    certificates::write_all(place)?;
    network::lay()?;
    control::start_api(place, binaries)?;
    node::write_pause(place, binaries)?;
    let mut runtimes = Vec::new();
    for node in Node::ALL {
        runtimes.push((node, node::start_runtime(place, node, options)?));
    }
    for node in Node::ALL {
        node::load_pause(place, node)?;
    }
    let kubectl = Kubectl::new(place, binaries)?;
    process::wait("the API server", 60, || {
        Ok(kubectl.run(&["get", "--raw", "/readyz"]).is_ok())
    })?;
    say("the API server is ready")?;
    kubectl.apply(&volumes::objects())?;
    control::start_rest(place, binaries, options)?;
    for (node, runtime) in runtimes {
        node::start_rest(place, node, runtime, binaries, options)?;
    }
    process::wait("the nodes", 60, || {
        Ok(kubectl.ready_nodes()? == Node::ALL.len())
    })?;
    process::wait("the default service account", 20, || {
        Ok(kubectl.run(&["get", "serviceaccount", "default"]).is_ok())
    })
}

/// Everything is killed, since nothing is kept; the order is that of who would start the next anew.
fn down(place: &Place) -> Result<()> {
    for node in Node::ALL {
        node::kill(place, node)?;
    }
    process::kill_all(|| {
        Ok(process::running(place)?
            .into_iter()
            .map(|p| p.pid)
            .collect())
    })?;
    for node in Node::ALL {
        cgroups::remove(node)?;
    }
    network::remove()?;
    if place.state().exists() {
        std::fs::remove_dir_all(place.state())?;
    }
    say("the cluster is down, and nothing of it is left but what was built")
}

fn heal(place: &Place, node: Node) -> Result<()> {
    running(place)?;
    ensure!(
        status::is_whole(place, node)?,
        "{node} is dead, not only cut off: `cargo xtask cluster restore {node}` starts it again"
    );
    network::plug(node, true)
}

fn kill(place: &Place, node: Node) -> Result<()> {
    running(place)?;
    // First the cable: a machine without power does not say goodbye.
    network::plug(node, false)?;
    node::kill(place, node)
}

fn restore(root: &Path, place: &Place, node: Node) -> Result<()> {
    running(place)?;
    let options = Options::kept(place)?;
    let binaries = Binaries::found(root, place)?
        .context("its binaries have gone: `cluster down`, then `up`")?;
    ensure!(
        !status::is_whole(place, node)?,
        "{node} runs: `cargo xtask cluster kill {node}` comes first, or `heal {node}` if it was cut off"
    );
    // Some of it may run, if it was not killed by us.
    node::kill(place, node)?;
    cgroups::remove(node)?;
    node::forget(place, node)?;
    network::forget_pods(node)?;
    network::plug(node, true)?;
    let runtime = node::start_runtime(place, node, &options)?;
    node::load_pause(place, node)?;
    node::start_rest(place, node, runtime, &binaries, &options)
}

fn as_root() -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "a cluster needs network namespaces and cgroups: please run this as root"
    );
    Ok(())
}

fn running(place: &Place) -> Result<()> {
    ensure!(
        place.state().exists(),
        "there is no cluster: `cargo xtask cluster up` starts one"
    );
    Ok(())
}

/// What must be installed: a program of each of Debian's packages.
fn tools() -> Result<()> {
    let needed = [
        ("/usr/bin/containerd", "containerd"),
        ("/usr/sbin/runc", "runc"),
        ("/usr/lib/cni/bridge", "containernetworking-plugins"),
        ("/usr/sbin/iptables", "iptables"),
        ("/usr/sbin/conntrack", "conntrack"),
        ("/usr/sbin/ipset", "ipset"),
        ("/usr/bin/socat", "socat"),
        ("/usr/bin/nsenter", "util-linux"),
    ];
    let missing = needed
        .iter()
        .filter(|(program, _)| !Path::new(program).exists());
    let missing: Vec<&str> = missing.map(|(_, package)| *package).collect();
    let list = missing.join(" ");
    ensure!(
        missing.is_empty(),
        "please install: apt-get install --no-install-recommends {list}"
    );
    Ok(())
}

/// kubectl as the cluster's administrator.
struct Kubectl {
    program: PathBuf,
    kubeconfig: String,
}

impl Kubectl {
    fn new(place: &Place, binaries: &Binaries) -> Result<Self> {
        let kubeconfig = place.kubeconfig("admin").display().to_string();
        Ok(Self {
            program: binaries.path("kubectl")?,
            kubeconfig,
        })
    }

    fn run(&self, arguments: &[&str]) -> Result<String> {
        tool::run(
            &self.program,
            &[&["--kubeconfig", &self.kubeconfig], arguments].concat(),
        )
    }

    fn apply(&self, objects: &serde_json::Value) -> Result<()> {
        let mut child = Command::new(&self.program)
            .args(["--kubeconfig", &self.kubeconfig, "create", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        child
            .stdin
            .take()
            .context("its input")?
            .write_all(objects.to_string().as_bytes())?;
        ensure!(
            child.wait()?.success(),
            "cannot create the cluster's own objects"
        );
        Ok(())
    }

    fn ready_nodes(&self) -> Result<usize> {
        let path = r#"{.items[*].status.conditions[?(@.type=="Ready")].status}"#;
        let text = self.run(&["get", "nodes", "-o", &format!("jsonpath={path}")])?;
        Ok(text
            .split_whitespace()
            .filter(|status| *status == "True")
            .count())
    }
}
