//! The load: connections that each have one request under way, in a closed or an open loop.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use hdrhistogram::Histogram;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::usage;

/// When the next request leaves.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// As soon as the last was answered.
    Closed,
    /// By the clock; a late one is measured from when it should have left (no coordinated omission).
    Open {
        /// Requests per second over all clients.
        per_second: f64,
    },
}

/// What to send.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub clients: usize,
    pub write: bool,
    pub value_bytes: usize,
    pub pace: Pace,
}

/// What came of it.
pub struct Report {
    load: Load,
    took: Duration,
    latency_us: Histogram<u64>,
    failed: u64,
    /// Of the members, where their processes are known: CPU of all, and the largest RSS in bytes.
    used: Option<(Duration, u64)>,
}

const KEYS: u64 = 10_000;
const WARM_UP: Duration = Duration::from_millis(500);

impl Load {
    /// Runs it against these members and watches their processes.
    pub async fn run(self, endpoints: &[String], pids: &[i32], time: Duration) -> Result<Report> {
        let mut connections = Vec::new();
        for client in 0..self.clients {
            connections.push(connect(&endpoints[client % endpoints.len()]).await?);
        }
        let start = Instant::now() + WARM_UP;
        let end = start + time;
        let tasks: Vec<_> = connections
            .into_iter()
            .enumerate()
            .map(|(i, connection)| tokio::spawn(self.client(i, connection, start, end)))
            .collect();
        tokio::time::sleep_until(start.into()).await;
        let cpu_before = usage::cpu(pids)?;
        tokio::time::sleep_until(end.into()).await;
        let used = usage::cpu(pids)?.saturating_sub(cpu_before);
        let mut latency_us = Histogram::new(3)?;
        let mut failed = 0;
        for task in tasks {
            let (one, bad) = task.await??;
            latency_us.add(one)?;
            failed += bad;
        }
        Ok(Report {
            load: self,
            took: time,
            latency_us,
            failed,
            used: match pids {
                [] => None,
                pids => Some((used, usage::rss_max(pids)?)),
            },
        })
    }

    async fn client(
        self,
        number: usize,
        (host, mut connection): (String, SendRequest<Full<Bytes>>),
        start: Instant,
        end: Instant,
    ) -> Result<(Histogram<u64>, u64)> {
        let mut rng = fastrand::Rng::with_seed(number as u64);
        let value = Bytes::from(vec![b'v'; self.value_bytes]);
        let mut latency = Histogram::<u64>::new(3)?;
        let mut failed = 0;
        let mut sent = 0u64;
        loop {
            let mut from = Instant::now();
            if let Pace::Open { per_second } = self.pace {
                let every = self.clients as f64 / per_second;
                let phase = number as f64 / per_second;
                from = start - WARM_UP + Duration::from_secs_f64(phase + every * sent as f64);
                tokio::time::sleep_until(from.into()).await;
            }
            if from >= end {
                return Ok((latency, failed));
            }
            sent += 1;
            let ok = self
                .one(&host, &mut connection, rng.u64(..KEYS), &value)
                .await?;
            // The slowest count too: what was sent within the time is waited for.
            if from >= start {
                if ok {
                    latency.record(from.elapsed().as_micros() as u64)?;
                } else {
                    failed += 1;
                }
            }
        }
    }

    async fn one(
        &self,
        host: &str,
        connection: &mut SendRequest<Full<Bytes>>,
        key: u64,
        value: &Bytes,
    ) -> Result<bool> {
        let (method, body) = if self.write {
            (Method::PUT, value.clone())
        } else {
            (Method::GET, Bytes::new())
        };
        let request = Request::builder()
            .method(method)
            .uri(format!("/kv/k{key:07}"))
            .header(header::HOST, host)
            .body(Full::new(body))?;
        connection.ready().await?;
        let response = connection.send_request(request).await?;
        let status = response.status();
        response.into_body().collect().await?;
        // A read of a key that no write has come to yet is an answer too.
        Ok(status.is_success() || (!self.write && status == http::StatusCode::NOT_FOUND))
    }
}

async fn connect(endpoint: &str) -> Result<(String, SendRequest<Full<Bytes>>)> {
    let host = endpoint
        .strip_prefix("http://")
        .context("the bench speaks plain HTTP")?
        .to_owned();
    let stream = TcpStream::connect(&host)
        .await
        .with_context(|| format!("cannot connect to {host}"))?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    ensure!(!sender.is_closed(), "{host} closed the connection at once");
    Ok((host, sender))
}

impl Report {
    /// Answers per second.
    pub fn per_second(&self) -> f64 {
        self.latency_us.len() as f64 / self.took.as_secs_f64()
    }

    /// What the columns of [`Report::line`] are.
    pub fn header() -> String {
        format!(
            "{:<6} {:<7} {:>7} {:>9} {:>8} {:>8} {:>8} {:>11} {:>9} {:>6}",
            "what",
            "loop",
            "clients",
            "per s",
            "p50 ms",
            "p99 ms",
            "max ms",
            "CPU us/op",
            "RSS MB",
            "failed"
        )
    }

    /// One line of the report: CPU is the three members' together, RSS the largest of them.
    pub fn line(&self) -> String {
        let ms = |q| self.latency_us.value_at_quantile(q) as f64 / 1000.0;
        let per_answer = 1e6 / (self.latency_us.len().max(1) as f64);
        let [cpu, rss] = match self.used {
            Some((cpu, rss)) => [cpu.as_secs_f64() * per_answer, rss as f64 / 1e6]
                .map(|figure| format!("{figure:.1}")),
            None => ["-", "-"].map(str::to_owned),
        };
        let pace = match self.load.pace {
            Pace::Closed => "closed".to_owned(),
            Pace::Open { per_second } => format!("{per_second:.0}/s"),
        };
        format!(
            "{:<6} {:<7} {:>7} {:>9.0} {:>8.2} {:>8.2} {:>8.2} {:>11} {:>9} {:>6}",
            if self.load.write { "write" } else { "read" },
            pace,
            self.load.clients,
            self.per_second(),
            ms(0.5),
            ms(0.99),
            self.latency_us.max() as f64 / 1000.0,
            cpu,
            rss,
            self.failed
        )
    }
}
