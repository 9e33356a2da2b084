use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use quorate_store::conformance::{self, Rig};
use tempfile::TempDir;

use super::*;

fn small() -> RocksOptions {
    RocksOptions {
        block_cache_bytes: 1 << 20,
        write_buffer_bytes: 64 << 10,
        max_open_files: 64,
    }
}

fn put(key: &str, value: &str) -> Batch {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    Batch {
        writes: vec![BatchWrite::Put(bytes(key), bytes(value))],
    }
}

/// A crash is a copy of the folder as it is while the store is open: what a killed process leaves behind. It does
/// not show what a power loss would do; RocksDB's own syncs are tested by the lab's file system.
struct Folders {
    root: TempDir,
    life: u32,
}

impl Folders {
    fn path(&self) -> PathBuf {
        self.root.path().join(self.life.to_string())
    }
}

impl Rig for Folders {
    type Store = RocksStore;

    fn open(&mut self) -> RocksStore {
        RocksStore::open(&self.path(), &small()).unwrap()
    }

    fn crash(&mut self, store: RocksStore, _rng: &mut fastrand::Rng) {
        let from = self.path();
        self.life += 1;
        let to = self.path();
        // A compaction may run beside us: copy until nothing has changed meanwhile.
        loop {
            let before = files(&from);
            let _ = fs::remove_dir_all(&to);
            fs::create_dir_all(&to).unwrap();
            let copied = before
                .keys()
                .all(|name| fs::copy(from.join(name), to.join(name)).is_ok());
            if copied && files(&from) == before {
                break;
            }
        }
        drop(store);
    }
}

fn files(folder: &Path) -> BTreeMap<String, u64> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            (
                entry.file_name().into_string().unwrap(),
                entry.metadata().map_or(0, |meta| meta.len()),
            )
        })
        .filter(|(name, _)| !name.starts_with("LO"))
        .collect()
}

#[test]
fn it_conforms() {
    conformance::run(|| Folders {
        root: tempfile::tempdir().unwrap(),
        life: 0,
    });
}

#[test]
fn a_second_process_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let _first = RocksStore::open(folder.path(), &small()).unwrap();
    let second = RocksStore::open(folder.path(), &small()).unwrap_err();
    assert!(
        second
            .to_string()
            .contains("another process uses this folder"),
        "{second}"
    );
}

#[test]
fn a_damaged_table_is_corruption() {
    let folder = tempfile::tempdir().unwrap();
    let store = RocksStore::open(folder.path(), &small()).unwrap();
    for key in 0..500 {
        store
            .write(put(
                &format!("key{key:04}"),
                "a value that is long enough to fill some blocks of a table",
            ))
            .unwrap();
    }
    store.flush().unwrap();
    drop(store);
    for (name, len) in files(folder.path()) {
        if name.ends_with(".sst") {
            let mut bytes = fs::read(folder.path().join(&name)).unwrap();
            bytes[len as usize / 3] ^= 1;
            fs::write(folder.path().join(&name), bytes).unwrap();
        }
    }
    let store = RocksStore::open(folder.path(), &small()).unwrap();
    let scanned = store.scan(b"", b"z", &mut |_, _| true);
    assert!(
        matches!(scanned, Err(StateError::Corrupt(_))),
        "{scanned:?}"
    );
    let view = store.view().unwrap();
    assert!(matches!(
        view.scan(b"", b"z", &mut |_, _| true),
        Err(StateError::Corrupt(_))
    ));
}

