//! `cargo xtask bench raft-cluster`: what three members on this machine do, with the disk probed before and after.
//! Benchmarks are no tests: nothing here asserts a speed.

mod load;
mod probe;
mod usage;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use quorate_world::{ClientOptions, Clients, Up, signal};
use rustix::process::Signal;

use load::{Load, Pace, Report};

const KIND: &str = "raftclusters";
const NAME: &str = "demo";
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
        Ok(writeln!(std::io::stdout(), "{line}")?)
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
    let resource = root.join("examples/raft-cluster.yaml");
    let up = Up::start(
        &release.join("quorate"),
        &folder.path().join("s"),
        &["-f", resource.to_str().context("a path in UTF-8")?],
    )?;
    up.wait_ready(KIND, NAME, DEADLINE)?;
    let endpoints = up.endpoints(KIND, NAME)?;
    let pids: Vec<i32> = up.members()?.iter().map(|m| m.pid).collect();
    out.line(&Report::header())?;
    let mut at_100 = None;
    for write in [true, false] {
        for clients in &options.clients {
            let load = Load {
                clients: *clients,
                write,
                value_bytes: options.value_bytes,
                pace: Pace::Closed,
            };
            let report = runtime.block_on(load.run(
                &endpoints,
                &pids,
                Duration::from_secs(options.seconds),
            ))?;
            if write && *clients >= 100 && at_100.is_none() {
                at_100 = Some(report.per_second());
            }
            out.line(&report.line())?;
        }
    }
    // An open loop at half of what the closed one reached shows the latency that a queue does not hide.
    for share in [0.5, 0.8] {
        let Some(rate) = at_100.map(|r| r * share) else {
            break;
        };
        let pace = Pace::Open { per_second: rate };
        let load = Load {
            clients: 256,
            write: true,
            value_bytes: options.value_bytes,
            pace,
        };
        out.line(
            &runtime
                .block_on(load.run(&endpoints, &pids, Duration::from_secs(options.seconds)))?
                .line(),
        )?;
    }
    failovers(options.failovers, &up, runtime, &mut out)?;
    drop(up);
    out.line(&probe::fsync(folder.path(), "after")?)?;
    Ok(out.0)
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
    let clients = runtime.block_on(async { Clients::start(endpoints, ClientOptions::default()) });
    let mut gaps = Vec::new();
    for _ in 0..count {
        up.wait_ready(KIND, NAME, DEADLINE)?;
        std::thread::sleep(Duration::from_secs(1));
        let leader = up.leader(KIND, NAME, DEADLINE)?;
        let from = clients.recorder().now();
        signal(leader.pid, Signal::KILL)?;
        let end = Instant::now() + Duration::from_secs(8);
        while Instant::now() < end {
            std::thread::sleep(Duration::from_millis(50));
        }
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
