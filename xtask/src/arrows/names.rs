//! A kind is a folder: what all kinds share must not name one, or the next kind would be a second case everywhere.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use quorate_plan::AnyKind;

/// What is shared: the sources of these folders, but for a kind's own folders in them.
const SHARED: [&str; 12] = [
    "operator/engine/src",
    "operator/client/src",
    "operator/local/src",
    "operator/manager/src",
    "operator/model/src",
    "operator/plan/src/pool",
    "operator/plan/src/group",
    "operator/plan/src/common",
    "operator/api/src/common",
    "workloads/common",
    "cli/src",
    "lab/world/src",
];

/// A file is read up to its tests, which need some kind to speak of.
const TESTS: &str = "#[cfg(test)]";

/// The places where shared code names a kind, in words.
pub fn check(root: &Path, kinds: &[&dyn AnyKind]) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for kind in kinds {
        let app = kind.marks().app;
        let (folder, names) = (app.replace('-', "_"), spellings(*kind));
        for shared in SHARED {
            for file in sources(&root.join(shared), &folder)? {
                let text = std::fs::read_to_string(&file)
                    .with_context(|| format!("cannot read {}", file.display()))?;
                let place = file.strip_prefix(root).unwrap_or(&file).display();
                let found = named(&text, &folder, &names);
                faults.extend(found.map(|line| format!("{place}:{line} names the kind {app}")));
            }
        }
    }
    Ok(faults)
}

fn spellings(kind: &dyn AnyKind) -> Vec<String> {
    let (names, app) = (kind.names(), kind.marks().app);
    vec![
        names.kind.clone(),
        names.singular.clone(),
        app.to_owned(),
        app.replace('-', "_"),
    ]
}

/// The lines that name it. Comments may tell of one, commands show it in their help, and its folder has to be hung in.
fn named<'t>(
    text: &'t str,
    folder: &'t str,
    names: &'t [String],
) -> impl Iterator<Item = usize> + use<'t> {
    let hung = [format!("mod {folder};"), format!("use {folder}::")];
    let lines = text.lines().enumerate();
    lines
        .take_while(|(_, line)| !line.contains(TESTS))
        .filter(move |(_, line)| {
            let is_spared = line.trim_start().starts_with("//")
                || line.contains("examples/")
                || hung.iter().any(|hung| line.contains(hung.as_str()));
            !is_spared && names.iter().any(|name| line.contains(name.as_str()))
        })
        .map(|(at, _)| at + 1)
}

/// The Rust files below a folder, but for tests and for the kind's own folder and file.
fn sources(folder: &Path, own: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str());
        let name = name.unwrap_or_default();
        if name == own || name == "tests" || name == "testing" {
            continue;
        }
        if path.is_dir() {
            found.extend(sources(&path, own)?);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_that_names_a_kind_is_found_and_what_tells_of_one_is_not() {
        let text = "mod raft_cluster;\n// as RaftCluster\nlet kind = \"RaftCluster\";\n#[cfg(test)]\nlet k = \"RaftCluster\";\n";
        let names = ["RaftCluster".to_owned(), "raft_cluster".to_owned()];
        let found: Vec<_> = named(text, "raft_cluster", &names).collect();
        assert_eq!(found, [3]);
    }
}
