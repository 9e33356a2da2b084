//! The cluster of `cargo xtask cluster`, and kubectl on it.

use std::fs::File;
use std::io::Write;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use http::Method;
use serde_json::Value;

use crate::objects::{self, Objects};

/// Against hangs; what is waited for takes a fraction of it.
const DEADLINE: Duration = Duration::from_secs(90);

/// Short enough that nobody waits for it, and four times what a kubelet on a busy machine needs.
const NODE_GRACE: &str = "8";

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

/// kubectl in a namespace of the running cluster.
#[derive(Clone)]
pub struct Cluster {
    pub kubeconfig: PathBuf,
    kubectl: PathBuf,
    pub namespace: String,
    objects: Objects,
}

/// A cluster that is taken down when this is dropped, unless it is not ours.
pub struct Running(Cluster);

impl Deref for Running {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if foreign().is_some() {
            return;
        }
        if let Err(error) = run(cluster(&["down"])) {
            eprintln!("the cluster may still be there: {error:#}");
        }
    }
}

impl Running {
    /// Starts one, or takes the one that KUBECONFIG names, with nothing of ours on it.
    pub fn up() -> Result<Self> {
        let it = match foreign() {
            None => Self::start()?,
            Some(_) => {
                let kubeconfig = std::env::var_os("KUBECONFIG");
                let kubeconfig =
                    kubeconfig.with_context(|| format!("{LOAD} is set, KUBECONFIG is not"))?;
                Self(Cluster::at(kubeconfig.into(), "kubectl".into())?)
            }
        };
        // Before anything is put there: all of it is taken away in the end.
        let kinds = it.kubectl(&["api-resources", "-o", "name"])?;
        let has_quorate = kinds.contains("raftclusters.quorate.dev");
        ensure!(!has_quorate, "that cluster has RaftClusters: take another");
        Ok(it)
    }

    fn start() -> Result<Self> {
        let said = run(cluster(&["up", "--node-grace", NODE_GRACE]))?;
        let value = |before: &str, after: &str| -> Result<PathBuf> {
            let line = said.lines().find_map(|line| line.strip_prefix(before));
            let value = line.and_then(|line| line.strip_suffix(after));
            Ok(value
                .with_context(|| format!("no {before} in {said}"))?
                .into())
        };
        println!("{said}");
        let kubectl = value("export PATH=", ":$PATH")?.join("kubectl");
        Ok(Self(Cluster::at(
            value("export KUBECONFIG=", "")?,
            kubectl,
        )?))
    }
}

impl Cluster {
    fn at(kubeconfig: PathBuf, kubectl: PathBuf) -> Result<Self> {
        Ok(Self {
            objects: Objects::new(&kubeconfig)?,
            kubeconfig,
            kubectl,
            namespace: "default".into(),
        })
    }

    pub fn within(&self, namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            ..self.clone()
        }
    }

    /// A namespace of a scenario's own, in which pods have no more rights than they need.
    pub fn make(&self, namespace: &str) -> Result<Self> {
        self.kubectl(&["create", "namespace", namespace])?;
        let restricted = "pod-security.kubernetes.io/enforce=restricted";
        self.kubectl(&["label", "namespace", namespace, restricted])?;
        let made = self.within(namespace);
        // Pods are refused before it is there.
        wait(&format!("the service account of {namespace}"), || {
            made.get(&["serviceaccount", "default"]).map(Some)
        })?;
        Ok(made)
    }

    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        run(self.command(arguments))
    }

    pub fn get(&self, what: &[&str]) -> Result<Value> {
        self.objects.get(&self.namespace, what)
    }

    /// What there is of these kinds with this label.
    pub fn items(&self, kinds: &[&str], selector: &str) -> Result<Value> {
        self.objects.items(&self.namespace, kinds, selector)
    }

    pub fn apply(&self, objects: &Value) -> Result<()> {
        self.apply_text(&objects.to_string())
    }

    /// Of a file, or of what was made of one.
    pub fn apply_text(&self, objects: &str) -> Result<()> {
        let mut command = self.command(&["apply", "-f", "-"]);
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.spawn()?;
        let mut input = child.stdin.take().context("its input")?;
        input.write_all(objects.as_bytes())?;
        drop(input);
        ensure!(child.wait()?.success(), "not applied: {objects}");
        Ok(())
    }

    /// What the API server has against this object of a kind, made or put in the place of the one of this name; none when
    /// it takes it.
    pub fn refusal(
        &self,
        kind: &str,
        instead_of: Option<&str>,
        dry: bool,
        object: &Value,
    ) -> Result<Option<String>> {
        let mut path = objects::path(&self.namespace, kind)?;
        let method = match instead_of {
            Some(name) => {
                path += &format!("/{name}");
                Method::PUT
            }
            None => Method::POST,
        };
        path += "?fieldValidation=Strict";
        if dry {
            path += "&dryRun=All";
        }
        self.objects.refusal(method, &path, object)
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
            .args(["-n", &self.namespace])
            .args(arguments);
        command
    }

    /// Where the cluster keeps its state.
    pub fn state(&self) -> Result<&Path> {
        self.kubeconfig.parent().context("a folder")
    }

    pub fn audit_log(&self) -> Result<PathBuf> {
        Ok(self.state()?.join("audit.log"))
    }

    /// Waits until the kubelet, or the controller of nodes in its place, says so of a pod.
    pub fn wait_pod(&self, pod: &str, ready: &str) -> Result<()> {
        self.wait_condition("pod", pod, ready)
    }

    pub fn wait_node(&self, node: &str, ready: &str) -> Result<()> {
        self.wait_condition("node", node, ready)
    }

    fn wait_condition(&self, kind: &str, name: &str, ready: &str) -> Result<()> {
        wait(&format!("{name} is Ready={ready}"), || {
            let object = self.get(&[kind, name])?;
            let conditions = object["status"]["conditions"].as_array();
            let found = conditions
                .into_iter()
                .flatten()
                .any(|condition| condition["type"] == "Ready" && condition["status"] == ready);
            Ok(found.then_some(()))
        })
    }
}
