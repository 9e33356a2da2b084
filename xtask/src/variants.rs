//! Other builds of the members than those that ship, for tests: of each an example (`BINARY-variant`), which does what
//! the folder says that it was copied to.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use cargo_metadata::Metadata;

use crate::tool;

/// What tests ask for: a version to upgrade to, one that does not sync, one that ends at once.
const VARIANTS: [&str; 3] = ["next", "unsynced", "broken"];

/// How the examples are called after the binaries that they stand for.
const SUFFIX: &str = "-variant";

/// Builds the examples, and copies each under the name of its binary.
pub fn run(workspace: &Metadata) -> Result<()> {
    let targets = workspace.packages.iter().flat_map(|found| &found.targets);
    let examples = targets.filter(|target| target.is_example());
    let binaries: Vec<&str> = examples
        .filter_map(|target| target.name.strip_suffix(SUFFIX))
        .collect();
    let mut cargo = tool::cargo(workspace.workspace_root.as_std_path());
    cargo.args(["build", "--release", "--locked", "--workspace"]);
    for binary in &binaries {
        cargo.args(["--example", &format!("{binary}{SUFFIX}")]);
    }
    let built = cargo.status().context("cannot run cargo")?;
    ensure!(built.success(), "the build failed: see above");
    let release = workspace.target_directory.join("release");
    for binary in binaries {
        let example = release.join(format!("examples/{binary}{SUFFIX}"));
        for name in VARIANTS {
            let folder = release.join("variants").join(name);
            std::fs::create_dir_all(&folder)?;
            copy(example.as_std_path(), folder.join(binary).as_std_path())?;
        }
    }
    Ok(())
}

/// By rename: a process may still run the old file.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let new = to.with_extension("new");
    std::fs::copy(from, &new).with_context(|| format!("cannot copy {}", from.display()))?;
    std::fs::rename(&new, to)?;
    Ok(())
}
