//! Builds of the member other than the shipped one, for the tests on processes: each is built with the same profile
//! and target folder, so that only what differs is compiled, and copied aside.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::tool;

/// A build: its folder's name, its features, its version if not the crate's.
const VARIANTS: [(&str, &str, Option<&str>); 3] = [
    ("next", "", Some("0.2.0")),
    ("unsynced", "unsafe-no-sync", None),
    ("broken", "broken-build", Some("0.3.0")),
];

/// Which member to build.
#[derive(Debug, clap::Args)]
pub struct Variants {
    /// The member's package, which is its binary's name too.
    package: String,
}

impl Variants {
    /// Builds them all, and the shipped one last, so that the plain binary is what a user gets.
    pub fn run(&self, root: &Path) -> Result<()> {
        let release = crate::release_folder()?;
        for (name, features, version) in VARIANTS {
            self.build(root, features, version)?;
            let folder = release.join("variants").join(name);
            std::fs::create_dir_all(&folder)?;
            copy(&release.join(&self.package), &folder.join(&self.package))?;
        }
        self.build(root, "", None)
    }

    fn build(&self, root: &Path, features: &str, version: Option<&str>) -> Result<()> {
        let package = &self.package;
        let mut cargo = tool::cargo_build(root);
        cargo.args(["--bin", package]);
        if !features.is_empty() {
            cargo.args(["--features", &format!("{package}/{features}")]);
        }
        match version {
            Some(version) => cargo.env("QUORATE_BUILD_VERSION", version),
            None => cargo.env_remove("QUORATE_BUILD_VERSION"),
        };
        ensure!(
            cargo.status().context("cannot run cargo")?.success(),
            "the build of {package} [{features}] failed"
        );
        Ok(())
    }
}

/// By rename: a process may still run the old file.
fn copy(from: &Path, to: &PathBuf) -> Result<()> {
    let new = to.with_extension("new");
    std::fs::copy(from, &new).with_context(|| format!("cannot copy {}", from.display()))?;
    std::fs::rename(&new, to)?;
    Ok(())
}
