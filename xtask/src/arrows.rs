//! The arrows of DESIGN section 1: which crate may use which, what the simulator links, what shipped binaries hold, and
//! that what all kinds share names none.
//!
//! A crate's place is its folder, so that a new kind needs no line here.

mod links;
mod names;
mod place;

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, bail};
use cargo_metadata::{MetadataCommand, Package};

use place::Place;

use crate::say::say;

/// One of our crates, and what it names in its manifest, dev-dependencies included.
#[derive(Clone, Debug)]
pub struct Member {
    /// The package.
    pub name: String,
    /// Where it lies.
    pub place: Place,
    /// Our own crates that it uses.
    pub uses: BTreeSet<String>,
    /// Crates of others that it uses.
    pub foreign: BTreeSet<String>,
}

/// Checks the whole workspace and tells every fault.
pub fn run(root: &Path) -> Result<()> {
    let members = members(root)?;
    let mut faults = forbidden(&members);
    faults.extend(links::check(root, &members)?);
    faults.extend(names::check(root, quorate_plan::kinds())?);
    if faults.is_empty() {
        let arrows: usize = members.iter().map(|member| member.uses.len()).sum();
        return say(format!(
            "{} crates, {arrows} arrows, all as DESIGN section 1 has them",
            members.len()
        ));
    }
    for fault in &faults {
        eprintln!("error: {fault}");
    }
    bail!(
        "{} arrows point where DESIGN section 1 forbids",
        faults.len()
    );
}

/// Our crates, from their manifests.
fn members(root: &Path) -> Result<Vec<Member>> {
    let metadata = MetadataCommand::new()
        .current_dir(root)
        .no_deps()
        .exec()
        .context("cargo metadata failed")?;
    let mut members = Vec::new();
    for package in metadata.packages {
        let place = place(&package, root)?;
        let (own, foreign): (Vec<_>, Vec<_>) = package
            .dependencies
            .into_iter()
            .partition(|dependency| dependency.path.is_some());
        members.push(Member {
            name: package.name.to_string(),
            place,
            uses: own.into_iter().map(|dependency| dependency.name).collect(),
            foreign: foreign
                .into_iter()
                .map(|dependency| dependency.name)
                .collect(),
        });
    }
    Ok(members)
}

/// Where a package of ours lies.
pub fn place(package: &Package, root: &Path) -> Result<Place> {
    let folder = package
        .manifest_path
        .parent()
        .and_then(|folder| folder.strip_prefix(root).ok());
    let folder = folder.with_context(|| format!("{} lies outside the workspace", package.name))?;
    Place::of(folder.as_str()).with_context(|| {
        format!(
            "{folder}: DESIGN section 1 has no such folder; add it to xtask/src/arrows/place.rs"
        )
    })
}