#[test]
fn a_missing_table_is_corruption() {
    let folder = tempfile::tempdir().unwrap();
    let store = RocksStore::open(folder.path(), &small()).unwrap();
    store.write(put("key", "value")).unwrap();
    store.flush().unwrap();
    drop(store);
    for name in files(folder.path())
        .into_keys()
        .filter(|name| name.ends_with(".sst"))
    {
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    let opened = RocksStore::open(folder.path(), &small());
    assert!(matches!(opened, Err(StateError::Corrupt(_))), "{opened:?}");
}

const CHILD: &str = "QUORATE_ROCKS_TEST_CHILD";

/// Not a test of its own: what the process does that the next test kills.
#[test]
fn child_that_writes_until_killed() {
    let Some(folder) = std::env::var_os(CHILD) else {
        return;
    };
    let store = RocksStore::open(Path::new(&folder), &small()).unwrap();
    for number in 0u64.. {
        let value = Bytes::from(format!("{number:020}{}", "x".repeat(200)));
        let keys = [
            "first".to_owned(),
            format!("key{}", number % 50),
            "last".to_owned(),
        ];
        let writes = keys
            .into_iter()
            .map(|key| BatchWrite::Put(Bytes::from(key), value.clone()))
            .collect();
        store.write(Batch { writes }).unwrap();
        if number % 97 == 0 {
            store.flush().unwrap();
            println!("flushed {number}");
        }
    }
}

#[test]
fn a_killed_process_leaves_a_prefix_with_all_that_was_flushed() {
    for lines in [1, 5, 30] {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "tests::child_that_writes_until_killed",
                "--nocapture",
            ])
            .env(CHILD, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map(Result::unwrap);
        let said = output.filter_map(|line| {
            line.split_once("flushed ")
                .map(|(_, number)| number.to_owned())
        });
        let flushed: u64 = said.take(lines).last().unwrap().parse().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();

        let store = RocksStore::open(folder.path(), &small()).unwrap();
        let value = |key: &str| {
            store
                .get(key.as_bytes())
                .unwrap()
                .map(|value| value[..20].to_vec())
        };
        let number: u64 = String::from_utf8(value("first").unwrap())
            .unwrap()
            .parse()
            .unwrap();
        assert!(number >= flushed, "{number} < {flushed}");
        assert_eq!(value("first"), value("last"), "a batch was kept in part");
        assert_eq!(value("first"), value(&format!("key{}", number % 50)));
        for back in 1..50.min(number) {
            let kept: u64 =
                String::from_utf8(value(&format!("key{}", (number - back) % 50)).unwrap())
                    .unwrap()
                    .parse()
                    .unwrap();
            assert_eq!(kept, number - back, "no prefix");
        }
    }
}

#[test]
fn memory_is_accounted() {
    let folder = tempfile::tempdir().unwrap();
    let store = RocksStore::open(folder.path(), &small()).unwrap();
    assert!(store.memory() > 0);
}

/// How many keys that are no more a scan of everything passes over.
fn skipped(store: &RocksStore) -> u64 {
    use rocksdb::perf::{PerfContext, PerfMetric, PerfStatsLevel, set_perf_stats};
    set_perf_stats(PerfStatsLevel::EnableCount);
    let mut context = PerfContext::default();
    context.reset();
    let view = store.view().unwrap();
    view.scan(b"", b"\xff", &mut |_, _| true).unwrap();
    context.metric(PerfMetric::InternalKeySkippedCount)
        + context.metric(PerfMetric::InternalDeleteSkippedCount)
}

#[test]
fn a_read_of_what_was_deleted_is_cheap() {
    const KEYS: u32 = 100_000;
    let folder = tempfile::tempdir().unwrap();
    let options = RocksOptions::default();
    let store = RocksStore::open(folder.path(), &options).unwrap();
    let key = |number: u32| Bytes::from(format!("key-{number:08}"));
    let value = Bytes::from_static(&[b'v'; 100]);
    let numbers: Vec<u32> = (0..KEYS).collect();
    let write = |one: &dyn Fn(u32) -> BatchWrite| {
        for batch in numbers.chunks(128) {
            let writes = batch.iter().map(|number| one(*number)).collect();
            store.write(Batch { writes }).unwrap();
        }
    };
    write(&|number| BatchWrite::Put(key(number), value.clone()));
    store.flush().unwrap();
    write(&|number| BatchWrite::Delete(key(number)));
    // What a memtable may hold, and as much again that is on its way to the disk.
    let bound = 3 * MAX_DELETIONS as u64;
    let begun = std::time::Instant::now();
    loop {
        let skipped = skipped(&store);
        if skipped <= bound {
            break;
        }
        assert!(begun.elapsed().as_secs() < 60, "{skipped} are passed over");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    drop(store);
    let store = RocksStore::open(folder.path(), &options).unwrap();
    assert!(skipped(&store) <= bound, "after a start");
}
