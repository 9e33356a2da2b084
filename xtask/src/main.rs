//! Everything a developer does, typed: `cargo xtask --help`.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod arrows;
mod bench;
mod cluster;
#[cfg(test)]
mod documented;
// Not `gen`, which is a keyword now.
mod generate;
mod image;
mod say;
mod soak;
mod tool;
mod variants;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

/// Everything a developer does.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Xtask {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Writes crds/ and docs/reference/ from the types.
    #[command(
        after_help = "Examples:\n  cargo xtask gen\n  cargo xtask gen --check    # as CI: shows what differs, and fails"
    )]
    Gen(generate::Gen),
    /// Checks which crate may use which (DESIGN section 1), what the simulator links and what shipped binaries hold.
    #[command(after_help = "Example:\n  cargo xtask arrows")]
    Arrows,
    /// Builds the other builds of the members that tests start.
    #[command(after_help = "Example:\n  cargo xtask variants")]
    Variants,
    /// Tests for hours what `make test` and `make e2e` test for minutes; what has passed for a commit is not run again.
    #[command(
        after_help = "Examples:\n  cargo xtask soak\n  cargo xtask soak hunts processes\n  cargo xtask soak --list"
    )]
    Soak(soak::Soak),
    /// Measures.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Makes one image of every binary that users get, without Docker, and loads it into the running cluster.
    #[command(
        after_help = "Examples:\n  cargo xtask image\n  cargo xtask image --no-load --output quorate.tar\n  cargo xtask image --tag quorate.local/quorate:broken --bin quorate-raft-cluster=/tmp/broken"
    )]
    Image(image::Make),
    /// A real Kubernetes of three nodes on this machine.
    #[command(subcommand)]
    Cluster(cluster::Cluster),
}

fn main() -> Result<()> {
    match Xtask::parse().task {
        Task::Gen(task) => task.run(&root()?),
        Task::Arrows => arrows::run(&root()?),
        Task::Soak(task) => task.run(&root()?),
        Task::Variants => variants::run(&workspace()?),
        Task::Bench(task) => task.run(&root()?),
        Task::Image(task) => task.run(&workspace()?),
        Task::Cluster(task) => task.run(root),
    }
}

/// The workspace's folder, asked for at run time: clones that share a target folder share this binary.
fn root() -> Result<PathBuf> {
    Ok(workspace()?.workspace_root.into())
}

/// Where release binaries are built to.
fn release_folder() -> Result<PathBuf> {
    Ok(workspace()?.target_directory.join("release").into())
}

fn workspace() -> Result<cargo_metadata::Metadata> {
    cargo_metadata::MetadataCommand::new()
        .no_deps()
        .exec()
        .context("cargo metadata failed: start this inside the repository")
}
