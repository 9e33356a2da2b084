//! One member: its disk, which outlives it, and its process, which does not.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use quorate_group_core::{
    Config, Context, Groups, Input, LogWriter, PeerMessage, Record, Task, TaskResult,
    open_identity, recover, run,
};
use quorate_raft::{Contact, MemberId, WriteId};
use quorate_store::{
    Batch, Disk, FileSystem, MapStore, MemFs, Read, StateError, StateStore, TornTail,
};

use super::machine::NotedMachine;
use super::mirror::Mirror;
use super::queue::Time;
use super::swarm::Swarm;
use super::{CLUSTER, GROUP};

/// The election timeout of the simulated group, in milliseconds.
pub const ELECTION_MS: u64 = 150;
const HEARTBEAT_MS: u64 = 50;

/// How fast clocks run where they differ, in thousandths of the simulation's.
pub const CLOCK_SPEEDS: Range<u64> = 930..1070;

/// What a process's clock shows at most when it starts, in microseconds: a day.
const LATEST_ORIGIN: u64 = 86_400_000_000;

/// A place for a member: a pod with its volume.
pub struct Slot {
    /// Its name.
    pub name: String,
    /// Its volume.
    pub disk: MemFs,
    /// Its state store.
    pub store: MapStore,
    /// Who lives there, since it first started on this volume.
    pub identity: Option<MemberId>,
    /// What its log must hold.
    pub mirror: Mirror,
    /// How often it was started.
    pub life: u64,
    /// The process, while there is one.
    pub process: Option<Process>,
    /// Its clock's speed, in thousandths of the simulation's.
    pub speed: u64,
    /// It does not run before this.
    pub paused_until: Time,
    /// Its disk takes so much longer, until then.
    pub slow_until: Time,
    /// An injected damage is there, told or not yet.
    pub damaged: bool,
    /// The next sync fails.
    pub sync_fails: bool,
}

/// A running member.
pub struct Process {
    /// What decides.
    pub groups: Groups,
    /// Its log; `None` when it is damaged.
    pub log: Option<LogWriter>,
    /// What came and was not taken in yet.
    pub inbox: Vec<Input>,
    /// When it will run next.
    pub wake_at: Option<Time>,
    /// What waits for the writer.
    pub to_write: Vec<(WriteId, Vec<Record>)>,
    /// A sync is under way.
    pub syncing: bool,
    /// Up to here writes are durable.
    pub durable: WriteId,
    /// Messages that wait for a write.
    pub held: Vec<(WriteId, MemberId, Contact, PeerMessage)>,
    /// Tasks that change the state, one at a time.
    pub state_lane: VecDeque<Task>,
    /// Tasks under way, by number.
    pub running: BTreeMap<u64, Task>,
    /// The number of the task of the state lane under way.
    pub state_task: Option<u64>,
    /// Its clock at the simulation's zero.
    origin: Duration,
    started: Time,
}

/// What a start found.
#[derive(Debug)]
pub struct Started {
    /// A tail was cut.
    pub torn: Option<TornTail>,
    /// The identity's data was set aside, and another drawn.
    pub stood_aside: bool,
}

impl Slot {
    /// An empty volume.
    pub fn new(name: String, speed: u64) -> Self {
        Slot {
            name,
            disk: MemFs::default(),
            store: MapStore::default(),
            identity: None,
            mirror: Mirror::default(),
            life: 0,
            process: None,
            speed,
            paused_until: 0,
            slow_until: 0,
            damaged: false,
            sync_fails: false,
        }
    }

    /// How others find it.
    pub fn contact(&self) -> Contact {
        Contact {
            name: self.name.clone(),
            address: format!("{}:7071", self.name),
        }
    }

    /// Throws the volume away.
    pub fn wipe(&mut self) {
        self.disk = MemFs::default();
        self.store = MapStore::default();
        self.identity = None;
        self.mirror = Mirror::default();
        self.damaged = false;
    }

    /// Loses all of the volume but the identity.
    pub fn forget(&mut self) -> std::io::Result<()> {
        for name in self.disk.list(Path::new(""))? {
            if name != "identity" {
                self.disk.remove_dir_all(Path::new(&name))?;
            }
        }
        self.disk.sync_dir(Path::new(""))?;
        self.store = MapStore::default();
        self.damaged = true;
        Ok(())
    }

