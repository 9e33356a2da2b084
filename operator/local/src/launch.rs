//! How a pod's process comes to be: once at most, and known to whoever comes after us.
//!
//! `up` may be killed at any instant, so it can neither record a process before it exists nor be trusted to record it
//! after. The process does that itself: `up` starts this program again as a launcher, which leaves the terminal's
//! session, takes the pod's lock, writes down its own pid and start time and only then becomes the member by `exec`
//! (pid, start time and open lock stay). The lock lives exactly as long as the member: while it is held no second
//! process can get as far as `exec`, whoever starts it.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::IntoRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::fs::{FlockOperation, flock};
use rustix::io::{FdFlags, fcntl_setfd};
use serde::{Deserialize, Serialize};

use crate::process::start_time;
use crate::state_dir::{Durability, io_error, make_dir, open_lock, replace_file, replace_json};

/// The launcher's exit code when another process holds the pod's lock.
pub(crate) const EXIT_LOCKED: i32 = 73;
/// The launcher's exit code when the member could not be started.
pub(crate) const EXIT_NOT_STARTED: i32 = 127;

/// What the launcher becomes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Launch {
    /// The pod that it is for.
    pub pod_uid: String,
    /// That pod's address.
    pub address: Ipv4Addr,
    /// The binary.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its whole environment.
    pub env: BTreeMap<String, String>,
}

/// What a running process says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProcessRecord {
    /// The process.
    pub pid: u32,
    /// When it started, in clock ticks after boot: with the pid, its identity.
    pub start_time: u64,
    /// The pod that it runs for.
    pub pod_uid: String,
    /// The binary.
    pub program: PathBuf,
    /// Where it was started; an earlier `up` did not say.
    #[serde(default)]
    pub place: Option<Place>,
}

/// Where a process was started. What it was told of paths and addresses stays, whatever becomes of the folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// The pod's folder, as its path was.
    pub folder: PathBuf,
    /// The pod's address.
    pub address: Ipv4Addr,
}

/// The files of one pod's process.
#[derive(Clone, Debug)]
pub(crate) struct PodFiles {
    folder: PathBuf,
    log: PathBuf,
}

impl PodFiles {
    pub fn new(folder: PathBuf, log: PathBuf) -> Self {
        Self { folder, log }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn log(&self) -> &Path {
        &self.log
    }

    fn lock(&self) -> PathBuf {
        self.folder.join("lock")
    }

    fn record(&self) -> PathBuf {
        self.folder.join("process.json")
    }

    /// Whether a process (or a launcher on its way) holds the pod's lock.
    pub fn locked(&self) -> io::Result<bool> {
        let file = match File::open(self.lock()) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        // Shared, so that two who only look never hide the lock from each other.
        Ok(flock(&file, FlockOperation::NonBlockingLockShared).is_err())
    }

    /// What the last process wrote of itself.
    pub fn read_record(&self) -> Option<ProcessRecord> {
        serde_json::from_slice(&fs::read(self.record()).ok()?).ok()
    }

    /// Forgets the last process.
    pub fn clear_record(&self) {
        let _ = fs::remove_file(self.record());
    }
}

/// Starts the launcher, its output going to the pod's log.
pub(crate) fn spawn(
    launcher: &[PathBuf],
    files: &PodFiles,
    launch: &Launch,
) -> anyhow::Result<Child> {
    replace_json(
        &files.folder.join("launch.json"),
        launch,
        Durability::Process,
    )?;
    if let Some(folder) = files.log.parent() {
        make_dir(folder)?;
    }
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&files.log);
    let log = log.map_err(io_error("cannot open", &files.log))?;
    let (program, args) = launcher
        .split_first()
        .ok_or_else(|| anyhow::anyhow!("no launcher is configured"))?;
    let child = Command::new(program)
        .args(args)
        .arg(&files.folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Out of the terminal's group at once: a Ctrl-C must not reach it before `exec` either.
        .process_group(0)
        .spawn()
        .map_err(io_error("cannot start", program))?;
    Ok(child)
}

/// The launcher: becomes the member that `folder`'s `launch.json` describes. Comes back only when that failed, with
/// the exit code and what to say.
pub fn become_member(folder: &Path) -> (i32, String) {
    match prepare(folder) {
        Err(failure) => failure,
        Ok(launch) => {
            let error = Command::new(&launch.program)
                .args(&launch.args)
                .env_clear()
                .envs(&launch.env)
                .exec();
            (
                EXIT_NOT_STARTED,
                format!("cannot start {}: {error}", launch.program.display()),
            )
        }
    }
}

fn prepare(folder: &Path) -> Result<Launch, (i32, String)> {
    let failed = |error: &dyn std::fmt::Display| (EXIT_NOT_STARTED, error.to_string());
    let files = PodFiles::new(folder.to_owned(), PathBuf::new());
    let lock = open_lock(&files.lock()).map_err(|error| failed(&error))?;
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Err((
            EXIT_LOCKED,
            format!(
                "{} is locked: this pod has a process already",
                folder.display()
            ),
        ));
    }
    let description = fs::read(folder.join("launch.json")).map_err(|error| failed(&error))?;
    let launch: Launch = serde_json::from_slice(&description).map_err(|error| failed(&error))?;
    // A session of its own: neither a closed terminal nor the death of `up` sends it a signal. It fails only for the
    // leader of a process group, which is out of the terminal's reach already.
    let _ = rustix::process::setsid();
    let pid = std::process::id();
    let start_time = start_time(pid).map_err(|error| failed(&error))?;
    let record = ProcessRecord {
        pid,
        start_time,
        pod_uid: launch.pod_uid.clone(),
        program: launch.program.clone(),
        place: Some(Place {
            folder: folder.to_owned(),
            address: launch.address,
        }),
    };
    replace_json(&files.record(), &record, Durability::Process).map_err(|error| failed(&error))?;
    fcntl_setfd(&lock, FdFlags::empty()).map_err(|error| failed(&error))?;
    // Kept open through `exec`: the member holds the lock by having this descriptor.
    let _ = lock.into_raw_fd();
    Ok(launch)
}

/// Writes a file that a pod has mounted, readable by its owner alone.
pub(crate) fn write_mounted(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    if fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    Ok(replace_file(path, content, Durability::Process)?)
}
