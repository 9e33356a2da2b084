//! What 200 RaftClusters cost the operator, on simulated pods: a measurement, which asserts no speed.
//!
//! `cargo test --release --locked --workspace --test kubernetes -- --ignored --nocapture many` (as root; about four minutes).

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, PostParams};
use kube::{Api, Client};
use quorate_world::condition;
use serde_json::json;
use tokio::time::sleep;

use crate::cluster::{Cluster, Running, skipped, turn};
use crate::demo::curl;
use crate::install::definitions_are_installed;
use crate::objects::config;
use crate::simulated::{CLASS, Kubelet, SCHEDULER};

#[path = "../../src/bench/usage.rs"]
mod usage;

const CLUSTERS: usize = 200;
/// How long the operator is watched while nothing happens.
const IDLE: Duration = Duration::from_secs(60);
/// What is under way comes to its end.
const SETTLES: Duration = Duration::from_secs(15);
/// Against hangs.
const DEADLINE: Duration = Duration::from_secs(900);
const LISTEN: &str = "127.77.0.1:8080";

#[test]
#[ignore = "a measurement: by name"]
fn many_clusters_cost_so_much() -> Result<()> {
    let _turn = turn();
    if skipped("nodes and pods are simulated") {
        return Ok(());
    }
    let cluster = Running::up()?;
    definitions_are_installed(&cluster)?;
    tokio::runtime::Runtime::new()?.block_on(measure(&cluster))
}

async fn measure(cluster: &Cluster) -> Result<()> {
    let client = Client::try_from(config(&cluster.kubeconfig).await?)?;
    let _kubelet = Kubelet::start(&client).await?;
    let operator = Operator::start(&cluster.kubeconfig)?;
    let kind = GroupVersionKind::gvk("quorate.dev", "v1alpha1", "RaftCluster");
    let resources = Api::namespaced_with(client, "default", &ApiResource::from_gvk(&kind));

    for count in [1, CLUSTERS] {
        let begun = Instant::now();
        make(&resources, count).await?;
        let made = begun.elapsed().as_secs_f64();
        wait_ready(&resources, count).await?;
        println!(
            "{count} clusters of 3: created in {made:.1} s, all Ready after {:.1} s",
            begun.elapsed().as_secs_f64()
        );
        sleep(SETTLES).await;
        let rss = operator.rss()?;
        let (before, used) = (requests()?, operator.cpu()?);
        sleep(IDLE).await;
        let (after, used) = (requests()?, operator.cpu()? - used);
        println!(
            "{count} clusters, idle for {} s: {:.4} s of CPU a second, RSS {:.1} MiB before and {:.1} MiB after",
            IDLE.as_secs(),
            used.as_secs_f64() / IDLE.as_secs_f64(),
            mebibytes(rss),
            mebibytes(operator.rss()?)
        );
        for (request, total) in after {
            let made = total - before.get(&request).copied().unwrap_or(0.0);
            if made > 0.0 {
                println!("  {request}: {:.3} a second", made / IDLE.as_secs_f64());
            }
        }
    }
    Ok(())
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The shipped binary, in a process of its own.
struct Operator(Child);

impl Drop for Operator {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Operator {
    fn start(kubeconfig: &Path) -> Result<Self> {
        let program = Path::new(env!("CARGO_BIN_EXE_quorate-xtask"));
        let program = program.with_file_name("quorate-operator");
        let child = Command::new(&program)
            .args(["--identity", "many", "--lease-namespace", "default"])
            .args(["--listen", LISTEN, "--log", "warn"])
            .env("KUBECONFIG", kubeconfig)
            .stdin(Stdio::null())
            .spawn();
        Ok(Self(child.with_context(|| {
            format!("{}: build it first", program.display())
        })?))
    }

    fn pid(&self) -> [i32; 1] {
        [i32::try_from(self.0.id()).unwrap()]
    }

    fn cpu(&self) -> Result<Duration> {
        usage::cpu(&self.pid())
    }

    fn rss(&self) -> Result<u64> {
        usage::rss_max(&self.pid())
    }
}

/// Requests to the API server since the operator began, by verb and resource.
fn requests() -> Result<BTreeMap<String, f64>> {
    let metrics = curl(&[&format!("http://{LISTEN}/metrics")])?;
    let mut sums = BTreeMap::new();
    for line in metrics.lines() {
        let Some(line) = line.strip_prefix("quorate_operator_api_requests_total{") else {
            continue;
        };
        let (labels, value) = line.rsplit_once("} ").context("a sample")?;
        let label = |name: &str| {
            let value = labels.split_once(&format!("{name}=\"")).map(|it| it.1);
            value.and_then(|value| value.split('"').next())
        };
        let request = label("verb").zip(label("resource")).context("labels")?;
        *sums
            .entry(format!("{} {}", request.0, request.1))
            .or_default() += value.parse::<f64>()?;
    }
    Ok(sums)
}

/// Creates those that are missing to so many.
async fn make(resources: &Api<DynamicObject>, count: usize) -> Result<()> {
    let there = resources.list(&ListParams::default()).await?.items.len();
    for number in there..count {
        let resource = serde_json::from_value(json!({
            "apiVersion": "quorate.dev/v1alpha1", "kind": "RaftCluster",
            "metadata": { "name": format!("demo-{number}") },
            "spec": {
                "members": 3, "storage": { "storageClassName": CLASS },
                "podOverrides": { "spec": { "schedulerName": SCHEDULER } },
            },
        }))?;
        resources.create(&PostParams::default(), &resource).await?;
    }
    Ok(())
}

async fn wait_ready(resources: &Api<DynamicObject>, count: usize) -> Result<()> {
    let begun = Instant::now();
    let wait = async {
        loop {
            let list = resources.list(&ListParams::default()).await?;
            let list = serde_json::to_value(list.items)?;
            let ready = list.as_array().into_iter().flatten();
            let ready = ready
                .filter_map(|resource| condition(resource, "Ready"))
                .filter(|ready| ready.0 == "True")
                .count();
            if ready == count {
                return anyhow::Ok(());
            }
            eprintln!("{:.0} s: {ready} Ready", begun.elapsed().as_secs_f64());
            sleep(Duration::from_millis(if count == 1 { 100 } else { 1000 })).await;
        }
    };
    tokio::time::timeout(DEADLINE, wait)
        .await
        .context("not all became Ready")?
}
