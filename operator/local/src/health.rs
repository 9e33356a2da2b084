//! A running process' health: its probes, asked in the background while it runs.
//!
//! A probe that has yet to succeed is asked more often than its period says: on one machine nobody has to be spared,
//! and a start need not take longer than it takes. Failures are counted by the period all the same.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::blueprint::Blueprint;
use crate::probe::{ProbeSpec, Verdict, ask};

/// How often a probe is asked that has yet to succeed.
const EAGER: Duration = Duration::from_millis(250);

/// What the probes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Health {
    /// The startup probe has succeeded once.
    pub started: bool,
    /// The readiness probe's verdict.
    pub ready: bool,
    /// False: the startup or liveness probe gave the process up.
    pub alive: bool,
}

/// The probes of one process; they end when this is dropped.
#[derive(Debug)]
pub(crate) struct Prober {
    health: watch::Receiver<Health>,
    task: JoinHandle<()>,
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Prober {
    /// Begins to probe; `known` is what an earlier `up` had found out about a process that was adopted.
    pub fn start(blueprint: &Blueprint, known: Option<Health>) -> Self {
        let initial = known.unwrap_or(Health {
            started: false,
            ready: false,
            alive: true,
        });
        let (sender, health) = watch::channel(initial);
        let (address, startup) = (blueprint.address, blueprint.startup.clone());
        let (liveness, readiness) = (blueprint.liveness.clone(), blueprint.readiness.clone());
        let task = tokio::spawn(async move {
            if let Some(spec) = startup.filter(|_| !initial.started) {
                let started = first_success(address, &spec).await;
                if !started {
                    sender.send_modify(|health| health.alive = false);
                    return;
                }
            }
            sender.send_modify(|health| health.started = true);
            tokio::join!(
                watch_liveness(address, liveness, &sender),
                watch_readiness(address, readiness, &sender)
            );
        });
        Self { health, task }
    }

    /// What holds now.
    pub fn health(&self) -> Health {
        *self.health.borrow()
    }

    /// Waits for the next change.
    pub async fn changed(&mut self) {
        if self.health.changed().await.is_err() {
            // The verdict is final: given up, or nothing to probe.
            std::future::pending::<()>().await;
        }
    }
}

async fn first_success(address: Ipv4Addr, spec: &ProbeSpec) -> bool {
    sleep(spec.initial_delay).await;
    let deadline = Instant::now() + spec.period * spec.failure_threshold;
    while Instant::now() < deadline {
        if ask(address, spec).await {
            return true;
        }
        sleep(EAGER.min(spec.period)).await;
    }
    false
}

async fn watch_liveness(
    address: Ipv4Addr,
    spec: Option<ProbeSpec>,
    health: &watch::Sender<Health>,
) {
    let Some(spec) = spec else { return };
    sleep(spec.initial_delay).await;
    let mut verdict = Verdict::new(&spec, true);
    while verdict.judge(ask(address, &spec).await) {
        sleep(spec.period).await;
    }
    health.send_modify(|health| health.alive = false);
}

async fn watch_readiness(
    address: Ipv4Addr,
    spec: Option<ProbeSpec>,
    health: &watch::Sender<Health>,
) {
    let Some(spec) = spec else {
        return health.send_modify(|health| health.ready = true);
    };
    sleep(spec.initial_delay).await;
    let mut verdict = Verdict::new(&spec, health.borrow().ready);
    loop {
        let ready = verdict.judge(ask(address, &spec).await);
        health.send_if_modified(|health| std::mem::replace(&mut health.ready, ready) != ready);
        sleep(if ready {
            spec.period
        } else {
            EAGER.min(spec.period)
        })
        .await;
    }
}
