//! A crash at every point of a snapshot's installation.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use quorate_group_core::*;
use quorate_raft::{Entry, MemberId, Payload};
use quorate_store::{Batch, Disk, MapStore, MemFs, Read, StateError, StateStore};
use quorate_wire::MemberState;

use crate::harness::*;

/// A store whose power fails after so many writes and flushes.
struct Failing {
    store: MapStore,
    left: u32,
}

struct Shared(Mutex<Failing>);

impl Shared {
    fn spend(&self) -> Result<MapStore, StateError> {
        let mut failing = self.0.lock().unwrap();
        failing.left = failing
            .left
            .checked_sub(1)
            .ok_or_else(|| std::io::Error::other("power failed"))?;
        Ok(failing.store.clone())
    }

    fn store(&self) -> MapStore {
        self.0.lock().unwrap().store.clone()
    }
}

impl Read for Shared {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        self.store().get(key)
    }

    fn scan(
        &self,
        start: &[u8],
        end: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StateError> {
        self.store().scan(start, end, visit)
    }
}

impl StateStore for Shared {
    fn write(&self, batch: Batch) -> Result<(), StateError> {
        self.spend()?.write(batch)
    }

    fn flush(&self) -> Result<(), StateError> {
        self.spend()?.flush()
    }

    fn view(&self) -> Result<Box<dyn Read>, StateError> {
        self.store().view()
    }
}

#[test]
fn a_crash_at_any_point_leaves_the_old_state_or_the_new() {
    let mut net = Net::group_of(1, |_| {});
    let opened = net.call(
        "a",
        Request::OpenSession {
            lifetime_ms: 60_000,
        },
    );
    assert!(matches!(
        opened,
        Reply::Outcome {
            outcome: Outcome::Opened { .. },
            ..
        }
    ));
    for at in 0..40 {
        net.answer("a", None, &format!("fill key{at} 20000"));
    }
    let (mut old, mut new) = (0, 0);
    for seed in 0..10 {
        net.rng = fastrand::Rng::with_seed(seed);
        for point in 0..100 {
            match crash_at(&mut net, point) {
                Crash::NotReached => break,
                Crash::Old => old += 1,
                Crash::New => new += 1,
            }
            assert!(point < 99);
        }
    }
    assert!(old > 5 && new > 5, "both happened: {old} {new}");
}

fn config() -> Config {
    Config {
        segment_bytes: 16 << 10,
        ..Config::new(Default::default(), 9)
    }
}

/// The operator wipes the disk of a member that is damaged.
#[test]
fn a_disk_that_refuses_is_no_damage() {
    let disk: Disk = Arc::new(MemFs::default());
    let full = Shared(Mutex::new(Failing {
        store: MapStore::default(),
        left: 0,
    }));
    let context = Context {
        disk: &disk,
        store: &full,
        machine: &Adder,
        group: GROUP,
    };
    for task in [Task::Apply(vec![]), Task::Flush { applied: 1 }] {
        let result = run(task, &context);
        assert!(matches!(result, TaskResult::Unusable(_)), "{result:?}");
    }
}

enum Crash {
    NotReached,
    Old,
    New,
}

/// A member that has applied a little installs `a`'s snapshot; its power fails at the `point`-th write.
fn crash_at(net: &mut Net, point: u32) -> Crash {
    let (disk, store, file) = fresh_receiver(net);
    let before = dump(&store);
    let failing = Shared(Mutex::new(Failing {
        store: store.clone(),
        left: point,
    }));
    let seam: Disk = Arc::new(disk.clone());
    let context = Context {
        disk: &seam,
        store: &failing,
        machine: &Adder,
        group: GROUP,
    };
    let result = run(
        Task::Install {
            snapshot: file.clone(),
        },
        &context,
    );
    if matches!(result, TaskResult::Installed { .. }) {
        assert!(point >= 5, "mark, wipe, pieces, place, flush");
        return Crash::NotReached;
    }
    disk.crash(&mut net.rng);
    store.crash(&mut net.rng);
    let identity = open_identity(&seam, CLUSTER, "a", MemberId(1), &[]).unwrap();
    let recovered = recover(config(), &identity, &seam, &store, Duration::ZERO).unwrap();
    assert_eq!(
        recovered.groups.state(),
        MemberState::Running,
        "{:?}",
        recovered.groups.reason()
    );
    let after = dump(&store);
    let raft = recovered.groups.raft(GROUP).unwrap();
    if after == before {
        assert_eq!(raft.applied(), 1);
        return Crash::Old;
    }
    assert_eq!(after, dump(&net.members["a"].store));
    assert_eq!(
        (raft.applied(), raft.log_start().index),
        (file.meta.index, file.meta.index)
    );
    Crash::New
}

