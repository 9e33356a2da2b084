//! `cargo xtask bench raft-cluster`: what three members on this machine do, with the disk probed before and after.
//! Benchmarks are no tests: nothing here asserts a speed.

mod load;
mod probe;
mod usage;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use quorate_world::{ClientOptions, Clients, Up, signal};
use rustix::process::Signal;

use load::{Load, Pace, Report};

use crate::say::say;

const KIND: &str = "raftclusters";
const NAME: &str = "demo";
/// Rates of the open loops, as shares of what the closed one reached.
const OPEN_LOOP_SHARES: [f64; 2] = [0.5, 0.8];
/// Longer than any election takes.
const AFTER_A_KILL: Duration = Duration::from_secs(8);
const DEADLINE: Duration = Duration::from_secs(60);

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// Three members of a RaftCluster under closed and open loops, and failover times.
    #[command(
        after_help = "Example:\n  cargo xtask bench raft-cluster --seconds 10 --clients 1,100 --failovers 5"
    )]
    RaftCluster(Options),
}

/// How to measure.
#[derive(Debug, Args)]
pub struct Options {
    /// Seconds of each block.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Numbers of clients, each with one request under way.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64, 100, 256])]
    clients: Vec<usize>,
    /// Bytes of each value; keys have 8.
    #[arg(long, default_value_t = 256)]
    value_bytes: usize,
    /// How many times the leader is killed.
    #[arg(long, default_value_t = 20)]
    failovers: usize,
    /// Measures members that run already, at these URLs for clients, and neither kills nor looks into them.
    #[arg(long, value_name = "URL,...", value_delimiter = ',')]
    endpoints: Vec<String>,
    /// Where the report goes as well.
    #[arg(long)]
    output: Option<PathBuf>,
}

impl Bench {
    /// Runs it.
    pub fn run(&self, root: &Path) -> Result<()> {
        let Self::RaftCluster(options) = self;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let text = raft_cluster(root, options, &runtime)?;
        if let Some(path) = &options.output {
            std::fs::write(path, &text)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

/// A report that is printed while it grows.
struct Out(String);

impl Out {
    fn line(&mut self, line: &str) -> Result<()> {
        self.0 += line;
        self.0.push('\n');
        say(line)
    }
}

fn raft_cluster(
    root: &Path,
    options: &Options,
    runtime: &tokio::runtime::Runtime,
) -> Result<String> {
    let release = crate::release_folder()?;
    // Beside the binaries: the same disk as a user's, and not a tmpfs.
    let folder = tempfile::Builder::new()
        .prefix("bench-")
        .tempdir_in(&release)?;
    let mut out = Out(String::new());
    out.line(&format!(
        "RaftCluster, 3 members, {} cores, fsync on, 8 B keys, {} B values, requests spread over the members",
        std::thread::available_parallelism()?,
        options.value_bytes
    ))?;
    out.line(&probe::fsync(folder.path(), "before")?)?;
    if options.endpoints.is_empty() {
        let resource = root.join("examples/raft-cluster.yaml");
        let up = Up::start(
            &release.join("quorate"),
            &folder.path().join("s"),
            &["-f", resource.to_str().context("a path in UTF-8")?],
        )?;
        up.wait_ready(KIND, NAME, DEADLINE)?;
        let endpoints = up.endpoints(KIND, NAME)?;
        let pids: Vec<i32> = up.members()?.iter().map(|m| m.pid).collect();
        loops(options, &endpoints, &pids, runtime, &mut out)?;
        out.line(&commits(&up)?)?;
        failovers(options.failovers, &up, runtime, &mut out)?;
    } else {
        loops(options, &options.endpoints, &[], runtime, &mut out)?;
    }
    out.line(&probe::fsync(folder.path(), "after")?)?;
    Ok(out.0)
}

/// Writes, then reads, by each number of clients.
fn loops(
    options: &Options,
    endpoints: &[String],
    pids: &[i32],
    runtime: &tokio::runtime::Runtime,
    out: &mut Out,
) -> Result<()> {
    out.line(&Report::header())?;
    for write in [true, false] {
        for clients in &options.clients {
            let mut run = |pace| -> Result<f64> {
                let load = Load {
                    clients: *clients,
                    write,
                    value_bytes: options.value_bytes,
                    pace,
                };
                let time = Duration::from_secs(options.seconds);
                let report = runtime.block_on(load.run(endpoints, pids, time))?;
                out.line(&report.line())?;
                Ok(report.per_second())
            };
            let reached = run(Pace::Closed)?;
            // Below what the closed loop reached, an open one shows the latency that a queue does not hide.
            for share in OPEN_LOOP_SHARES {
                run(Pace::Open {
                    per_second: reached * share,
                })?;
            }
        }
    }
    Ok(())
}

/// The leader's own account, over the whole run: from appending an entry to knowing it committed.
fn commits(up: &Up) -> Result<String> {
    let leader = up.leader(KIND, NAME, DEADLINE)?;
    let url = format!("http://{}:7073/metrics", leader.address);
    let output = Command::new("curl").args(["-sSf", &url]).output()?;
    ensure!(output.status.success(), "cannot read {url}");
    let text = String::from_utf8(output.stdout)?;
    let value = |name: &str| -> Result<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let value = line.with_context(|| format!("{url} has no {name}"))?;
        Ok(value.trim().parse()?)
    };
    let sum = value("quorate_group_commit_seconds_sum")?;
    let count = value("quorate_group_commit_seconds_count")?;
    Ok(format!(
        "commits of {}: {count} rounds, {:.2} ms on average",
        leader.name,
        sum * 1e3 / count.max(1.0)
    ))
}

/// Kills the leader again and again; the time without writes that eight clients see each time.
fn failovers(
    count: usize,
    up: &Up,
    runtime: &tokio::runtime::Runtime,
    out: &mut Out,
) -> Result<()> {
    if count == 0 {
        return Ok(());
    }
    let endpoints = up.endpoints(KIND, NAME)?;
    let clients =
        runtime.block_on(async { Clients::start(endpoints, ClientOptions::default()) })?;
    let mut gaps = Vec::new();
    for _ in 0..count {
        up.wait_ready(KIND, NAME, DEADLINE)?;
        std::thread::sleep(Duration::from_secs(1));
        let leader = up.leader(KIND, NAME, DEADLINE)?;
        let from = clients.recorder().now();
        signal(leader.pid, Signal::KILL)?;
        std::thread::sleep(AFTER_A_KILL);
        gaps.push(
            clients
                .recorder()
                .longest_without_writes(from, clients.recorder().now()) as f64
                / 1e6,
        );
    }
    runtime.block_on(clients.stop());
    gaps.sort_by(f64::total_cmp);
    out.line(&format!(
        "{count} leader kills (SIGKILL): seconds without writes min {:.2}, median {:.2}, max {:.2}",
        gaps[0],
        gaps[count / 2],
        gaps[count - 1]
    ))
}
