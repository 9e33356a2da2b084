//! The cluster of `cargo xtask cluster`, and kubectl on it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::Value;

/// Against hangs; what is waited for takes a fraction of it.
const DEADLINE: Duration = Duration::from_secs(90);

/// How an image gets into the nodes of a cluster that is not ours: a command, which gets an archive.
const LOAD: &str = "QUORATE_LOAD";

/// One cluster fits on a machine.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Held by the one test that runs.
pub fn turn() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `cargo xtask` with these arguments.
pub fn xtask(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate-xtask"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// `cargo xtask cluster` with these.
pub fn cluster(arguments: &[&str]) -> Command {
    xtask(&[&["cluster"], arguments].concat())
}

pub fn run(mut command: Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output()?;
    let said = String::from_utf8(output.stdout)?;
    ensure!(output.status.success(), "{command:?}: {said}");
    Ok(said)
}

pub fn wait<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let begun = Instant::now();
    loop {
        let found = look();
        if let Ok(Some(found)) = found {
            println!("{what}: {:.1} s", begun.elapsed().as_secs_f64());
            return Ok(found);
        }
        if begun.elapsed() > DEADLINE {
            let why = found.err().map(|error| format!(": {error:#}"));
            bail!("not in time: {what}{}", why.unwrap_or_default());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Whether the cluster is not ours: what needs the machine of its nodes is left out there, by name.
pub fn skipped(step: &str) -> bool {
    let is_foreign = foreign().is_some();
    if is_foreign {
        println!("skipped on a cluster that is not ours: {step}");
    }
    is_foreign
}

/// How images get into the cluster that KUBECONFIG names; none, when the tests start one of their own: that variable alone
/// may stand in anybody's shell.
pub fn foreign() -> Option<String> {
    std::env::var(LOAD).ok().filter(|load| !load.is_empty())
}

/// Makes an image of the binaries that are built, and loads it into every node.
pub fn load_image(arguments: &[&str]) -> Result<()> {
    let make = [&["image", "--no-build"], arguments].concat();
    let Some(load) = foreign() else {
        println!("{}", run(xtask(&make))?);
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let archive = folder.path().join("image.tar");
    let archive = archive.to_str().context("a path in UTF-8")?;
    run(xtask(
        &[&make[..], &["--no-load", "--output", archive]].concat(),
    ))?;
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{load} \"$1\""), LOAD, archive]);
    run(shell).map(drop)
}

/// How our own clients reach the cluster that this file names.
pub async fn config(kubeconfig: &Path) -> Result<Config> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let options = KubeConfigOptions::default();
    Ok(Config::from_custom_kubeconfig(kubeconfig, &options).await?)
}

/// The running cluster; taken down when it is dropped, unless it is not ours.
pub struct Cluster {
    pub kubeconfig: PathBuf,
    kubectl: PathBuf,
    namespace: &'static str,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if foreign().is_some() {
            return;
        }
        if let Err(error) = run(cluster(&["down"])) {
            eprintln!("the cluster may still be there: {error:#}");
        }
    }
}

impl Cluster {
    /// Starts one, or takes the one that KUBECONFIG names; kubectl works in this namespace.
    pub fn up(namespace: &'static str) -> Result<Self> {
        if foreign().is_none() {
            return Self::up_with(namespace, &[]);
        }
        let kubeconfig = std::env::var_os("KUBECONFIG");
        let kubeconfig = kubeconfig.with_context(|| format!("{LOAD} is set, KUBECONFIG is not"))?;
        let it = Self {
            kubeconfig: kubeconfig.into(),
            kubectl: "kubectl".into(),
            namespace,
        };
        // Before anything is put there: all of it is taken away in the end.
        let kinds = it.kubectl(&["api-resources", "-o", "name"])?;
        let has_quorate = kinds.contains("raftclusters.quorate.dev");
        ensure!(!has_quorate, "that cluster has RaftClusters: take another");
        let labels = &it.get(&["namespace", namespace])?["metadata"]["labels"];
        let is_judged = labels.get("pod-security.kubernetes.io/enforce").is_some();
        ensure!(
            !is_judged,
            "namespace {namespace} enforces a profile: take another cluster"
        );
        Ok(it)
    }

    /// Starts one for simulated pods: nobody places pods, nothing runs on its nodes, and the CRDs are there.
    pub fn without_nodes() -> Result<Self> {
        let it = Self::up_with("default", &["--scheduler", "/bin/true"])?;
        for node in ["node1", "node2", "node3"] {
            run(cluster(&["kill", node]))?;
        }
        let crds = concat!(env!("CARGO_MANIFEST_DIR"), "/../crds");
        it.kubectl(&["apply", "--server-side", "-f", crds])?;
        it.kubectl(&["wait", "--for=condition=Established", "crd", "--all"])?;
        Ok(it)
    }

    fn up_with(namespace: &'static str, arguments: &[&str]) -> Result<Self> {
        let said = run(cluster(&[&["up"], arguments].concat()))?;
        let value = |before: &str, after: &str| -> Result<PathBuf> {
            let line = said.lines().find_map(|line| line.strip_prefix(before));
            let value = line.and_then(|line| line.strip_suffix(after));
            Ok(value
                .with_context(|| format!("no {before} in {said}"))?
                .into())
        };
        println!("{said}");
        Ok(Self {
            kubeconfig: value("export KUBECONFIG=", "")?,
            kubectl: value("export PATH=", ":$PATH")?.join("kubectl"),
            namespace,
        })
    }

    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        run(self.command(arguments))
    }

    pub fn get(&self, what: &[&str]) -> Result<Value> {
        let text = self.kubectl(&[&["get", "-o", "json"], what].concat())?;
        Ok(serde_json::from_str(&text)?)
    }

    pub fn apply(&self, folder: &Path, objects: &Value) -> Result<()> {
        let file = folder.join("objects.json");
        std::fs::write(&file, objects.to_string())?;
        self.kubectl(&["apply", "-f", file.to_str().context("a path in UTF-8")?])?;
        Ok(())
    }

    /// Why kubectl does not do this; empty when it does.
    pub fn refusal(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command(arguments).output()?;
        Ok(match output.status.success() {
            true => String::new(),
            false => String::from_utf8(output.stderr)?,
        })
    }

    /// kubectl that runs on, all that it says in this file.
    pub fn spawn(&self, arguments: &[&str], says: &Path) -> Result<Child> {
        let says = File::create(says)?;
        let mut command = self.command(arguments);
        command.stdin(Stdio::null()).stdout(says.try_clone()?);
        Ok(command.stderr(says).spawn()?)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.kubectl);
        command
            .env("KUBECONFIG", &self.kubeconfig)
            .args(["-n", self.namespace])
            .args(arguments);
        command
    }

    /// Where the cluster keeps its state.
    pub fn state(&self) -> Result<&Path> {
        self.kubeconfig.parent().context("a folder")
    }

    pub fn wait_node(&self, node: &str, ready: &str) -> Result<()> {
        wait(&format!("{node} is Ready={ready}"), || {
            let object = self.get(&["node", node])?;
            let mut conditions = object["status"]["conditions"].as_array().into_iter();
            let found = conditions
                .by_ref()
                .flatten()
                .any(|condition| condition["type"] == "Ready" && condition["status"] == ready);
            Ok(found.then_some(()))
        })
    }
}
