//! `quorate up` itself killed, and started where one was before; groups side by side.

use std::collections::BTreeSet;
use std::net::{IpAddr, TcpListener};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use quorate_world::Up;
use rustix::process::Signal;

use super::cluster::{Cluster, DEADLINE, KIND, Spec, manifest, quorate};

/// Of the listeners that every member has.
const PEER_PORT: u16 = 7071;

#[test]
fn members_outlive_a_killed_up_and_are_adopted() -> Result<()> {
    let mut cluster = Cluster::start("adopted", &Spec::default(), &[])?;
    let before = cluster.members()?;
    cluster.window("quorate up killed and started again", |cluster| {
        cluster.up.stop(Signal::KILL, DEADLINE)?;
        let refused = cluster.up.get(KIND, &cluster.name).unwrap_err().to_string();
        ensure!(
            refused.contains("supervis"),
            "without an up it must say that nothing supervises: {refused}"
        );
        cluster.wait_served()?;
        cluster.up.start_again()?;
        cluster.wait_ready(DEADLINE)
    })?;
    ensure!(
        cluster.members()? == before,
        "{before:?} {:?}",
        cluster.members()?
    );
    cluster.finish()
}

/// What a `quorate up` says that ends by itself, as it must.
fn refused(quorate: &Path, cluster: &Cluster) -> Result<String> {
    let output = Command::new(quorate)
        .arg("up")
        .env("QUORATE_STATE_DIR", cluster.state())
        .env("PATH", "/none")
        .output()?;
    ensure!(output.status.code() == Some(1), "{:?}", output.status);
    let said = String::from_utf8(output.stdout)?;
    ensure!(!said.contains("is ready"), "greeted: {said}");
    Ok(String::from_utf8(output.stderr)?)
}

#[test]
fn an_up_that_finds_a_ready_resource_believes_only_what_it_sees() -> Result<()> {
    let spec = Spec {
        members: 1,
        ..Spec::default()
    };
    let mut cluster = Cluster::start("again", &spec, &[])?;
    let member = cluster.leader()?;
    cluster.outage("stopped, refused twice, started again", |cluster| {
        let ended = cluster.up.stop(Signal::TERM, DEADLINE)?;
        ensure!(ended.success(), "{ended}");

        let taken = TcpListener::bind((member.address, PEER_PORT))?;
        let said = refused(&quorate(), cluster)?;
        let (port, address) = (PEER_PORT.to_string(), member.address.to_string());
        ensure!(said.contains(&port) && said.contains(&address), "{said}");
        drop(taken);

        // A copy of `quorate` in a folder of its own has no members beside it.
        let alone = cluster.state().with_file_name("quorate");
        std::fs::copy(quorate(), &alone)?;
        let said = refused(&alone, cluster)?;
        ensure!(said.contains("no binary for image"), "{said}");

        cluster.up.start_again()?;
        cluster.wait_ready(DEADLINE)?;
        ensure!(cluster.leader()?.pid != member.pid);
        cluster.refresh_endpoints()
    })?;
    cluster.finish()
}

/// Writes the group's own name through its first member, and reads it from all of them.
fn has_its_own_data(up: &Up, name: &str, mark: &str) -> Result<BTreeSet<IpAddr>> {
    let endpoints = up.endpoints(KIND, name)?;
    let curl = |arguments: &[&str]| -> Result<String> {
        let output = Command::new("curl")
            .args(["-sSf", "--max-time", "10"])
            .args(arguments)
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{arguments:?}: {said}");
        Ok(String::from_utf8(output.stdout)?)
    };
    let url = |endpoint: &String| format!("{endpoint}/kv/whose");
    let first = endpoints.first().context("an endpoint")?;
    curl(&["-X", "PUT", "--data", mark, &url(first)])?;
    for endpoint in &endpoints {
        let read = curl(&[&url(endpoint)])?;
        ensure!(read == mark, "{endpoint} of {name}: {read}");
    }
    let address = |endpoint: &String| -> Result<IpAddr> {
        let (host, _) = endpoint
            .trim_start_matches("http://")
            .rsplit_once(':')
            .context("a URL with a port")?;
        Ok(host.parse()?)
    };
    endpoints.iter().map(address).collect()
}

#[test]
fn groups_do_not_collide_in_one_up_nor_in_two() -> Result<()> {
    let mut cluster = Cluster::start("side", &Spec::default(), &[])?;
    cluster.window("two more groups came and went", |cluster| {
        let file = cluster.state().with_file_name("beside.yaml");
        let path = file.to_str().context("a path in UTF-8")?;
        std::fs::write(&file, manifest("beside", &Spec::default()))?;
        cluster.up.run(&["apply", "-f", path])?;
        // The same name in a folder of its own.
        std::fs::write(&file, manifest("side", &Spec::default()))?;
        let elsewhere = cluster.state().with_file_name("elsewhere");
        let other = Up::start(&quorate(), &elsewhere, &["-f", path])?;
        cluster.up.wait_ready(KIND, "beside", DEADLINE)?;
        other.wait_ready(KIND, "side", DEADLINE)?;

        let groups = [
            has_its_own_data(&cluster.up, "side", "first")?,
            has_its_own_data(&cluster.up, "beside", "second")?,
            has_its_own_data(&other, "side", "third")?,
        ];
        let all: BTreeSet<_> = groups.iter().flatten().collect();
        ensure!(all.len() == 9, "addresses are shared: {groups:?}");

        cluster.up.run(&["delete", KIND, "beside"])?;
        cluster.up.wait("only one group is left", DEADLINE, || {
            Ok(cluster.members()?.len() == 3)
        })
    })?;
    cluster.finish()
}
