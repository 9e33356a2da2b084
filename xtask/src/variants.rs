//! Builds of the member other than the shipped one, for the tests on processes: each is built with the same profile
//! and target folder, so that only what differs is compiled, and copied aside.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// A build: its folder's name, its features, its version if not the crate's.
const VARIANTS: [(&str, &str, Option<&str>); 3] = [
    ("next", "", Some("0.2.0")),
    ("unsynced", "unsafe-no-sync", None),
    ("broken", "broken-build", Some("0.3.0")),
];
const PACKAGE: &str = "quorate-raft-cluster";

/// Builds them all, and the shipped one last, so that the plain binary is what a user gets.
pub fn run() -> Result<()> {
    let release = crate::release_folder()?;
    for (name, features, version) in VARIANTS {
        build(features, version)?;
        let folder = release.join("variants").join(name);
        std::fs::create_dir_all(&folder)?;
        copy(&release.join(PACKAGE), &folder.join(PACKAGE))?;
    }
    build("", None)
}

fn build(features: &str, version: Option<&str>) -> Result<()> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--release", "--locked", "--package", PACKAGE, "--features", features]);
    match version {
        Some(version) => cargo.env("QUORATE_BUILD_VERSION", version),
        None => cargo.env_remove("QUORATE_BUILD_VERSION"),
    };
    ensure!(cargo.status().context("cannot run cargo")?.success(), "the build of {PACKAGE} [{features}] failed");
    Ok(())
}

/// By rename: a process may still run the old file.
fn copy(from: &Path, to: &PathBuf) -> Result<()> {
    let new = to.with_extension("new");
    std::fs::copy(from, &new).with_context(|| format!("cannot copy {}", from.display()))?;
    std::fs::rename(&new, to)?;
    Ok(())
}
