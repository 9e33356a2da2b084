//! Clients on a resource throughout a test, the windows in which faults are measured, and the judgement of it all.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::runtime::Runtime;

use crate::{AtWork, Workload};

/// So many writes must be acknowledged before the first fault, and after each.
const WRITES: usize = 250;
/// The same in the soak: some ten seconds of them.
const WRITES_OF_SOAK: usize = 5_000;
/// The deadline against hangs: the longest time without writes.
const WITHOUT_WRITES_MAX: Duration = Duration::from_secs(30);
/// How often is looked.
const EVERY: Duration = Duration::from_millis(20);

/// What to expect of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The resource serves on.
    Service,
    /// A total outage: nothing can be acknowledged while it lasts.
    Outage,
}

/// Whether the tests are to take longer: `make soak` sets `QUORATE_SOAK`.
#[must_use]
pub fn soaks() -> bool {
    std::env::var_os("QUORATE_SOAK").is_some()
}

/// Running clients, and the name that their figures are printed under.
pub struct Load {
    name: String,
    clients: Box<dyn AtWork>,
    runtime: Runtime,
}

impl Load {
    /// Lets clients loose on these base URLs, and waits until a history worth judging has begun.
    ///
    /// # Errors
    /// When they cannot start, or are not served.
    pub fn start(name: &str, endpoints: Vec<String>, workload: impl Workload) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let clients = workload.start(endpoints, &runtime)?;
        let load = Self {
            name: name.to_owned(),
            clients,
            runtime,
        };
        load.wait_served()?;
        Ok(load)
    }

    /// Sends later operations to these base URLs.
    pub fn set_endpoints(&self, endpoints: Vec<String>) {
        self.clients.set_endpoints(endpoints);
    }

    /// Waits until so many writes have been acknowledged from now on that the resource can be said to serve.
    ///
    /// # Errors
    /// When they are not, and nothing was for too long.
    pub fn wait_served(&self) -> Result<()> {
        self.wait_acknowledged(if soaks() { WRITES_OF_SOAK } else { WRITES })
    }

    /// Waits for so many acknowledged writes from now on.
    ///
    /// # Errors
    /// When they are not, and nothing was for too long.
    pub fn wait_acknowledged(&self, wanted: usize) -> Result<()> {
        let from = self.clients.now();
        let (mut seen, mut last) = (0, Instant::now());
        while seen < wanted {
            std::thread::sleep(EVERY);
            let (_, writes) = self.clients.acknowledged(from, self.clients.now());
            if writes > seen {
                (seen, last) = (writes, Instant::now());
            }
            ensure!(
                last.elapsed() < WITHOUT_WRITES_MAX,
                "{seen} writes were acknowledged, and then none for {WITHOUT_WRITES_MAX:?}"
            );
        }
        Ok(())
    }

    /// One fault: what `inject` does, which returns when it is over, until clients are served again. Prints what they
    /// saw, and bounds it; returns the longest time without writes.
    ///
    /// # Errors
    /// What `inject` returns; or when nothing was acknowledged for too long.
    pub fn window(
        &self,
        fault: &str,
        expect: Expect,
        inject: impl FnOnce() -> Result<()>,
    ) -> Result<Duration> {
        let from = self.clients.now();
        inject().with_context(|| fault.to_owned())?;
        self.wait_served()
            .with_context(|| format!("after {fault}"))?;
        let to = self.clients.now();
        let (acknowledged, _) = self.clients.acknowledged(from, to);
        let without = Duration::from_micros(self.clients.longest_without_writes(from, to));
        println!(
            "{}: {fault}: {:.1} s, {acknowledged} acknowledged, {:.2} s without writes",
            self.name,
            (to - from) as f64 / 1e6,
            without.as_secs_f64()
        );
        ensure!(
            expect == Expect::Outage || without < WITHOUT_WRITES_MAX,
            "{fault}: {without:?} without writes"
        );
        Ok(without)
    }

    /// Ends the run: everything is read once more from every member, and the whole history judged.
    ///
    /// # Errors
    /// When a member cannot be read, or the verdict is bad.
    pub fn finish(self, endpoints: &[String]) -> Result<()> {
        let verdict = self.clients.judge(endpoints, &self.runtime)?;
        println!("{}: {verdict}", self.name);
        Ok(())
    }
}
