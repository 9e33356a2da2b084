//! A running `quorate up`, as a user has it: started, asked, killed.

use std::fs::File;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// One `quorate up` with its state folder. Stopped when dropped.
pub struct Up {
    quorate: PathBuf,
    state: PathBuf,
    log: PathBuf,
    arguments: Vec<String>,
    child: Option<Child>,
}

/// A member as `quorate get pods` and the resource's status show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its pod's name.
    pub name: String,
    /// Its process.
    pub pid: i32,
    /// Its address.
    pub address: IpAddr,
}

impl Up {
    /// Starts `quorate up` with these arguments on a state folder; its output goes to a file beside that.
    pub fn start(quorate: &Path, state: &Path, arguments: &[&str]) -> Result<Self> {
        let arguments = arguments.iter().map(|a| (*a).to_owned()).collect();
        let log = state.with_extension("log");
        let mut up = Self {
            quorate: quorate.into(),
            state: state.into(),
            log,
            arguments,
            child: None,
        };
        up.start_again()?;
        Ok(up)
    }

    /// Starts it again on the same folder.
    pub fn start_again(&mut self) -> Result<()> {
        ensure!(self.child.is_none(), "it runs already");
        let log = File::options().create(true).append(true).open(&self.log)?;
        let child = Command::new(&self.quorate)
            .arg("up")
            .args(&self.arguments)
            .env("QUORATE_STATE_DIR", &self.state)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", self.quorate.display()))?;
        self.child = Some(child);
        Ok(())
    }

    /// Sends it a signal and waits for its end.
    pub fn stop(&mut self, signal: Signal, deadline: Duration) -> Result<ExitStatus> {
        let mut child = self.child.take().context("it does not run")?;
        self::signal(child.id() as i32, signal)?;
        let end = Instant::now() + deadline;
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > end {
                child.kill()?;
                bail!(
                    "it did not stop within {deadline:?}; its output is in {}",
                    self.log.display()
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Runs `quorate ARGUMENTS` against it and answers its output; an error carries what it said.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new(&self.quorate)
            .args(arguments)
            .env("QUORATE_STATE_DIR", &self.state)
            .output()
            .with_context(|| format!("cannot run {}", self.quorate.display()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "quorate {}: {} ({said})",
            arguments.join(" "),
            output.status
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// `quorate get KIND NAME -o json`.
    pub fn get(&self, kind: &str, name: &str) -> Result<Value> {
        Ok(serde_json::from_str(
            &self.run(&["get", kind, name, "-o", "json"])?,
        )?)
    }

    /// The pods that have a process.
    pub fn members(&self) -> Result<Vec<Member>> {
        let list: Value = serde_json::from_str(&self.run(&["get", "pods", "-o", "json"])?)?;
        let pods = list["items"].as_array().context("a list has items")?;
        let member = |pod: &Value| {
            let pid = pod["metadata"]["annotations"]["quorate.dev/pid"]
                .as_str()?
                .parse()
                .ok()?;
            let name = pod["metadata"]["name"].as_str()?.to_owned();
            Some(Member {
                name,
                pid,
                address: pod["status"]["podIP"].as_str()?.parse().ok()?,
            })
        };
        Ok(pods.iter().filter_map(member).collect())
    }

    /// The client URLs in a resource's status.
    pub fn endpoints(&self, kind: &str, name: &str) -> Result<Vec<String>> {
        let resource = self.get(kind, name)?;
        let urls = resource["status"]["endpoints"]["client"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        Ok(urls
            .iter()
            .filter_map(|u| u.as_str().map(|u| u.trim_end_matches('/').to_owned()))
            .collect())
    }

    /// The member that leads, once the status names one whose process is there.
    pub fn leader(&self, kind: &str, name: &str, deadline: Duration) -> Result<Member> {
        let mut found = None;
        self.wait(&format!("{kind}/{name} has a leader"), deadline, || {
            let resource = self.get(kind, name)?;
            let leader = resource["status"]["leader"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            found = self.members()?.into_iter().find(|m| m.name == leader);
            Ok(found.is_some())
        })?;
        found.context("no leader")
    }

    /// Waits until a condition holds; errors of asking are taken as "not yet" and shown at the end.
    pub fn wait(
        &self,
        what: &str,
        deadline: Duration,
        mut holds: impl FnMut() -> Result<bool>,
    ) -> Result<()> {
        let end = Instant::now() + deadline;
        loop {
            let answer = holds();
            if matches!(answer, Ok(true)) {
                return Ok(());
            }
            if Instant::now() > end {
                let why = answer.err().map(|e| format!(": {e:#}")).unwrap_or_default();
                bail!(
                    "not within {deadline:?}: {what}{why}; its output is in {}",
                    self.log.display()
                );
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits for the condition `Ready` of a resource, observed at its latest generation.
    pub fn wait_ready(&self, kind: &str, name: &str, deadline: Duration) -> Result<()> {
        self.wait(&format!("{kind}/{name} is Ready"), deadline, || {
            let resource = self.get(kind, name)?;
            ensure!(is_ready(&resource), "{}", conditions(&resource));
            Ok(true)
        })
    }

    /// Where its output is.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Its process, while it runs.
    pub fn pid(&self) -> Option<i32> {
        self.child.as_ref().map(|c| c.id() as i32)
    }
}

/// A condition of a resource, if it speaks of the latest generation: its status, its reason and its message.
#[must_use]
pub fn condition<'a>(resource: &'a Value, kind: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let conditions = resource["status"]["conditions"].as_array()?;
    let found = conditions.iter().find(|c| c["type"] == kind)?;
    if found["observedGeneration"] != resource["metadata"]["generation"] {
        return None;
    }
    let text = |field: &str| found[field].as_str().unwrap_or_default();
    Some((text("status"), text("reason"), text("message")))
}

fn is_ready(resource: &Value) -> bool {
    condition(resource, "Ready").is_some_and(|(status, ..)| status == "True")
}

/// The conditions in a line, to say what was there instead of what was waited for.
fn conditions(resource: &Value) -> String {
    let words = ["Ready", "Progressing", "Degraded"].map(|kind| match condition(resource, kind) {
        Some((status, reason, message)) => format!("{kind}={status} {reason}: {message}"),
        None => format!("{kind} is not observed"),
    });
    words.join("; ")
}

impl Drop for Up {
    fn drop(&mut self) {
        if self.child.is_some()
            && let Err(error) = self.stop(Signal::TERM, Duration::from_secs(30))
        {
            eprintln!("{error:#}");
        }
    }
}

/// Sends a signal to a process.
pub fn signal(pid: i32, signal: Signal) -> Result<()> {
    let pid = Pid::from_raw(pid).context("0 is no process")?;
    kill_process(pid, signal).with_context(|| format!("cannot send {signal:?} to {pid:?}"))
}
