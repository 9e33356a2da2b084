//! A folder per node in every cgroup hierarchy of this machine (version 1: one hierarchy per controller).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Pid;

use super::addresses::Node;

/// Makes a node's folders.
pub fn make(node: Node) -> Result<()> {
    for folder in folders(node)? {
        if !folder.exists() {
            fs::create_dir(&folder)
                .with_context(|| format!("cannot make {}: are you root?", folder.display()))?;
        }
        // A new cpuset is empty, and nothing can run in it.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let above = folder.with_file_name(file);
            if above.exists() && folder.starts_with("/sys/fs/cgroup/cpuset") {
                fs::write(folder.join(file), fs::read(above)?)?;
            }
        }
    }
    Ok(())
}

/// The processes of a node's containers.
pub fn processes(node: Node) -> Result<Vec<Pid>> {
    let mut pids = Vec::new();
    for folder in folders(node)? {
        each(&folder, &mut |folder| {
            // It may just have been removed.
            let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            let found = text
                .lines()
                .filter_map(|line| Pid::from_raw(line.parse().ok()?));
            pids.extend(found);
            Ok(())
        })?;
    }
    Ok(pids)
}

/// Removes a node's folders, in which nothing runs any more.
pub fn remove(node: Node) -> Result<()> {
    for folder in folders(node)? {
        each(&folder, &mut |folder| {
            // The kernel takes a moment to let go of one whose last process has just ended.
            for _ in 0..100 {
                match fs::remove_dir(folder) {
                    Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                        std::thread::sleep(Duration::from_millis(20));
                    }
                    result => return Ok(result?),
                }
            }
            anyhow::bail!("{} is still in use", folder.display())
        })?;
    }
    Ok(())
}

fn folders(node: Node) -> Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir("/sys/fs/cgroup").context("no cgroups are mounted")? {
        let path = entry?.path();
        if path.join("cgroup.procs").exists() {
            folders.push(path.join(node.machine()));
        }
    }
    Ok(folders)
}

/// Calls `act` on a folder and those below it, the lowest first.
fn each(folder: &Path, act: &mut dyn FnMut(&Path) -> Result<()>) -> Result<()> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(());
    };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            each(&path, act)?;
        }
    }
    act(folder)
}
