//! Scaling, and members whose disks fail.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use quorate_world::signal;
use rustix::process::Signal;

use super::cluster::{Cluster, KIND, Spec};

const SCALED: Duration = Duration::from_secs(120);

/// The identities of the members, by name.
fn identities(cluster: &Cluster) -> Result<BTreeMap<String, String>> {
    let resource = cluster.up.get(KIND, &cluster.name)?;
    let members = resource["status"]["members"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let identity = |m: &serde_json::Value| {
        Some((
            m["name"].as_str()?.to_owned(),
            m["incarnation"].as_str()?.to_owned(),
        ))
    };
    members
        .iter()
        .map(|m| identity(m).context("a member has a name and an incarnation"))
        .collect()
}

/// The StatefulSet is made anew around processes that notice nothing.
fn grow(cluster: &mut Cluster, size: &'static str) -> Result<()> {
    let set = |cluster: &Cluster| {
        cluster
            .up
            .get("statefulsets", &format!("{}-rcl", cluster.name))
    };
    let (before, members) = (set(cluster)?, cluster.members()?);
    cluster.window("volumes grown", |cluster| {
        let size = Some(size);
        cluster.apply(&Spec {
            size,
            ..Spec::default()
        })?;
        cluster.up.wait("another StatefulSet", SCALED, || {
            Ok(set(cluster)?["metadata"]["uid"] != before["metadata"]["uid"])
        })?;
        cluster.wait_ready(SCALED)
    })?;
    let asked = set(cluster)?["spec"]["volumeClaimTemplates"][0]["spec"].take();
    ensure!(asked["resources"]["requests"]["storage"] == size, "{asked}");
    ensure!(cluster.members()? == members, "{members:?}");
    Ok(())
}

#[test]
fn volumes_grow_and_three_become_five_become_three_become_five() -> Result<()> {
    let mut cluster = Cluster::start("scaling", &Spec::default(), &[])?;
    grow(&mut cluster, "11Gi")?;
    let mut seen: BTreeSet<String> = identities(&cluster)?.into_values().collect();
    ensure!(seen.len() == 3);
    for members in [5u32, 3, 5] {
        cluster.window(&format!("scaled to {members}"), |cluster| {
            let target = format!("raftcluster/{}", cluster.name);
            cluster
                .up
                .run(&["scale", &target, "--replicas", &members.to_string()])?;
            cluster.up.wait(&format!("{members} members"), SCALED, || {
                Ok(cluster.members()?.len() == members as usize)
            })?;
            cluster.wait_ready(SCALED)?;
            cluster.refresh_endpoints()
        })?;
        let now = identities(&cluster)?;
        ensure!(now.len() == members as usize, "{now:?}");
        if members == 5 {
            let new: BTreeSet<String> = now
                .values()
                .filter(|id| !seen.contains(*id))
                .cloned()
                .collect();
            ensure!(new.len() == 2, "an identity was used twice: {now:?}");
            seen.extend(new);
        }
    }
    cluster.finish()
}

/// The folder of a member's volume.
fn volume(cluster: &Cluster, member: &str) -> Result<PathBuf> {
    std::fs::read_dir(cluster.state().join("volumes/default"))?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.to_string_lossy().ends_with(member))
        .context("the member's volume")
}

/// One bit of what it wrote first.
fn flip_a_bit(volume: &Path) -> Result<()> {
    let log = std::fs::read_dir(volume.join("log"))?.filter_map(Result::ok);
    let segments = log.map(|entry| entry.path());
    let segments = segments.filter(|path| path.extension().is_some_and(|end| end == "log"));
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(segments.min().context("a segment")?)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, 200)?;
    file.write_all_at(&[byte[0] ^ 8], 200)?;
    Ok(())
}

/// Kills a follower, whose disk fails in some way, and waits until its pod votes under another identity. The old one,
/// and the name.
fn fail_a_disk(
    cluster: &mut Cluster,
    fault: &str,
    fail: impl FnOnce(&Path, i32) -> Result<()>,
) -> Result<(String, String)> {
    let before = identities(cluster)?;
    let victim = cluster.follower()?;
    let folder = volume(cluster, &victim.name)?;
    cluster.window(fault, |cluster| {
        fail(&folder, victim.pid)?;
        cluster.up.wait("a new identity is a voter", SCALED, || {
            let now = identities(cluster)?;
            let known = now
                .get(&victim.name)
                .is_some_and(|id| *id != before[&victim.name]);
            Ok(known && now.len() == 3)
        })?;
        cluster.wait_ready(SCALED)
    })?;
    let after = identities(cluster)?;
    let same = after
        .iter()
        .filter(|(name, id)| before.get(*name) == Some(*id));
    ensure!(same.count() == 2, "{before:?} {after:?}");
    Ok((before[&victim.name].clone(), victim.name))
}

#[test]
fn a_member_whose_disk_fails_returns_as_another() -> Result<()> {
    let mut cluster = Cluster::start("lost", &Spec::default(), &[])?;
    fail_a_disk(
        &mut cluster,
        "member killed, its folder emptied",
        |folder, pid| {
            signal(pid, Signal::KILL)?;
            Ok(std::fs::remove_dir_all(folder)?)
        },
    )?;
    let flip = |folder: &Path, pid: i32| {
        // Held, since whoever supervises it starts it again at once.
        signal(pid, Signal::STOP)?;
        flip_a_bit(folder)?;
        signal(pid, Signal::KILL)
    };
    let (old, name) = fail_a_disk(&mut cluster, "member killed, a bit flipped", flip)?;
    let kept = volume(&cluster, &name)?.join(format!("removed-{old}"));
    ensure!(kept.join("log").is_dir(), "{}", kept.display());
    cluster.finish()
}
