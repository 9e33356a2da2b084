//! What crates link in the end. By `cargo tree -p CRATE`, since cargo metadata unifies features over the workspace.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::Member;

/// What would make a debug build of the simulator take minutes, or let real time and real sockets into it.
const HEAVY: [&str; 4] = ["tokio", "tonic", "rocksdb", "librocksdb-sys"];

/// Features that make a binary wrong on purpose, or hold what is for tests alone.
const SABOTAGE: [&str; 2] = ["planted-bugs", "testing"];

/// The faults of every crate that the simulator runs, and of every binary that users get.
pub fn check(root: &Path, members: &[Member]) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for member in members.iter().filter(|member| member.place.is_simulated()) {
        faults.extend(heavy(&member.name, &tree(root, &member.name)?));
    }
    for member in members.iter().filter(|member| member.place.is_shipped()) {
        faults.extend(sabotaged(&member.name, &tree(root, &member.name)?));
    }
    Ok(faults)
}

/// A line per package that this one links: `NAME VERSION (PATH)|FEATURE,FEATURE`.
fn tree(root: &Path, package: &str) -> Result<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree", "--prefix", "none", "--edges", "normal", "--format", "{p}|{f}",
        ])
        .args(["--package", package])
        .current_dir(root)
        .output()
        .context("cannot run cargo tree")?;
    ensure!(
        output.status.success(),
        "cargo tree -p {package} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn heavy(package: &str, tree: &str) -> Vec<String> {
    let linked: BTreeSet<_> = tree
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    let heavy = HEAVY.into_iter().filter(|name| linked.contains(name));
    heavy.map(|name| format!("{package} links {name}, and the simulator runs it: `cargo tree -p {package} -e normal -i {name}` says through whom")).collect()
}

fn sabotaged(package: &str, tree: &str) -> Vec<String> {
    let mut faults = BTreeSet::new();
    for line in tree.lines() {
        let (name, features) = line.split_once('|').unwrap_or((line, ""));
        let features = features.trim_end_matches(" (*)").split(',');
        for feature in features.filter(|feature| SABOTAGE.contains(feature)) {
            let name = name.split(' ').next().unwrap_or(name);
            faults.insert(format!(
                "{package} is shipped with {name}'s feature {feature}: take it out of the manifests"
            ));
        }
    }
    faults.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heavy_crates_are_found_by_their_whole_name() {
        let tree = "quorate-sim v0.1.0 (/w/lab/sim)|\ntokio-stream v0.1.17|fs\ntower v0.5.2|\nbytes v1.10.0|std (*)\n";
        assert!(heavy("quorate-sim", tree).is_empty());
        for name in HEAVY {
            let faults = heavy("quorate-sim", &format!("{tree}{name} v1.0.0|default\n"));
            assert_eq!(faults.len(), 1, "{name}");
            assert!(faults[0].contains(name));
        }
    }

    #[test]
    fn a_sabotaged_binary_is_found() {
        let tree = "quorate v0.1.0 (/w/cli)|default\nquorate-raft v0.1.0 (/w/raft)|default\nplanted-bugs v1.0.0|\n";
        assert!(sabotaged("quorate", tree).is_empty());
        for feature in SABOTAGE {
            let tree = format!("{tree}quorate-store v0.1.0 (/w/store)|default,{feature} (*)\n");
            assert_eq!(sabotaged("quorate", &tree).len(), 1, "{feature}");
        }
    }
}
