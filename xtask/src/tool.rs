//! The programs of others that commands start.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Runs a program to its end and returns what it printed.
pub fn run(program: impl AsRef<Path>, arguments: &[&str]) -> Result<String> {
    let program = program.as_ref();
    let name = program.file_name().unwrap_or_default().display();
    let output = Command::new(program)
        .args(arguments)
        .env("PATH", path())
        // What it prints is read by us.
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {name}"))?;
    ensure!(
        output.status.success(),
        "`{name} {}` failed: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// The tools of an administrator lie outside some users' path.
pub fn path() -> String {
    let given = std::env::var("PATH").unwrap_or_default();
    format!("{given}:/usr/sbin:/sbin:/usr/bin:/bin")
}

/// cargo. Whoever builds says `--workspace`, as everything else does: with another selection the features of
/// dependencies, and so all of them, would differ.
pub fn cargo(root: &Path) -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root);
    // `cargo run` told us of this package; ring's build script would take that for a change, and all above it too.
    let ours = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars().filter(|(name, _)| ours(name)) {
        cargo.env_remove(name);
    }
    cargo
}