/// A member with one applied entry of its own and a whole part file of `a`'s snapshot.
fn fresh_receiver(net: &Net) -> (MemFs, MapStore, SnapshotFile) {
    let (disk, store) = (MemFs::default(), MapStore::default());
    let seam: Disk = Arc::new(disk.clone());
    let identity = open_identity(&seam, CLUSTER, "a", MemberId(1), &[]).unwrap();
    let recovered = recover(config(), &identity, &seam, &store, Duration::ZERO).unwrap();
    let mut log = recovered.log.unwrap();
    let configuration = net.groups("a").raft(GROUP).unwrap().configuration().clone();
    let first = Entry {
        index: 1,
        term: 1,
        payload: Payload::Configuration(configuration),
    };
    log.append(
        1,
        &[Record::Entries {
            group: GROUP,
            entries: vec![first.clone()],
        }],
    )
    .unwrap();
    log.sync().unwrap();
    let context = Context {
        disk: &seam,
        store: &store,
        machine: &Adder,
        group: GROUP,
    };
    assert!(matches!(
        run(Task::Apply(vec![first]), &context),
        TaskResult::Applied { index: 1, .. }
    ));
    assert!(matches!(
        run(Task::Flush { applied: 1 }, &context),
        TaskResult::Flushed { .. }
    ));
    let from: Disk = Arc::new(net.members["a"].disk.clone());
    let source = Context {
        disk: &from,
        store: &net.members["a"].store,
        machine: &Adder,
        group: GROUP,
    };
    let TaskResult::SnapshotTaken(file) = run(Task::TakeSnapshot, &source) else {
        panic!("no snapshot")
    };
    let opened = run(
        Task::OpenPart {
            from: MemberId(2),
            snapshot: file.clone(),
        },
        &context,
    );
    assert!(matches!(opened, TaskResult::PartOpened { have: 0, .. }));
    let read = Task::ReadChunk {
        snapshot: Arc::new(file.clone()),
        to: MemberId(1),
        offset: 0,
        len: file.size as usize,
    };
    let TaskResult::ChunkRead { data, .. } = run(read, &source) else {
        panic!("no piece")
    };
    let written = run(
        Task::WritePart {
            snapshot: file.clone(),
            offset: 0,
            data,
        },
        &context,
    );
    assert!(matches!(written, TaskResult::PartWritten { have, .. } if have == file.size));
    (disk, store, file)
}

#[test]
fn a_damaged_part_is_thrown_away_and_the_old_state_stands() {
    let mut net = Net::group_of(1, |_| {});
    net.answer("a", None, "add x 5");
    let (disk, store, file) = fresh_receiver(&net);
    let before = dump(&store);
    let seam: Disk = Arc::new(disk);
    let context = Context {
        disk: &seam,
        store: &store,
        machine: &Adder,
        group: GROUP,
    };
    let bad = SnapshotFile {
        crc: file.crc ^ 1,
        ..file.clone()
    };
    let damaged = run(
        Task::OpenPart {
            from: MemberId(2),
            snapshot: bad.clone(),
        },
        &context,
    );
    assert!(
        matches!(damaged, TaskResult::PartOpened { have: 0, .. }),
        "the other part is gone"
    );
    run(
        Task::WritePart {
            snapshot: bad.clone(),
            offset: 0,
            data: vec![1; file.size as usize].into(),
        },
        &context,
    );
    assert!(matches!(
        run(Task::Install { snapshot: bad }, &context),
        TaskResult::BadSnapshot { .. }
    ));
    assert_eq!(dump(&store), before);
}
