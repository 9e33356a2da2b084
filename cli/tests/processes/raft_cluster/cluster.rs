//! A cluster with clients on it, and the windows in which faults are measured.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use quorate_world::{ClientOptions, Expect, Forgetful, Load, Member, Up, soaks};
use tempfile::TempDir;

/// The name of the resource's kind on the command line.
pub const KIND: &str = "raftclusters";
/// How long anything may take before it counts as hanging.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// How long a fault lasts in the soak.
const LASTS: Duration = Duration::from_secs(10);
/// So many writes are to be acknowledged in it: clients that ask whoever does not answer wait for most of it.
const WHILE_A_FAULT_LASTS: usize = 25;
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// One run of one test.
pub struct Cluster {
    pub up: Up,
    pub name: String,
    load: Arc<Load>,
    folder: TempDir,
    _turn: MutexGuard<'static, ()>,
}

/// What the resource says.
#[derive(Clone, Debug)]
pub struct Spec {
    pub members: u32,
    pub image: Option<String>,
    pub version: Option<String>,
    /// Of each volume.
    pub size: Option<&'static str>,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            members: 3,
            image: None,
            version: None,
            size: None,
        }
    }
}

pub fn quorate() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_quorate"))
}

/// Held by the one test that runs.
pub fn turn() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A member binary that `cargo xtask variants` built.
pub fn variant(name: &str) -> PathBuf {
    let path = quorate()
        .with_file_name("variants")
        .join(name)
        .join("quorate-raft-cluster");
    assert!(
        path.exists(),
        "{} is missing: run `cargo xtask variants`",
        path.display()
    );
    path
}

impl Cluster {
    /// Starts `quorate up` on a new folder, waits until it is Ready, and lets clients loose on it.
    pub fn start(name: &str, spec: &Spec, arguments: &[&str]) -> Result<Self> {
        let (turn, folder) = (turn(), tempfile::tempdir()?);
        Self::start_in(name, spec, arguments, folder, turn)
    }

    /// The same, with a disk of our own beneath the volumes, of so many bytes for all of them.
    pub fn start_on_disk(
        name: &str,
        spec: &Spec,
        arguments: &[&str],
        capacity: u64,
    ) -> Result<(Self, Forgetful)> {
        let (turn, folder) = (turn(), tempfile::tempdir()?);
        let disk = Forgetful::mount(&folder.path().join("state/volumes"), capacity)?;
        let cluster = Self::start_in(name, spec, arguments, folder, turn)?;
        Ok((cluster, disk))
    }

    fn start_in(
        name: &str,
        spec: &Spec,
        arguments: &[&str],
        folder: TempDir,
        turn: MutexGuard<'static, ()>,
    ) -> Result<Self> {
        let member = quorate().with_file_name("quorate-raft-cluster");
        ensure!(
            member.exists(),
            "{} is missing: run `cargo build --release --workspace`",
            member.display()
        );
        let resource = folder.path().join("resource.yaml");
        std::fs::write(&resource, manifest(name, spec))?;
        let resource = resource.to_str().context("a path in UTF-8")?.to_owned();
        let mut all = vec!["-f", &resource];
        all.extend(arguments);
        let started = Instant::now();
        let up = Up::start(&quorate(), &folder.path().join("state"), &all)?;
        up.wait_ready(KIND, name, DEADLINE)?;
        println!(
            "{name}: Ready after {:.1} s",
            started.elapsed().as_secs_f64()
        );
        let endpoints = up.endpoints(KIND, name)?;
        ensure!(
            endpoints.len() == spec.members as usize,
            "endpoints: {endpoints:?}"
        );
        let load = Arc::new(Load::start(name, endpoints, ClientOptions::default())?);
        let cluster = Self {
            up,
            name: name.to_owned(),
            load,
            folder,
            _turn: turn,
        };
        cluster.refresh_endpoints()?;
        Ok(cluster)
    }

    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub fn refresh_endpoints(&self) -> Result<()> {
        self.load
            .set_endpoints(self.up.endpoints(KIND, &self.name)?);
        Ok(())
    }

    pub fn leader(&self) -> Result<Member> {
        self.up.leader(KIND, &self.name, DEADLINE)
    }

