//! `docs/soak.md` names what there is, and all of it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use super::parts::{PARTS, Step};

/// Asked for once: cargo is started for it.
static ROOT: LazyLock<PathBuf> = LazyLock::new(|| crate::root().unwrap());

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(ROOT.join(path)).unwrap()
}

/// All sources below a folder.
fn sources(folder: &str) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(ROOT.join(folder)).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text += &sources(path.to_str().unwrap());
        } else if path.extension().is_some_and(|end| end == "rs") {
            text += &read(path);
        }
    }
    text
}

/// The names in a column of the tables of a section.
fn named(section: &str, column: usize) -> BTreeSet<String> {
    let page = read("docs/soak.md");
    let start = format!("## {section}\n");
    let section = page.split(start.as_str()).nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with('|'));
    let cells = rows.filter_map(|row| row.split('|').nth(column + 1));
    let names = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    names.map(str::to_owned).collect()
}

/// What stands between two texts, each time.
fn between(text: &str, before: &str, after: char) -> BTreeSet<String> {
    let found = text.split(before).skip(1);
    let found = found.filter_map(|rest| rest.split(after).next());
    found.map(str::to_owned).collect()
}

fn functions(source: &str) -> BTreeSet<String> {
    between(source, "fn ", '(')
}

/// The functions that are tests.
fn tests(source: &str) -> BTreeSet<String> {
    let name = |rest: &str| {
        rest.split("fn ")
            .nth(1)?
            .split('(')
            .next()
            .map(str::to_owned)
    };
    let tests = source.split("#[test]\n").skip(1);
    tests.filter_map(name).collect()
}

#[test]
fn every_stage_and_every_part_is_told() {
    let named = named("Stages", 1);
    let mut stages = between(&read(".ci/test"), "\nstage \"", '"');
    stages.extend(PARTS.map(|part| part.name.to_owned()));
    stages.extend([".ci/try-up", "a real Kubernetes"].map(str::to_owned));
    assert_eq!(named, stages);
}

#[test]
fn every_planted_bug_is_told() {
    let mut bugs = BTreeSet::new();
    for path in [
        "workloads/common/raft",
        "workloads/common/group-core",
        "operator/plan",
    ] {
        let source = read(format!("{path}/src/planted.rs"));
        bugs.extend(between(&source, "        Bug::", ','));
    }
    assert_eq!(named("Hunts", 1), bugs);
}

#[test]
fn every_test_on_processes_is_told() {
    assert_eq!(
        named("Processes", 1),
        tests(&sources("cli/tests/processes"))
    );
}

#[test]
fn every_test_on_kubernetes_is_told() {
    let (named, source) = (named("Kubernetes", 1), sources("xtask/tests/kubernetes"));
    let (functions, tests) = (functions(&source), tests(&source));
    let gone: Vec<_> = named.difference(&functions).collect();
    assert!(gone.is_empty(), "docs/soak.md names {gone:?}");
    let untold: Vec<_> = tests.difference(&named).collect();
    assert!(untold.is_empty(), "docs/soak.md does not name {untold:?}");
}

/// cargo is content with names that no test has.
#[test]
fn every_test_that_a_part_names_is_there() {
    let sources = ["workloads", "xtask/tests", "cli/tests"].map(sources);
    let named = |step: &Step| match step {
        Step::Cargo(["test", ..], rest) => *rest,
        _ => &[],
    };
    for name in PARTS.iter().flat_map(|part| part.steps).flat_map(named) {
        let is_flag = name.starts_with("--") || name.parse::<u32>().is_ok();
        let there = || {
            sources
                .iter()
                .any(|text| text.contains(&format!("fn {name}")))
        };
        assert!(is_flag || there(), "there is no test {name}");
    }
}
