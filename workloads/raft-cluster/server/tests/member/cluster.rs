//! Members as processes: each with a loopback address of its own, their names in a hosts file.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use quorate_wire::{AddLearner, Bootstrap, ChangeMember, ConfigurationStatus, MemberStatus, Role};
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use tempfile::TempDir;

use crate::client::{Answer, send};

/// The deadline against hangs; what is tested takes a fraction of it.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Members that know each other's names.
pub struct Cluster {
    // Before the folder: a member that goes down with a failed test still shows its log.
    pub members: Vec<Member>,
    pub root: TempDir,
    network: [u8; 2],
}

/// One member.
pub struct Member {
    pub name: String,
    pub address: IpAddr,
    pub dir: PathBuf,
    pub log: PathBuf,
    pub flags: Vec<String>,
    child: Option<Child>,
}

/// A network of 127/8 that no other test has.
fn network() -> [u8; 2] {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    [
        20 + (std::process::id() % 200) as u8,
        NEXT.fetch_add(1, Ordering::Relaxed),
    ]
}

const BINARY: &str = env!("CARGO_BIN_EXE_quorate-raft-cluster");

pub fn binary() -> Command {
    let mut command = Command::new(BINARY);
    command.env_clear();
    command
}

impl Cluster {
    /// Prepares members; none runs yet.
    pub fn prepare(count: u8, flags: &[&str]) -> Self {
        let (root, network) = (tempfile::tempdir().unwrap(), network());
        let mut cluster = Self {
            root,
            members: vec![],
            network,
        };
        for _ in 0..count {
            cluster.add(flags);
        }
        cluster
    }

    /// Starts members and waits until they can be asked.
    pub async fn start(count: u8, flags: &[&str]) -> Self {
        let mut cluster = Self::prepare(count, flags);
        for member in &mut cluster.members {
            member.start();
        }
        for member in &cluster.members {
            member.until("it can be asked", |_| true).await;
        }
        cluster
    }

    /// Starts a group of members: one bootstraps, the others are added and promoted.
    pub async fn group(count: u8, flags: &[&str]) -> Self {
        let cluster = Self::start(count, flags).await;
        cluster.bootstrap().await;
        for member in &cluster.members[1..] {
            cluster.join(member).await;
        }
        for member in &cluster.members {
            member.until("it is ready", |status| status.ready).await;
        }
        cluster
    }

    /// Prepares one more member.
    pub fn add(&mut self, flags: &[&str]) -> &mut Member {
        let at = self.members.len();
        let name = format!("m-{at}");
        let address = IpAddr::V4(Ipv4Addr::new(
            127,
            self.network[0],
            self.network[1],
            at as u8 + 1,
        ));
        let (dir, log) = (
            self.root.path().join(&name),
            self.root.path().join(format!("{name}.log")),
        );
        let mut all: Vec<String> = [
            format!("--name={name}"),
            "--cluster=c-1".into(),
            format!("--data-dir={}", dir.display()),
            format!("--bind-address={address}"),
            format!("--peer-address={name}.peers.test:7071"),
            format!("--hosts-file={}", self.hosts().display()),
            "--election-timeout-ms=500".into(),
            "--heartbeat-interval-ms=50".into(),
            "--free-space-reserve-bytes=0".into(),
        ]
        .into();
        all.extend(flags.iter().map(|flag| (*flag).to_owned()));
        self.members.push(Member {
            name,
            address,
            dir,
            log,
            flags: all,
            child: None,
        });
        let line = |member: &Member| format!("{} {}.peers.test\n", member.address, member.name);
        std::fs::write(
            self.hosts(),
            self.members.iter().map(line).collect::<String>(),
        )
        .unwrap();
        &mut self.members[at]
    }

    fn hosts(&self) -> PathBuf {
        self.root.path().join("hosts")
    }

    /// Makes a group of the first member.
    pub async fn bootstrap(&self) {
        let first = &self.members[0];
        let incarnation = first.status().await.unwrap().incarnation;
        let answer = first
            .admin(
                "/admin/bootstrap",
                &Bootstrap {
                    group: 1,
                    incarnation,
                },
            )
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
        first.until("it leads", leads).await;
    }

    /// Adds a member as learner, waits until it has caught up, and promotes it.
    pub async fn join(&self, member: &Member) {
        let id = member.status().await.unwrap().incarnation;
        let address = format!("{}.peers.test:7071", member.name);
        let add = |configuration_index| AddLearner {
            configuration_index,
            id: id.clone(),
            name: member.name.clone(),
            address: address.clone(),
        };
        self.change("/admin/members", add).await;
        member
            .until("it has caught up", |status| {
                status.groups.first().is_some_and(|group| group.caught_up)
            })
            .await;
        self.change(
            &format!("/admin/members/{id}/promote"),
            |configuration_index| ChangeMember {
                configuration_index,
            },
        )
        .await;
    }