/// The arrows that point where they must not, in words.
fn forbidden(members: &[Member]) -> Vec<String> {
    let mut faults = Vec::new();
    for member in members {
        for used in members
            .iter()
            // A crate's own tests may ask for its features.
            .filter(|used| member.uses.contains(&used.name) && used.name != member.name)
        {
            if !member.place.may_use(&used.place) {
                faults.push(format!(
                    "{} ({}) uses {} ({}): no arrow of DESIGN section 1 leads there",
                    member.name, member.place, used.name, used.place
                ));
            }
        }
        let rocks = member.foreign.iter().any(|name| name.contains("rocksdb"));
        if rocks && member.place != Place::Shell("rocks".into()) {
            faults.push(format!("{} uses rocksdb itself: workloads/common/rocks alone does, behind the state-store trait", member.name));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace(arrows: &[(&str, &[&str])]) -> Vec<Member> {
        let member = |(folder, uses): &(&str, &[&str])| Member {
            name: (*folder).to_owned(),
            place: Place::of(folder).unwrap(),
            uses: uses.iter().map(|name| (*name).to_owned()).collect(),
            foreign: uses
                .iter()
                .filter(|name| name.contains("rocksdb"))
                .map(|name| (*name).to_owned())
                .collect(),
        };
        arrows.iter().map(member).collect()
    }

    const HOUSE: &[(&str, &[&str])] = &[
        ("operator/wire", &[]),
        ("operator/api", &["operator/wire"]),
        ("operator/plan", &["operator/api", "operator/wire"]),
        ("operator/model", &[]),
        (
            "operator/engine",
            &["operator/plan", "operator/api", "operator/wire"],
        ),
        ("operator/client", &["operator/wire"]),
        (
            "operator/local",
            &[
                "operator/engine",
                "operator/model",
                "operator/client",
                "operator/plan",
            ],
        ),
        (
            "operator/manager",
            &["operator/engine", "operator/client", "operator/api"],
        ),
        ("workloads/common/store", &[]),
        ("workloads/common/raft", &[]),
        (
            "workloads/common/group-core",
            &["workloads/common/raft", "workloads/common/store"],
        ),
        (
            "workloads/common/rocks",
            &["workloads/common/store", "rocksdb"],
        ),
        ("workloads/common/node", &["operator/wire"]),
        (
            "workloads/common/group",
            &["workloads/common/group-core", "workloads/common/node"],
        ),
        ("workloads/kv/core", &["workloads/common/group-core"]),
        (
            "workloads/kv/server",
            &[
                "workloads/kv/core",
                "workloads/common/group",
                "workloads/common/rocks",
                "operator/wire",
            ],
        ),
        ("workloads/queue/core", &["workloads/common/store"]),
        ("workloads/queue/server", &["workloads/queue/core"]),
        ("lab/history", &[]),
        ("lab/check", &["lab/history"]),
        (
            "lab/sim",
            &[
                "operator/engine",
                "operator/model",
                "operator/plan",
                "workloads/kv/core",
                "workloads/common/raft",
                "lab/history",
                "lab/check",
            ],
        ),
        (
            "lab/world",
            &[
                "lab/sim",
                "operator/local",
                "lab/history",
                "operator/client",
            ],
        ),
        (
            "cli",
            &["operator/local", "operator/plan", "lab/world", "lab/check"],
        ),
        (
            "xtask",
            &["operator/plan", "lab/world", "workloads/kv/server"],
        ),
    ];

    #[test]
    fn the_house_stands() {
        assert_eq!(forbidden(&workspace(HOUSE)), Vec::<String>::new());
    }

    #[test]
    fn each_wrong_arrow_is_found() {
        let wrong = [
            ("operator/wire", "operator/api"),
            ("operator/api", "operator/plan"),
            ("operator/plan", "operator/engine"),
            ("operator/plan", "operator/client"),
            ("operator/engine", "operator/client"),
            ("operator/engine", "operator/model"),
            ("operator/model", "operator/plan"),
            ("operator/client", "operator/api"),
            ("operator/manager", "operator/local"),
            ("operator/manager", "operator/model"),
            ("operator/local", "lab/world"),
            ("workloads/common/raft", "workloads/common/group"),
            ("workloads/common/raft", "workloads/kv/core"),
            ("workloads/common/group", "workloads/kv/core"),
            ("workloads/common/node", "operator/client"),
            ("workloads/kv/core", "workloads/common/node"),
            ("workloads/kv/core", "workloads/queue/core"),
            ("workloads/kv/server", "workloads/queue/core"),
            ("workloads/kv/server", "workloads/queue/server"),
            ("workloads/kv/server", "operator/api"),
            ("lab/sim", "operator/local"),
            ("lab/sim", "operator/client"),
            ("lab/sim", "workloads/common/group"),
            ("lab/sim", "workloads/kv/server"),
            ("lab/check", "lab/sim"),
            ("lab/world", "workloads/kv/server"),
            ("cli", "workloads/kv/server"),
            ("cli", "operator/manager"),
            ("operator/api", "xtask"),
            ("workloads/kv/server", "rocksdb"),
            ("lab/sim", "librocksdb-sys"),
        ];
        for (from, to) in wrong {
            let mut house = workspace(HOUSE);
            let member = house.iter_mut().find(|member| member.name == from).unwrap();
            if to.contains("rocksdb") {
                member.foreign.insert(to.into());
            } else {
                member.uses.insert(to.into());
            }
            let faults = forbidden(&house);
            assert_eq!(faults.len(), 1, "{from} -> {to}: {faults:?}");
        }
    }

    #[test]
    fn a_folder_that_nobody_planned_is_refused() {
        for folder in [
            "operator/webhook",
            "workloads/kv/extra",
            "tools/x",
            "workloads",
        ] {
            assert!(Place::of(folder).is_none(), "{folder}");
        }
    }
}
