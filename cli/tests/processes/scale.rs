//! Scaling, and a member that lost its disk.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use quorate_world::signal;
use rustix::process::Signal;

use crate::cluster::{Cluster, KIND, Spec};

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
    let set = |cluster: &Cluster| cluster.up.get("statefulsets", &cluster.name);
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

#[test]
fn a_member_that_lost_its_disk_returns_as_another() -> Result<()> {
    let mut cluster = Cluster::start("lost", &Spec::default(), &[])?;
    let before = identities(&cluster)?;
    let victim = cluster.follower()?;
    let claim = std::fs::read_dir(cluster.state().join("volumes/default"))?
        .filter_map(Result::ok)
        .find(|e| e.file_name().to_string_lossy().ends_with(&victim.name))
        .context("the member's volume")?;
    cluster.window("member killed and its folder emptied", |cluster| {
        signal(victim.pid, Signal::KILL)?;
        std::fs::remove_dir_all(claim.path())?;
        cluster.up.wait("a new identity is a voter", SCALED, || {
            let now = identities(cluster)?;
            let known = now
                .get(&victim.name)
                .is_some_and(|id| *id != before[&victim.name]);
            Ok(known && now.len() == 3)
        })?;
        cluster.wait_ready(SCALED)
    })?;
    let after = identities(&cluster)?;
    ensure!(
        after
            .iter()
            .filter(|(name, id)| before.get(*name) == Some(*id))
            .count()
            == 2,
        "{before:?} {after:?}"
    );
    cluster.finish()
}
