//! The cluster's processes carry a mark in their environment, which their children inherit. There are no pid files:
//! what runs is asked of the kernel, so a crash leaves nothing that `down` would not find.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::place::Place;
use crate::tool;

const CLUSTER: &str = "QUORATE_CLUSTER";
const PART: &str = "QUORATE_CLUSTER_PART";

/// A process of the cluster: the part it belongs to, such as `etcd` or `node1/kubelet`.
#[derive(Debug)]
pub struct Process {
    pub pid: Pid,
    pub part: String,
    /// As the kernel calls it, in 15 characters at most.
    pub name: String,
}

impl Process {
    /// Whether it is a child that carries the mark of its part, and may outlive it.
    pub fn is_shim(&self) -> bool {
        self.name.starts_with("containerd-shim")
    }
}

/// Starts a part in the background; it outlives us. Its log is truncated only by `down`.
pub fn start(place: &Place, part: &str, program: &Path, arguments: &[String]) -> Result<Pid> {
    let log = place.log(part);
    std::fs::create_dir_all(log.parent().context("a folder of logs")?)?;
    let log = File::options().create(true).append(true).open(log)?;
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", tool::path())
        .env("HOME", place.state())
        .env(CLUSTER, place.state())
        .env(PART, part)
        .current_dir(place.state())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Control-C in the terminal is for us alone.
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    Ok(Pid::from_child(&child))
}

/// The cluster's processes, with their parts.
pub fn running(place: &Place) -> Result<Vec<Process>> {
    let mark = format!("{CLUSTER}={}", place.state().display());
    let mut found = Vec::new();
    for (pid, environment) in environments()? {
        if let Some(part) = part(&environment, &mark) {
            let comm = format!("/proc/{}/comm", pid.as_raw_nonzero());
            let name = std::fs::read_to_string(comm).unwrap_or_default();
            found.push(Process { pid, part, name });
        }
    }
    Ok(found)
}

/// The processes that have a variable, written `NAME=value`, in their environment.
pub fn with_variable(variable: &str) -> Result<Vec<Pid>> {
    let mut found = environments()?;
    found.retain(|(_, environment)| has(environment, variable));
    Ok(found.into_iter().map(|(pid, _)| pid).collect())
}

/// What was in each process' environment when it started.
fn environments() -> Result<Vec<(Pid, Vec<u8>)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let entry = entry?;
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok());
        // It may have ended, or belong to somebody else.
        if let Some(pid) = pid.and_then(Pid::from_raw)
            && let Ok(environment) = std::fs::read(entry.path().join("environ"))
        {
            found.push((pid, environment));
        }
    }
    Ok(found)
}

fn has(environment: &[u8], variable: &str) -> bool {
    let mut variables = environment.split(|byte| *byte == 0);
    variables.any(|other| other == variable.as_bytes())
}

fn part(environment: &[u8], mark: &str) -> Option<String> {
    if !has(environment, mark) {
        return None;
    }
    let mut variables = environment.split(|byte| *byte == 0);
    let prefix = format!("{PART}=");
    let part = variables.find_map(|variable| variable.strip_prefix(prefix.as_bytes()))?;
    Some(String::from_utf8_lossy(part).into_owned())
}

/// Kills what `list` finds until it finds nothing any more: a process may have been starting another.
pub fn kill_all(list: impl Fn() -> Result<Vec<Pid>>) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let pids = list()?;
        if pids.is_empty() {
            return Ok(());
        }
        if Instant::now() > end {
            bail!("processes {pids:?} do not end: see what holds them with `ps`, then try again");
        }
        for pid in pids {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until `ready` says so.
pub fn wait(what: &str, seconds: u64, mut ready: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(seconds);
    while !ready()? {
        if Instant::now() > end {
            bail!("{what} took longer than {seconds} s");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_carries_our_mark_is_ours() {
        let ours = b"A=b\0QUORATE_CLUSTER=/c/state\0QUORATE_CLUSTER_PART=node1/kubelet\0";
        let mark = "QUORATE_CLUSTER=/c/state";
        assert_eq!(part(ours, mark).unwrap(), "node1/kubelet");
        assert_eq!(part(ours, "QUORATE_CLUSTER=/other"), None);
        assert_eq!(part(b"A=b\0", mark), None);
    }
}