    /// Starts the process on what the volume holds; an error when the disk refuses.
    pub fn start(&mut self, now: Time, swarm: &Swarm, rng: &mut Rng) -> Result<Started, String> {
        self.life += 1;
        let disk: Disk = Arc::new(self.disk.clone());
        let drawn = MemberId(rng.u64(1..));
        let identity = open_identity(&disk, CLUSTER, &self.name, drawn, &[])
            .map_err(|error| error.to_string())?;
        if identity.fresh {
            // The store's files lie in the folder that was set aside.
            self.store = MapStore::default();
            self.mirror = Mirror::default();
        }
        if identity.damage.is_none() {
            self.identity = Some(identity.id);
        }
        let origin = Duration::from_micros(rng.u64(..LATEST_ORIGIN));
        let config = self.config(swarm, rng.u64(..));
        let recovered = recover(config, &identity, &disk, &self.store, origin)
            .map_err(|error| error.to_string())?;
        self.process = Some(Process {
            groups: recovered.groups,
            log: recovered.log,
            inbox: Vec::new(),
            wake_at: None,
            to_write: Vec::new(),
            syncing: false,
            durable: 0,
            held: Vec::new(),
            state_lane: VecDeque::new(),
            running: BTreeMap::new(),
            state_task: None,
            origin,
            started: now,
        });
        Ok(Started {
            torn: recovered.torn,
            stood_aside: identity.set_aside.is_some(),
        })
    }

    fn config(&self, swarm: &Swarm, seed: u64) -> Config {
        Config {
            election_timeout: Duration::from_millis(ELECTION_MS),
            heartbeat_interval: Duration::from_millis(HEARTBEAT_MS),
            lag_bound_entries: 20,
            request_timeout: Duration::from_millis(600),
            max_sessions: 12,
            max_pending_bytes: swarm.pending_bytes,
            compact_after_entries: swarm.compact_after_entries,
            keep_entries: swarm.keep_entries,
            chunk_bytes: swarm.chunk_bytes,
            segment_bytes: swarm.segment_bytes,
            ..Config::new(self.contact(), seed)
        }
    }

    /// What the member's own clock shows.
    pub fn clock(&self, now: Time) -> Duration {
        let Some(process) = &self.process else {
            return Duration::ZERO;
        };
        process.origin + Duration::from_micros((now - process.started) * self.speed / 1000)
    }

    /// When the member's clock will show `clock`.
    pub fn time_of(&self, clock: Duration, now: Time) -> Time {
        let Some(process) = &self.process else {
            return now;
        };
        let passed = clock.saturating_sub(process.origin).as_micros() as u64;
        (process.started + (passed * 1000).div_ceil(self.speed)).max(now)
    }

    /// The member's clock jumps ahead; false when nothing runs there.
    pub fn jump(&mut self, by: Duration) -> bool {
        let Some(process) = &mut self.process else {
            return false;
        };
        process.origin += by;
        true
    }

    /// Runs a task, or only so much of it as `budget` operations allow.
    pub fn run(&self, task: Task, machine: &NotedMachine, budget: Option<u64>) -> TaskResult {
        let disk: Disk = Arc::new(self.disk.clone());
        let store = Interrupted {
            store: &self.store,
            left: AtomicU64::new(budget.unwrap_or(u64::MAX)),
        };
        if let Some(budget) = budget {
            self.disk.fail_after(Some(budget * 100));
        }
        run(
            task,
            &Context {
                disk: &disk,
                store: &store,
                machine,
                group: GROUP,
            },
        )
    }
}

/// A state store whose process dies after so many operations.
struct Interrupted<'a> {
    store: &'a MapStore,
    left: AtomicU64,
}

impl Interrupted<'_> {
    fn spend(&self) -> Result<(), StateError> {
        let spent = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            });
        spent
            .map(|_| ())
            .map_err(|_| StateError::Io(std::io::Error::other("the process died")))
    }
}

impl Read for Interrupted<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        self.store.get(key)
    }

    fn scan(
        &self,
        start: &[u8],
        end: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StateError> {
        self.store.scan(start, end, visit)
    }
}

impl StateStore for Interrupted<'_> {
    fn write(&self, batch: Batch) -> Result<(), StateError> {
        self.spend()?;
        self.store.write(batch)
    }

    fn flush(&self) -> Result<(), StateError> {
        self.spend()?;
        self.store.flush()
    }

    fn view(&self) -> Result<Box<dyn Read>, StateError> {
        self.store.view()
    }
}

impl Slot {
    /// When the member's clock showed `clock`.
    pub fn time_of_past(&self, clock: Duration) -> Time {
        let Some(process) = &self.process else {
            return 0;
        };
        process.started
            + clock.saturating_sub(process.origin).as_micros() as u64 * 1000 / self.speed
    }
}
