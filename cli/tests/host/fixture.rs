//! A state folder, its `up`, and the resource that the tests run.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Any kind will do; this is the first.
pub const KIND: &str = "raftcluster";

pub struct Host {
    pub folder: tempfile::TempDir,
    state: PathBuf,
    up: Option<Child>,
}

impl Drop for Host {
    fn drop(&mut self) {
        if self.up.is_some() {
            self.signal_up(Signal::TERM);
            self.wait_up();
        }
        for (_, pid) in self.recorded() {
            signal(pid, Signal::KILL);
        }
    }
}

impl Host {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            state: folder.path().join("state"),
            folder,
            up: None,
        }
    }

    pub fn state(&self) -> PathBuf {
        self.state.clone()
    }

    /// From here on the state folder is this one, beside the first.
    pub fn use_state(&mut self, name: &str) {
        self.state = self.folder.path().join(name);
    }

    /// A file with a resource of so many members.
    pub fn manifest(&self, members: u32) -> PathBuf {
        self.manifest_with(&format!("members: {members}"))
    }

    pub fn manifest_with(&self, spec: &str) -> PathBuf {
        let file = self.folder.path().join("resource.yaml");
        let text = format!(
            "apiVersion: quorate.dev/v1alpha1\nkind: RaftCluster\nmetadata:\n  name: fake\nspec:\n  {spec}\n"
        );
        fs::write(&file, text).unwrap();
        file
    }

    /// A program that is the fake member in this mode.
    pub fn member(&self, mode: &str) -> PathBuf {
        let quorate = PathBuf::from(env!("CARGO_BIN_EXE_quorate"));
        let fake = quorate.parent().unwrap().join("examples/fake-member");
        assert!(
            fake.exists(),
            "{} is not built: run `cargo build -p quorate-cli --example fake-member`",
            fake.display()
        );
        let script = self.folder.path().join(format!("member-{mode}"));
        fs::write(
            &script,
            format!("#!/bin/sh\nexec {} {mode}\n", fake.display()),
        )
        .unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        script
    }

    /// `--image` for the image that a resource without one gets.
    pub fn image(&self, mode: &str) -> String {
        format!(
            "quorate:{}={}",
            env!("CARGO_PKG_VERSION"),
            self.member(mode).display()
        )
    }

    pub fn start(&mut self, arguments: &[&str]) {
        assert!(self.up.is_none());
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.output())
            .unwrap();
        let mut command = self.command("up");
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.up = Some(command.spawn().unwrap());
    }

    /// Starts three healthy members and waits for them.
    pub fn start_three(&mut self) -> Vec<(String, i32)> {
        let (manifest, image) = (self.manifest(3), self.image("healthy"));
        self.start(&["-f", manifest.to_str().unwrap(), "--image", &image]);
        self.wait_running(3)
    }

    pub fn output(&self) -> PathBuf {
        self.folder.path().join("up.out")
    }

    pub fn said(&self) -> String {
        fs::read_to_string(self.output()).unwrap_or_default()
    }

    pub fn signal_up(&self, sent: Signal) {
        signal(self.up.as_ref().unwrap().id() as i32, sent);
    }

    pub fn wait_up(&mut self) -> ExitStatus {
        let mut up = self.up.take().unwrap();
        self.wait_for("the end of up", Duration::from_secs(40), |_| {
            up.try_wait().unwrap()
        })
    }

    pub fn command(&self, command: &str) -> Command {
        let mut quorate = Command::new(env!("CARGO_BIN_EXE_quorate"));
        quorate.arg(command).env("QUORATE_STATE_DIR", self.state());
        quorate
    }

    pub fn run(&self, command: &str, arguments: &[&str]) -> Output {
        self.command(command).args(arguments).output().unwrap()
    }

    /// The standard output of a command that succeeds.
    pub fn ok(&self, command: &str, arguments: &[&str]) -> String {
        let output = self.run(command, arguments);
        assert!(
            output.status.success(),
            "{command} {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// What a command that fails says.
    pub fn refused(&self, command: &str, arguments: &[&str]) -> String {
        let output = self.run(command, arguments);
        assert_eq!(output.status.code(), Some(1), "{command} {arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    pub fn json(&self, arguments: &[&str]) -> Value {
        let arguments = [arguments, &["-o", "json"]].concat();
        serde_json::from_str(&self.ok("get", &arguments)).unwrap()
    }

    pub fn pods(&self) -> Vec<Value> {
        let output = self.run("get", &["pods", "-o", "json"]);
        let list: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        list["items"].as_array().cloned().unwrap_or_default()
    }

    /// Names and processes of the running pods, once there are so many.
    pub fn wait_running(&self, count: usize) -> Vec<(String, i32)> {
        self.wait_for(
            &format!("{count} running pods"),
            Duration::from_secs(20),
            |host| {
                let running: Vec<_> = host
                    .pods()
                    .iter()
                    .filter_map(|pod| Some((name(pod), pid(pod)?)))
                    .collect();
                (running.len() == count).then_some(running)
            },
        )
    }

    /// What every process that was ever started wrote down of itself, newest per pod.
    pub fn recorded(&self) -> Vec<(String, i32)> {
        let folders = fs::read_dir(self.state().join("pods/default"))
            .into_iter()
            .flatten()
            .flatten();
        let record = |folder: &Path| -> Option<(String, i32)> {
            let record: Value =
                serde_json::from_slice(&fs::read(folder.join("process.json")).ok()?).ok()?;
            Some((
                folder.file_name()?.to_string_lossy().into_owned(),
                record["pid"].as_i64()? as i32,
            ))
        };
        folders
            .filter_map(|folder| record(&folder.path()))
            .collect()
    }

    /// The notes of the fake members in their volumes.
    pub fn starts(&self) -> Vec<String> {
        let volumes = fs::read_dir(self.state().join("volumes/default"))
            .into_iter()
            .flatten()
            .flatten();
        let notes =
            volumes.filter_map(|volume| fs::read_to_string(volume.path().join("starts")).ok());
        notes
            .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
            .collect()
    }

    pub fn wait_for<T>(
        &self,
        what: &str,
        deadline: Duration,
        mut until: impl FnMut(&Self) -> Option<T>,
    ) -> T {
        let end = Instant::now() + deadline;
        loop {
            if let Some(found) = until(self) {
                return found;
            }
            assert!(
                Instant::now() < end,
                "no {what} within {deadline:?}; up said:\n{}",
                self.said()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

pub fn name(pod: &Value) -> String {
    pod["metadata"]["name"].as_str().unwrap().to_owned()
}

pub fn pid(pod: &Value) -> Option<i32> {
    pod["metadata"]["annotations"]["quorate.dev/pid"]
        .as_str()?
        .parse()
        .ok()
}

pub fn addresses(pods: &[Value]) -> BTreeSet<String> {
    pods.iter()
        .map(|pod| pod["status"]["podIP"].as_str().unwrap().to_owned())
        .collect()
}

pub fn signal(pid: i32, sent: Signal) {
    let _ = kill_process(Pid::from_raw(pid).unwrap(), sent);
}

pub fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
