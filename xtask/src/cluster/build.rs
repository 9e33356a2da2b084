//! The Go parts, built once: a folder of binaries per module, named by what it is made of.

use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use super::place::Place;
use crate::tool;

const KUBERNETES: &str = "v1.34.4";

/// A Go module in xtask/modules, and what to build from it: the binary's name and its package.
struct Module {
    name: &'static str,
    binaries: &'static [(&'static str, &'static str)],
}

const MODULES: [Module; 4] = [
    Module {
        name: "pause",
        binaries: &[("pause", ".")],
    },
    Module {
        name: "etcd",
        binaries: &[
            ("etcd", "go.etcd.io/etcd/server/v3"),
            ("etcdctl", "go.etcd.io/etcd/etcdctl/v3"),
        ],
    },
    Module {
        name: "kubernetes",
        binaries: &[
            ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
            (
                "kube-controller-manager",
                "k8s.io/kubernetes/cmd/kube-controller-manager",
            ),
            ("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
            ("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
            ("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
            ("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
        ],
    },
    Module {
        name: "coredns",
        binaries: &[("coredns", "github.com/coredns/coredns")],
    },
];

/// The built binaries.
#[derive(Debug)]
pub struct Binaries(Vec<PathBuf>);

impl Binaries {
    /// Those that are there; `None` when something is still to be built.
    pub fn found(root: &Path, place: &Place) -> Result<Option<Self>> {
        let mut folders = Vec::new();
        for module in &MODULES {
            let folder = module.folder(root, place)?;
            if !module
                .binaries
                .iter()
                .all(|(name, _)| folder.join(name).exists())
            {
                return Ok(None);
            }
            folders.push(folder);
        }
        Ok(Some(Self(folders)))
    }

    /// Builds what is missing, and then removes what older sources gave.
    pub fn build(root: &Path, place: &Place) -> Result<Self> {
        let mut folders = Vec::new();
        for module in &MODULES {
            let folder = module.folder(root, place)?;
            for (name, package) in module.binaries {
                if !folder.join(name).exists() {
                    module.build(root, &folder, name, package)?;
                }
            }
            folders.push(folder);
        }
        for entry in std::fs::read_dir(place.built())? {
            let path = entry?.path();
            if !folders.contains(&path) {
                std::fs::remove_dir_all(path)?;
            }
        }
        Ok(Self(folders))
    }

    /// Where a binary lies.
    pub fn path(&self, name: &str) -> Result<PathBuf> {
        let mut paths = self.0.iter().map(|folder| folder.join(name));
        paths
            .find(|path| path.exists())
            .with_context(|| format!("{name} is not built"))
    }
}

impl Module {
    fn folder(&self, root: &Path, place: &Place) -> Result<PathBuf> {
        let module = self.source(root);
        let mut hash = Sha256::new();
        for file in ["go.mod", "go.sum", "main.go"] {
            // Not every module has all three.
            if let Ok(content) = std::fs::read(module.join(file)) {
                hash.update((content.len() as u64).to_le_bytes());
                hash.update(content);
            }
        }
        hash.update(link_flags());
        hash.update(tool::run("go", &["version"]).context("please install Go 1.26")?);
        let key: String = hash.finalize()[..6]
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        Ok(place.built().join(format!("{}-{key}", self.name)))
    }

    fn source(&self, root: &Path) -> PathBuf {
        root.join("xtask/modules").join(self.name)
    }

    /// `go build -v` names each package that it compiles: counting them is the progress shown.
    fn build(&self, root: &Path, folder: &Path, name: &str, package: &str) -> Result<()> {
        std::fs::create_dir_all(folder)?;
        let new = folder.join(format!("{name}.new"));
        let mut progress = Progress::new(name);
        let mut go = Command::new("go")
            .current_dir(self.source(root))
            .env("CGO_ENABLED", "0")
            .args([
                "build",
                "-v",
                "-mod=readonly",
                "-trimpath",
                "-buildvcs=false",
            ])
            .args(["-ldflags", &link_flags(), "-o"])
            .arg(&new)
            .arg(package)
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run go: please install Go 1.26")?;
        let mut other = String::new();
        for line in BufReader::new(go.stderr.take().context("its output")?).lines() {
            let line = line?;
            // A package is one word; anything else is an error, or a download.
            if line.contains(' ') || line.starts_with('#') {
                other += &format!("{line}\n");
            } else {
                progress.step()?;
            }
        }
        let status = go.wait()?;
        ensure!(status.success(), "cannot build {name} ({status}):\n{other}");
        progress.done()?;
        // By rename: what has its name is whole.
        std::fs::rename(new, folder.join(name))?;
        Ok(())
    }
}

/// Without the version stamps a node would report v0.0.0.
fn link_flags() -> String {
    let (major, minor) = ("1", "34");
    let mut flags = "-s -w".to_owned();
    for package in [
        "k8s.io/component-base/version",
        "k8s.io/client-go/pkg/version",
    ] {
        flags += &format!(
            " -X {package}.gitVersion={KUBERNETES} -X {package}.gitMajor={major} -X {package}.gitMinor={minor} -X {package}.gitTreeState=clean"
        );
    }
    flags
}

/// One line that grows on a terminal; elsewhere one every half minute.
struct Progress<'a> {
    name: &'a str,
    packages: usize,
    begun: Instant,
    said: Instant,
    every: Duration,
}

impl<'a> Progress<'a> {
    fn new(name: &'a str) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let now = Instant::now();
        Self {
            name,
            packages: 0,
            begun: now,
            said: now,
            every: Duration::from_millis(if terminal { 200 } else { 30_000 }),
        }
    }

    fn step(&mut self) -> Result<()> {
        self.packages += 1;
        if self.said.elapsed() >= self.every {
            self.said = Instant::now();
            self.say()?;
        }
        Ok(())
    }

    fn done(&self) -> Result<()> {
        self.say()?;
        if std::io::stderr().is_terminal() {
            writeln!(std::io::stderr())?;
        }
        Ok(())
    }

    fn say(&self) -> Result<()> {
        let mut out = std::io::stderr();
        let (before, after) = if out.is_terminal() {
            ("\r", "")
        } else {
            ("", "\n")
        };
        let seconds = self.begun.elapsed().as_secs();
        let Self { name, packages, .. } = self;
        write!(
            out,
            "{before}building {name}: {packages} packages, {seconds} s{after}"
        )?;
        Ok(out.flush()?)
    }
}