    pub fn members(&self) -> Result<BTreeMap<String, Member>> {
        Ok(self
            .up
            .members()?
            .into_iter()
            .map(|m| (m.name.clone(), m))
            .collect())
    }

    pub fn follower(&self) -> Result<Member> {
        let leader = self.leader()?;
        self.members()?
            .into_values()
            .find(|m| m.name != leader.name)
            .context("a follower")
    }

    pub fn addresses_but(&self, member: &Member) -> Result<Vec<IpAddr>> {
        Ok(self
            .members()?
            .into_values()
            .filter(|m| m.name != member.name)
            .map(|m| m.address)
            .collect())
    }

    /// Waits until processes have ended (a zombie has: its files are closed).
    pub fn wait_gone(&self, pids: &[i32]) -> Result<()> {
        self.up.wait("the killed members are gone", DEADLINE, || {
            Ok(pids.iter().all(
                |pid| match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
                    Ok(stat) => stat
                        .rsplit_once(") ")
                        .is_some_and(|(_, rest)| rest.starts_with('Z')),
                    Err(_) => true,
                },
            ))
        })
    }

    /// Waits until every one of these has a new process: before that the status may speak of the old ones.
    pub fn wait_restarted(&self, old: &[Member]) -> Result<()> {
        self.up.wait("new processes", DEADLINE, || {
            let now = self.members()?;
            Ok(old
                .iter()
                .all(|old| now.get(&old.name).is_some_and(|new| new.pid != old.pid)))
        })
    }

    pub fn apply(&self, spec: &Spec) -> Result<()> {
        let file = self.folder.path().join("edited.yaml");
        std::fs::write(&file, manifest(&self.name, spec))?;
        self.up
            .run(&["apply", "-f", file.to_str().context("a path in UTF-8")?])?;
        Ok(())
    }

    pub fn wait_ready(&self, deadline: Duration) -> Result<()> {
        self.up.wait_ready(KIND, &self.name, deadline)
    }

    /// How often a member was started again.
    pub fn restarts(&self, member: &str) -> Result<i64> {
        let pod = self.up.get("pods", member)?;
        let count = &pod["status"]["containerStatuses"][0]["restartCount"];
        Ok(count.as_i64().unwrap_or(0))
    }

    /// Waits until clients are served while a fault lasts; in the soak that is ten seconds at least.
    pub fn wait_served(&self) -> Result<()> {
        if soaks() {
            std::thread::sleep(LASTS);
        }
        self.load.wait_acknowledged(WHILE_A_FAULT_LASTS)
    }

    /// One fault in which the group serves on, see [`Load::window`]: `inject` returns when it is over and repaired.
    pub fn window(
        &mut self,
        fault: &str,
        inject: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        self.measured(fault, Expect::Service, inject)
    }

    /// The same for a total outage, in which nothing can be acknowledged.
    pub fn outage(
        &mut self,
        fault: &str,
        inject: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        self.measured(fault, Expect::Outage, inject)
    }

    fn measured(
        &mut self,
        fault: &str,
        expect: Expect,
        inject: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        let load = Arc::clone(&self.load);
        load.window(fault, expect, || inject(self)).map(drop)
    }

    /// Ends the run after `result`; after a failure the members end at once, as they hold files of a disk that is
    /// unmounted when this returns.
    pub fn finish_after(self, result: Result<()>) -> Result<()> {
        result.and_then(|()| self.finish())
    }

    /// Ends the run, see [`Load::finish`].
    pub fn finish(self) -> Result<()> {
        self.wait_ready(DEADLINE)?;
        let endpoints = self.up.endpoints(KIND, &self.name)?;
        let load = Arc::into_inner(self.load).context("a window is still open")?;
        load.finish(&endpoints)
    }
}

pub fn manifest(name: &str, spec: &Spec) -> String {
    let mut text = format!(
        "apiVersion: quorate.dev/v1alpha1\nkind: RaftCluster\nmetadata:\n  name: {name}\n  namespace: default\nspec:\n  members: {}\n",
        spec.members
    );
    if let Some(image) = &spec.image {
        text += &format!("  image: {image}\n");
    }
    if let Some(version) = &spec.version {
        text += &format!("  version: \"{version}\"\n");
    }
    if let Some(size) = spec.size {
        text += &format!("  storage:\n    size: {size}\n");
    }
    text
}
