//! Clients on a cluster throughout a test, the windows in which faults are measured, and the judgement of it all.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use quorate_check::{Limits, check_registers, make_one_read_stale};
use quorate_history::{Action, Operation, Outcome};
use tokio::runtime::Runtime;

use crate::{ClientOptions, Clients, Trust};

/// A window runs from the fault to this long after its end.
const AFTER: Duration = Duration::from_secs(10);
/// In each window outside of total outages at least so many operations must be acknowledged.
const ACKNOWLEDGED_MIN: usize = 500;
/// The deadline against hangs: the longest time without writes.
const WITHOUT_WRITES_MAX: Duration = Duration::from_secs(30);

/// What to expect of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The group serves on.
    Service,
    /// A total outage: nothing can be acknowledged while it lasts.
    Outage,
}

/// Running clients, and the name that their figures are printed under.
pub struct Load {
    name: String,
    clients: Clients,
    keys: u64,
    trust: Option<Trust>,
    runtime: Runtime,
}

impl Load {
    /// Lets clients loose on these base URLs.
    ///
    /// # Errors
    /// When there can be no runtime, or whom the clients are to trust cannot be read.
    pub fn start(name: &str, endpoints: Vec<String>, options: ClientOptions) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let (keys, trust) = (options.keys, options.trust.clone());
        let clients = runtime.block_on(async { Clients::start(endpoints, options) })?;
        // A history worth judging begins before the first fault.
        std::thread::sleep(Duration::from_secs(1));
        Ok(Self {
            name: name.to_owned(),
            clients,
            keys,
            trust,
            runtime,
        })
    }

    /// Sends later operations to these base URLs.
    pub fn set_endpoints(&self, endpoints: Vec<String>) {
        self.clients.set_endpoints(endpoints);
    }

    /// One fault: what `inject` does, to 10 s after it returns. Prints what the clients saw, and bounds it; returns the
    /// longest time without writes.
    ///
    /// # Errors
    /// What `inject` returns; or when too little was acknowledged, or nothing for too long.
    pub fn window(
        &self,
        fault: &str,
        expect: Expect,
        inject: impl FnOnce() -> Result<()>,
    ) -> Result<Duration> {
        let recorder = self.clients.recorder();
        let from = recorder.now();
        inject().with_context(|| fault.to_owned())?;
        std::thread::sleep(AFTER);
        let to = recorder.now();
        let acknowledged = recorder.acknowledged(from, to);
        let without = Duration::from_micros(recorder.longest_without_writes(from, to));
        println!(
            "{}: {fault}: {:.1} s, {acknowledged} acknowledged, {:.2} s without writes",
            self.name,
            (to - from) as f64 / 1e6,
            without.as_secs_f64()
        );
        ensure!(
            expect == Expect::Outage || acknowledged >= ACKNOWLEDGED_MIN,
            "{fault}: only {acknowledged} operations were acknowledged"
        );
        ensure!(
            without < WITHOUT_WRITES_MAX,
            "{fault}: {without:?} without writes"
        );
        Ok(without)
    }

    /// Ends the run: every key is read once more from every member, and the whole history judged.
    ///
    /// # Errors
    /// When a member cannot be read, or the history is not linearizable.
    pub fn finish(self, endpoints: &[String]) -> Result<()> {
        let recorder = self.runtime.block_on(self.clients.stop());
        for (i, endpoint) in endpoints.iter().enumerate() {
            for key in 0..self.keys {
                let key = format!("key-{key}");
                let invoked = recorder.now();
                let value = read(endpoint, self.trust.as_ref(), &key)?;
                recorder.record(
                    1000 + i as u64,
                    Some(endpoint.clone()),
                    &key,
                    Action::Read,
                    invoked,
                    Outcome::Done(value),
                );
            }
        }
        judge(&self.name, &recorder.operations())
    }
}

/// Judges a history, and the checker by the same history with one read made stale.
fn judge(name: &str, history: &[Operation]) -> Result<()> {
    let report = check_registers(history, Limits::default());
    println!("{name}: {}", report.explain());
    ensure!(report.is_linearizable(), "{}", report.explain());
    let stale = make_one_read_stale(history).context("the history has no read after two writes")?;
    if check_registers(&stale, Limits::default()).is_linearizable() {
        bail!("the checker accepts the same history with one read made stale");
    }
    Ok(())
}

/// One linearizable read by curl, as a user would.
fn read(endpoint: &str, trust: Option<&Trust>, key: &str) -> Result<Option<String>> {
    let mut curl = std::process::Command::new("curl");
    let url = match trust {
        Some(trust) => {
            let (options, url) = trust.of_curl(endpoint)?;
            curl.args(options);
            format!("{url}/kv/{key}")
        }
        None => format!("{endpoint}/kv/{key}"),
    };
    let output = curl
        .args([
            "-sS",
            "--max-time",
            "10",
            "--retry",
            "3",
            "--retry-connrefused",
            "-w",
            "\n%{http_code}",
            &url,
        ])
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    match text.rsplit_once('\n') {
        Some((value, "200")) => Ok(Some(value.to_owned())),
        Some((_, "404")) => Ok(None),
        _ => bail!("{url}: {text} {}", String::from_utf8_lossy(&output.stderr)),
    }
}
