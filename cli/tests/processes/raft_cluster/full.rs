//! The disk of all members full to the last byte, and space again; and one that is short of a log's whole segment.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use quorate_world::{condition, signal};
use rustix::process::Signal;
use serde_json::Value;

use super::cluster::{Cluster, DEADLINE, KIND, Spec};

const CAPACITY_BYTES: u64 = 4 << 30;
/// What a segment of a member's log takes when there is room: the default of quorate_group_core::Config.
const SEGMENT_BYTES: u64 = 64 << 20;
/// Above the reserve, so that writes are taken; not room for a segment of each of the three members.
const SHORT_BYTES: u64 = 112 << 20;

/// Status and body of a request to a member, by curl.
fn curl(arguments: &[&str]) -> Result<(String, String)> {
    let output = Command::new("curl")
        .args(["-sS", "--max-time", "10", "-w", "\n%{http_code}"])
        .args(arguments)
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{arguments:?}: {said}");
    let text = String::from_utf8(output.stdout)?;
    let (body, status) = text.rsplit_once('\n').context("a status")?;
    Ok((status.to_owned(), body.to_owned()))
}

#[test]
fn a_full_disk_refuses_writes_serves_reads_and_loses_nothing() -> Result<()> {
    let spec = Spec::default();
    let (mut cluster, disk) = Cluster::start_on_disk("full", &spec, &[], CAPACITY_BYTES)?;
    let result = cluster.outage("no space on any disk, the leader killed", |cluster| {
        let endpoints = cluster.up.endpoints(KIND, &cluster.name)?;
        let url = |endpoint: &String| format!("{endpoint}/kv/full");
        let first = url(endpoints.first().context("an endpoint")?);
        let put = curl(&["-X", "PUT", "--data", "before", &first])?;
        ensure!(put.0 == "201", "{put:?}");
        disk.set_capacity(0);
        for endpoint in &endpoints {
            let put = ["-X", "PUT", "--data", "", &format!("{endpoint}/kv/probe")];
            cluster.up.wait("writes are refused", DEADLINE, || {
                let (status, body) = curl(&put)?;
                ensure!(
                    status == "503" && body.contains("/disk-full"),
                    "{status} {body}"
                );
                Ok(true)
            })?;
            let read = curl(&[&url(endpoint)])?;
            ensure!(read == ("200".into(), "before".into()), "{read:?}");
        }
        let told = |resource: &Value| {
            condition(resource, "Degraded")
                .is_some_and(|(status, reason, _)| (status, reason) == ("True", "DiskFull"))
        };
        cluster.up.wait("the resource says so", DEADLINE, || {
            Ok(told(&cluster.up.get(KIND, &cluster.name)?))
        })?;

        // A member that dies now finds a full disk at its start; the other two elect, and serve reads.
        let old = cluster.leader()?;
        let restarts = cluster.restarts(&old.name)?;
        signal(old.pid, Signal::KILL)?;
        cluster.up.wait("another leads", DEADLINE, || {
            Ok(cluster.leader()?.name != old.name)
        })?;
        cluster.up.wait("it tries more than once", DEADLINE, || {
            Ok(cluster.restarts(&old.name)? >= restarts + 2)
        })?;
        for member in cluster
            .members()?
            .into_values()
            .filter(|m| m.name != old.name)
        {
            let read = curl(&[&format!("http://{}:7070/kv/full", member.address)])?;
            ensure!(read == ("200".into(), "before".into()), "{read:?}");
        }

        disk.set_capacity(CAPACITY_BYTES);
        cluster.wait_restarted(&[old])?;
        cluster.wait_ready(DEADLINE)?;
        ensure!(!told(&cluster.up.get(KIND, &cluster.name)?));
        let read = curl(&[&first])?;
        ensure!(read == ("200".into(), "before".into()), "{read:?}");
        Ok(())
    });
    cluster.finish_after(result)
}

/// Sizes of the segments of all members' logs.
fn segments(folder: &Path) -> Result<Vec<u64>> {
    let mut sizes = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // What was there a moment ago may be a log's file that was dropped meanwhile.
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        let name = entry.file_name();
        let is_segment = name.to_str().and_then(|name| name.strip_suffix(".log"));
        if metadata.is_dir() {
            sizes.extend(segments(&entry.path())?);
        } else if is_segment.is_some_and(|name| name.len() == 20) {
            sizes.push(metadata.len());
        }
    }
    Ok(sizes)
}

#[test]
fn a_log_that_rolls_on_a_short_disk_gets_a_smaller_segment_and_nobody_ends() -> Result<()> {
    let spec = Spec::default();
    let (mut cluster, disk) = Cluster::start_on_disk("short", &spec, &[], CAPACITY_BYTES)?;
    let large = cluster.state().join("large");
    std::fs::write(&large, vec![7; 1 << 20])?;
    let large = format!("@{}", large.display());
    let result = cluster.window("logs roll on a short disk", |cluster| {
        let before = cluster.members()?;
        let endpoint = cluster.up.endpoints(KIND, &cluster.name)?.remove(0);
        let url = format!("{endpoint}/kv/large");
        cluster.up.wait("a smaller segment", DEADLINE, || {
            // Other files grow too: the disk is as short again before every write.
            disk.set_capacity(disk.used() + SHORT_BYTES);
            curl(&["-X", "PUT", "--data-binary", &large, &url])?;
            Ok(segments(disk.path())?
                .iter()
                .any(|size| (1..SEGMENT_BYTES).contains(size)))
        })?;
        disk.set_capacity(CAPACITY_BYTES);
        cluster.wait_ready(DEADLINE)?;
        ensure!(cluster.members()? == before, "{before:?}");
        Ok(())
    });
    cluster.finish_after(result)
}
