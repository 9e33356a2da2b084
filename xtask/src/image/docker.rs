//! The Dockerfile and kind-config.yaml, held against what they repeat: they must be right where there is no Docker too.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use quorate_plan::USER;
use serde::Deserialize;

use super::archive::PROGRAMS;
use crate::workspace;

fn read(path: &str) -> String {
    let root: PathBuf = workspace().unwrap().workspace_root.into();
    std::fs::read_to_string(root.join(path)).unwrap()
}

/// A Dockerfile's instructions, with continued lines joined, and without comments.
fn instructions(dockerfile: &str) -> Vec<(String, String)> {
    let lines: Vec<&str> = dockerfile
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    let lines = lines.join("\n").replace("\\\n", " ");
    let instructions = lines.lines().filter_map(|line| line.split_once(' '));
    instructions
        .map(|(name, rest)| (name.to_owned(), rest.trim().to_owned()))
        .collect()
}

fn all<'a>(found: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    let of_name = found.iter().filter(|(found, _)| found == name);
    of_name.map(|(_, rest)| rest.as_str()).collect()
}

#[test]
fn the_dockerfile_builds_with_our_rust_what_xtask_image_makes() {
    let found = instructions(&read("Dockerfile"));
    let workspace = workspace().unwrap();
    let xtask = workspace
        .packages
        .iter()
        .find(|p| *p.name == "quorate-xtask");
    let rust = xtask.unwrap().rust_version.as_ref().unwrap();
    let from = all(&found, "FROM");
    let expected = [format!("rust:{rust}-bookworm AS build"), "scratch".into()];
    assert_eq!(from, expected, "rust-version of Cargo.toml is {rust}");
    assert_eq!(all(&found, "USER"), [format!("{USER}:{USER}")]);
    assert_eq!(all(&found, "ENV"), [format!("PATH={PROGRAMS}")]);
    assert_eq!(all(&found, "COPY"), [". .", "--from=build /image/ /"]);

    let (_, make) = found
        .iter()
        .find(|(_, rest)| rest.contains("cargo xtask"))
        .unwrap();
    let (_, make) = make.split_once("cargo xtask ").unwrap();
    let line = ["cargo xtask"].into_iter().chain(make.split(' '));
    let crate::Task::Image(make) = <crate::Xtask as clap::Parser>::parse_from(line).task else {
        panic!("it makes no image: {make}");
    };
    assert_eq!(make.directory.as_deref(), Some(Path::new("/image")));
    assert!(!make.no_build);
}

#[test]
fn docker_ignores_nothing_that_a_build_reads() {
    let ignored = read(".dockerignore");
    let ignored: BTreeSet<&str> = ignored
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    let workspace = workspace().unwrap();
    for package in &workspace.packages {
        let folder = package
            .manifest_path
            .strip_prefix(&workspace.workspace_root)
            .unwrap();
        let top = folder.components().next().unwrap();
        assert!(!ignored.contains(top.as_str()), "{folder} is ignored");
    }
    for file in ["Cargo.toml", "Cargo.lock", ".cargo", "crds", "examples"] {
        assert!(!ignored.contains(file), "{file} is ignored");
    }
}

#[derive(Deserialize)]
struct Kind {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    role: String,
    image: String,
    #[serde(default)]
    labels: std::collections::BTreeMap<String, String>,
}

#[test]
fn kind_has_the_kubernetes_and_the_zones_of_xtask_cluster() {
    let kind: Kind = serde_saphyr::from_str(&read("kind-config.yaml")).unwrap();
    let modules = read("xtask/modules/kubernetes/go.mod");
    let (_, version) = modules.split_once("k8s.io/kubernetes v").unwrap();
    let version = version.split_whitespace().next().unwrap();
    let image = format!("kindest/node:v{version}");
    assert!(kind.nodes.iter().all(|node| node.image == image), "{image}");
    let workers = kind.nodes.iter().filter(|node| node.role == "worker");
    let zones: BTreeSet<&str> = workers
        .filter_map(|node| node.labels.get("topology.kubernetes.io/zone"))
        .map(String::as_str)
        .collect();
    assert_eq!(zones, ["z1", "z2", "z3"].into());
}
