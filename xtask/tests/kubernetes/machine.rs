//! `cargo xtask cluster` as a user has it: nothing is left of a cluster in the end, nor after a crash.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};

use crate::cluster::{cluster as controlled, run, wait};

/// What `down` must leave as it found it.
#[derive(Debug, PartialEq)]
pub struct Machine {
    links: BTreeSet<PathBuf>,
    routes: String,
    rules: BTreeSet<String>,
    mounts: BTreeSet<String>,
    cgroups: BTreeSet<PathBuf>,
}

impl Machine {
    pub fn look() -> Result<Self> {
        let command = |program: &str, arguments: &[&str]| {
            let mut command = Command::new(program);
            command.args(arguments);
            run(command)
        };
        let inside = |folder: &Path| -> Result<BTreeSet<PathBuf>> {
            let entries = std::fs::read_dir(folder)?;
            Ok(entries.filter_map(|e| Some(e.ok()?.path())).collect())
        };
        let mut cgroups = BTreeSet::new();
        for hierarchy in inside(Path::new("/sys/fs/cgroup"))? {
            if hierarchy.is_dir() {
                cgroups.extend(inside(&hierarchy)?.into_iter().filter(|path| path.is_dir()));
            }
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
        let rules = command("iptables-save", &[])?;
        Ok(Self {
            links: inside(Path::new("/sys/class/net"))?,
            routes: command("ip", &["route", "show"])?,
            rules: rules
                .lines()
                .filter(|line| line.starts_with("-A"))
                .map(str::to_owned)
                .collect(),
            mounts: mounts
                .lines()
                .filter_map(|line| line.split(' ').nth(4))
                .map(str::to_owned)
                .collect(),
            cgroups,
        })
    }
}

pub fn what_was_killed_half_way_up_can_be_taken_down(state: &Path) -> Result<()> {
    let mut half = controlled(&["up"]).stdout(Stdio::null()).spawn()?;
    let begun = wait("the first processes run", || {
        Ok(state.join("node3/containerd.toml").exists().then_some(()))
    });
    half.kill()?;
    half.wait()?;
    begun?;
    let refused = controlled(&["up"]).output()?;
    let said = String::from_utf8(refused.stderr)?;
    ensure!(
        !refused.status.success() && said.contains("cluster down"),
        "{said}"
    );
    run(controlled(&["down"]))?;
    Ok(())
}

pub fn nothing_is_left(state: &Path, before: &Machine) -> Result<()> {
    ensure!(!state.exists(), "{} is left", state.display());
    let now = Machine::look()?;
    ensure!(now == *before, "{now:#?} was {before:#?}");
    Ok(())
}