    /// Asks the leader for a change until it is taken: elections and unfinished changes pass.
    pub async fn change<T: Serialize>(
        &self,
        path: &str,
        body: impl Fn(u64) -> T,
    ) -> ConfigurationStatus {
        let begun = Instant::now();
        loop {
            let leader = self.leader().await;
            let index = leader.status().await.unwrap().groups[0].configuration.index;
            let answer = leader.admin(path, &body(index)).await;
            if answer.status == 200 {
                return serde_json::from_slice(&answer.body).unwrap();
            }
            assert!(begun.elapsed() < DEADLINE, "{path}: {answer:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The member that leads.
    pub async fn leader(&self) -> &Member {
        let begun = Instant::now();
        loop {
            for member in &self.members {
                if member.status().await.is_some_and(|status| leads(&status)) {
                    return member;
                }
            }
            assert!(begun.elapsed() < DEADLINE, "nobody leads");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Where [`Cluster::leader`] is in `members`.
    pub async fn leader_at(&self) -> usize {
        let leader = self.leader().await.name.clone();
        self.members
            .iter()
            .position(|member| member.name == leader)
            .unwrap()
    }
}

pub fn leads(status: &MemberStatus) -> bool {
    status.ready && status.groups.iter().any(|group| group.role == Role::Leader)
}

impl Member {
    pub fn start(&mut self) {
        self.spawn(binary());
    }

    /// Starts it with so many open files at most, and at first with half of them.
    pub fn start_with_few_descriptors(&mut self, limit: u32) {
        let mut shell = Command::new("/bin/sh");
        let set = format!(
            "ulimit -n {limit} && ulimit -Sn {} && exec \"$0\" \"$@\"",
            limit / 2
        );
        shell.env_clear().args(["-c", &set, BINARY]);
        self.spawn(shell);
    }

    /// Starts it with files of at most a MiB: there is no room for its log.
    pub fn start_with_small_files(&mut self) {
        let mut shell = Command::new("/bin/sh");
        shell.env_clear().args([
            "-c",
            "trap '' XFSZ; ulimit -f 2048; exec \"$0\" \"$@\"",
            BINARY,
        ]);
        self.spawn(shell);
    }

    fn spawn(&mut self, mut command: Command) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .unwrap();
        self.child = Some(command.args(&self.flags).stderr(log).spawn().unwrap());
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.child.as_ref().unwrap()), signal).unwrap();
    }

    /// Sends a signal and waits for the end.
    pub async fn stop(&mut self, signal: Signal) -> ExitStatus {
        self.signal(signal);
        self.end().await
    }

    /// Waits for the end.
    pub async fn end(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        let ended = tokio::task::spawn_blocking(move || child.wait().unwrap());
        tokio::time::timeout(DEADLINE, ended)
            .await
            .expect("it does not end")
            .unwrap()
    }

    pub fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address, port)
    }

    /// A request of a client; the member must answer.
    pub async fn client(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        send(self.at(7070), method, path, headers, body.to_owned())
            .await
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    pub async fn admin<T: Serialize>(&self, path: &str, body: &T) -> Answer {
        let json = [("content-type", "application/json")];
        send(
            self.at(7072),
            "POST",
            path,
            &json,
            serde_json::to_vec(body).unwrap(),
        )
        .await
        .unwrap()
    }

    pub async fn health(&self, path: &str) -> Option<Answer> {
        send(self.at(7073), "GET", path, &[], "").await.ok()
    }

    pub async fn status(&self) -> Option<MemberStatus> {
        serde_json::from_slice(&self.health("/status").await?.body).ok()
    }

    /// Waits until its status is as wanted.
    pub async fn until(&self, what: &str, wanted: impl Fn(&MemberStatus) -> bool) -> MemberStatus {
        let begun = Instant::now();
        let mut latest = None;
        while begun.elapsed() < DEADLINE {
            latest = self.status().await;
            if let Some(status) = latest.take_if(|status| wanted(status)) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{}: not in time: {what}; status {latest:#?}", self.name);
    }

    /// Waits until its log holds all these words.
    pub async fn says(&self, words: &[&str]) {
        let begun = Instant::now();
        loop {
            let log = self.logged();
            if words.iter().all(|words| log.contains(words)) {
                return;
            }
            assert!(begun.elapsed() < DEADLINE, "not told: {words:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub fn logged(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("---- {} ----\n{}", self.name, self.logged());
        }
    }
}

/// All files below a folder.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found
}
