//! A rolling upgrade, and a broken one.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use quorate_world::condition;
use serde_json::Value;

use super::cluster::{Cluster, DEADLINE, KIND, Spec, variant};

const UPGRADED: Duration = Duration::from_secs(180);
const NEXT: &str = "quorate.local/raft-cluster:next";
const BROKEN: &str = "quorate.local/raft-cluster:broken";
/// So often a broken build ends before it is clear that it does not spread.
const CRASHES: i64 = 3;

fn versions(cluster: &Cluster) -> Result<Vec<String>> {
    let resource = cluster.up.get(KIND, &cluster.name)?;
    let members = resource["status"]["members"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    Ok(members
        .iter()
        .filter_map(|m| m["version"].as_str().map(str::to_owned))
        .collect())
}

fn pods_with_image(cluster: &Cluster, image: &str) -> Result<usize> {
    let list: Value = serde_json::from_str(&cluster.up.run(&["get", "pods", "-o", "json"])?)?;
    let pods = list["items"].as_array().context("items")?;
    Ok(pods
        .iter()
        .filter(|p| p["spec"]["containers"][0]["image"] == image)
        .count())
}

#[test]
fn an_upgrade_to_a_second_build_and_a_broken_build_reverted() -> Result<()> {
    let next = format!("{NEXT}={}", variant("next").display());
    let broken = format!("{BROKEN}={}", variant("broken").display());
    let mut cluster = Cluster::start(
        "upgrade",
        &Spec::default(),
        &["--image", &next, "--image", &broken],
    )?;
    let old = versions(&cluster)?;
    ensure!(
        old.len() == 3 && old.iter().all(|v| *v == old[0]),
        "{old:?}"
    );

    let upgraded = Spec {
        image: Some(NEXT.into()),
        version: Some("0.2.0".into()),
        ..Spec::default()
    };
    cluster.window("upgraded", |cluster| {
        cluster.apply(&upgraded)?;
        cluster
            .up
            .wait("all three run the new build", UPGRADED, || {
                let now = versions(cluster)?;
                Ok(now.len() == 3 && now.iter().all(|v| v.starts_with("0.2.0")))
            })?;
        cluster.wait_ready(DEADLINE)
    })?;

    let bad = Spec {
        image: Some(BROKEN.into()),
        version: Some("0.3.0".into()),
        ..Spec::default()
    };
    cluster.window("broken upgrade", |cluster| {
        cluster.apply(&bad)?;
        cluster
            .up
            .wait("one pod has the broken build", DEADLINE, || {
                Ok(pods_with_image(cluster, BROKEN)? == 1)
            })?;
        cluster
            .up
            .wait("it crashes again and again", DEADLINE, || {
                Ok(cluster.restarts("upgrade-rcl-2")? >= CRASHES)
            })?;
        cluster.up.wait("Degraded names the pod", DEADLINE, || {
            let resource = cluster.up.get(KIND, &cluster.name)?;
            let found = condition(&resource, "Degraded");
            let (status, reason, words) = found.context("Degraded is not observed")?;
            let holds =
                status == "True" && reason == "UpgradeStopped" && words.contains("upgrade-rcl-2");
            ensure!(holds, "Degraded={status} {reason}: {words}");
            Ok(true)
        })?;
        cluster.wait_served()?;
        let spread = pods_with_image(cluster, BROKEN)?;
        ensure!(spread == 1, "{spread} pods have the broken build");
        Ok(())
    })?;

    cluster.window("reverted", |cluster| {
        cluster.apply(&upgraded)?;
        cluster
            .up
            .wait("no pod has the broken build", UPGRADED, || {
                Ok(pods_with_image(cluster, BROKEN)? == 0)
            })?;
        cluster.wait_ready(UPGRADED)
    })?;
    ensure!(versions(&cluster)?.iter().all(|v| v.starts_with("0.2.0")));
    cluster.finish()
}
