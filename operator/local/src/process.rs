//! A process of a pod, ours by birth or by adoption.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::unix::AsyncFd;

use crate::launch::{PodFiles, ProcessRecord};

/// A process of a pod. It is held by a descriptor, not by its number, so that a signal never hits a later process that
/// was given the same number.
#[derive(Debug)]
pub(crate) struct Process {
    pid: u32,
    begun: Instant,
    descriptor: AsyncFd<OwnedFd>,
    /// Ours to reap; an adopted one was left to init when its `up` died.
    child: Option<Child>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// Its parent, an earlier `up`, is gone and with it the news.
    Unknown,
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exit code {code}"),
            Exit::Signal(signal) => write!(f, "signal {signal}"),
            Exit::Unknown => write!(
                f,
                "an unknown exit code (it was started by an earlier `up`)"
            ),
        }
    }
}

impl Process {
    /// Takes charge of a child just spawned.
    pub fn of_child(child: Child) -> io::Result<Self> {
        let pid = child.id();
        Ok(Self {
            pid,
            begun: Instant::now(),
            descriptor: open(pid)?,
            child: Some(child),
        })
    }

    /// Takes charge of the process that an earlier `up` started for this pod, if it still runs. Waits out a launcher
    /// that holds the lock and has not written its record yet.
    pub async fn adopt(files: &PodFiles) -> io::Result<Option<(Self, ProcessRecord)>> {
        for _ in 0..100 {
            if !files.locked()? {
                return Ok(None);
            }
            if let Some(record) = files.read_record()
                && let Some(process) = Self::find(&record)?
            {
                return Ok(Some((process, record)));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(io::Error::other(format!(
            "{} is locked by a process that is not the one written down; find it with `fuser {0}/lock`",
            files.folder().display()
        )))
    }

    fn find(record: &ProcessRecord) -> io::Result<Option<Self>> {
        let descriptor = match open(record.pid) {
            Ok(descriptor) => descriptor,
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        // Compared after the descriptor is open: from here on the number cannot pass to another.
        let same = start_time(record.pid).is_ok_and(|found| found == record.start_time);
        Ok(same.then_some(Self {
            pid: record.pid,
            begun: begun(record.start_time)?,
            descriptor,
            child: None,
        }))
    }

    /// When it was started, by whatever `up`.
    pub fn begun(&self) -> Instant {
        self.begun
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal; one that is gone already is no error.
    pub fn signal(&self, signal: Signal) {
        let _ = pidfd_send_signal(self.descriptor.get_ref(), signal);
    }

    /// Waits for its end, and reaps it if it is ours. May be dropped and called again.
    pub async fn ended(&mut self) -> Exit {
        // The descriptor is readable when the process has ended, for anyone who holds it.
        if self.descriptor.readable().await.is_err() {
            // Only while the runtime is being shut down; nobody will ask again.
            std::future::pending::<()>().await;
        }
        match &mut self.child {
            None => Exit::Unknown,
            Some(child) => child.wait().map_or(Exit::Unknown, exit_of),
        }
    }

    /// SIGTERM, and SIGKILL when `grace` is over.
    pub async fn terminate(&mut self, grace: Duration) -> Exit {
        self.signal(Signal::TERM);
        match tokio::time::timeout(grace, self.ended()).await {
            Ok(exit) => exit,
            Err(_) => {
                self.signal(Signal::KILL);
                self.ended().await
            }
        }
    }
}

fn exit_of(status: ExitStatus) -> Exit {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Unknown,
    }
}

fn open(pid: u32) -> io::Result<AsyncFd<OwnedFd>> {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or(io::ErrorKind::InvalidInput)?;
    let descriptor = pidfd_open(pid, PidfdFlags::NONBLOCK)?;
    #[expect(
        deprecated,
        reason = "its successor is unsafe, for the sake of owners that do not keep their descriptor; an OwnedFd does"
    )]
    AsyncFd::with_interest(descriptor, tokio::io::Interest::READABLE)
}

/// When a process started, in clock ticks after boot. A zombie counts as gone.
pub(crate) fn start_time(pid: u32) -> io::Result<u64> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat"))?)
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("process {pid} has ended")))
}

/// The instant of a [`start_time`].
fn begun(start_time: u64) -> io::Result<Instant> {
    let uptime = fs::read_to_string("/proc/uptime")?;
    let uptime = uptime.split(' ').next().and_then(|text| text.parse().ok());
    let started = start_time as f64 / rustix::param::clock_ticks_per_second() as f64;
    let age = Duration::try_from_secs_f64(uptime.unwrap_or(started) - started).unwrap_or_default();
    let now = Instant::now();
    Ok(now.checked_sub(age).unwrap_or(now))
}

/// Field 22 of `/proc/PID/stat`. The second field, the name, may hold spaces and parentheses itself.
fn parse_stat(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace();
    let state = fields.next()?;
    let start = fields.nth(18)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn the_start_time_is_field_22_whatever_the_name() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(parse_stat(&format!("9 (a b) c) {rest}")), Some(4711));
        assert_eq!(
            parse_stat(&format!("9 (x) {}", rest.replacen('S', "Z", 1))),
            None
        );
        assert_eq!(parse_stat("nonsense"), None);
        let start = start_time(std::process::id()).unwrap();
        assert!(start > 0);
        // In ticks, and the clock is read a moment later.
        let age = begun(start).unwrap().elapsed();
        assert!(age < Duration::from_secs(60), "{age:?}");
        let hour = u64::from(rustix::param::clock_ticks_per_second() as u32) * 3600;
        if let Some(earlier) = start.checked_sub(hour) {
            assert!(begun(earlier).unwrap().elapsed() >= Duration::from_secs(3600));
        }
    }

    #[tokio::test]
    async fn an_end_is_told_and_reaped() {
        let mut process =
            Process::of_child(Command::new("sh").args(["-c", "exit 7"]).spawn().unwrap()).unwrap();
        assert_eq!(process.ended().await, Exit::Code(7));
        assert_eq!(process.ended().await, Exit::Code(7));
        assert!(
            fs::metadata(format!("/proc/{}", process.pid())).is_err(),
            "a zombie is left"
        );
    }

    #[tokio::test]
    async fn who_ignores_sigterm_is_killed_after_its_grace() {
        let script = "trap '' TERM; echo; while :; do sleep 0.05; done";
        let mut child = Command::new("sh")
            .args(["-c", script])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        let mut process = Process::of_child(child).unwrap();
        assert_eq!(
            process.terminate(Duration::from_millis(200)).await,
            Exit::Signal(9)
        );
    }

    #[tokio::test]
    async fn a_number_with_another_start_time_is_another_process() {
        let mut child = Command::new("sleep").arg("10").spawn().unwrap();
        let pid = child.id();
        let record = |start_time| ProcessRecord {
            pid,
            start_time,
            pod_uid: String::new(),
            program: "sleep".into(),
            place: None,
        };
        let start = start_time(pid).unwrap();
        assert!(Process::find(&record(start + 1)).unwrap().is_none());
        assert!(Process::find(&record(start)).unwrap().is_some());
        child.kill().unwrap();
        // A zombie still has its number and start time.
        let ended = rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        rustix::process::waitid(
            rustix::process::WaitId::Pid(Pid::from_raw(pid as i32).unwrap()),
            ended,
        )
        .unwrap();
        assert!(Process::find(&record(start)).unwrap().is_none());
        child.wait().unwrap();
        assert!(Process::find(&record(start)).unwrap().is_none());
    }
}
