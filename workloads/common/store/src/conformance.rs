//! What every [`StateStore`] must do, as one suite that drives any of them. It panics where a store does not conform.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::state::{Batch, BatchWrite, Read, StateStore};

/// A place where stores of a kind live, on a disk (or what stands for one) that outlives them.
pub trait Rig {
    /// The kind.
    type Store: StateStore;
    /// Opens the store, as after a start of the process. The first time it is empty.
    fn open(&mut self) -> Self::Store;
    /// Ends the store as a crash would. Whatever it was doing is cut short.
    fn crash(&mut self, store: Self::Store, rng: &mut fastrand::Rng);
}

type Model = BTreeMap<Bytes, Bytes>;

/// Runs the whole suite; `fresh` makes an empty place.
pub fn run<R: Rig>(mut fresh: impl FnMut() -> R) {
    reads_and_writes(&mut fresh());
    ranges(&mut fresh());
    order_within_a_batch(&mut fresh());
    frozen_views(&mut fresh());
    views_outlive_the_store(&mut fresh());
    flushed_is_durable(&mut fresh());
    for seed in 0..24 {
        crashes_keep_a_prefix(&mut fresh(), seed);
    }
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn put(key: &str, value: &str) -> BatchWrite {
    BatchWrite::Put(bytes(key), bytes(value))
}

fn delete(key: &str) -> BatchWrite {
    BatchWrite::Delete(bytes(key))
}

fn delete_range(start: &str, end: &str) -> BatchWrite {
    BatchWrite::DeleteRange(bytes(start), bytes(end))
}

#[track_caller]
fn write(store: &impl StateStore, writes: impl IntoIterator<Item = BatchWrite>) {
    let written = store.write(Batch {
        writes: writes.into_iter().collect(),
    });
    assert!(written.is_ok(), "a write failed: {written:?}");
}

#[track_caller]
fn all(store: &(impl Read + ?Sized)) -> Model {
    let mut found = Model::new();
    let scanned = store.scan(b"", &[0xff; 16], &mut |key, value| {
        found.insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        true
    });
    assert!(scanned.is_ok(), "a scan failed: {scanned:?}");
    found
}

#[track_caller]
fn keys(store: &(impl Read + ?Sized), start: &str, end: &str, most: usize) -> Vec<String> {
    let mut found = Vec::new();
    let scanned = store.scan(start.as_bytes(), end.as_bytes(), &mut |key, _| {
        found.push(String::from_utf8_lossy(key).into_owned());
        found.len() < most
    });
    assert!(scanned.is_ok(), "a scan failed: {scanned:?}");
    found
}

#[track_caller]
fn value(store: &(impl Read + ?Sized), key: &str) -> Option<String> {
    match store.get(key.as_bytes()) {
        Ok(found) => found.map(|value| String::from_utf8_lossy(&value).into_owned()),
        Err(error) => panic!("a read failed: {error}"),
    }
}

fn reads_and_writes<R: Rig>(rig: &mut R) {
    let store = rig.open();
    assert_eq!(value(&store, "a"), None);
    write(&store, [put("a", "1"), put("", "empty key"), put("b", "")]);
    assert_eq!(value(&store, "a").as_deref(), Some("1"));
    assert_eq!(value(&store, "").as_deref(), Some("empty key"));
    assert_eq!(
        value(&store, "b").as_deref(),
        Some(""),
        "an empty value is a value"
    );
    write(&store, [put("a", "2"), delete("b"), delete("never there")]);
    assert_eq!(value(&store, "a").as_deref(), Some("2"));
    assert_eq!(value(&store, "b"), None);
    write(&store, []);
}

fn ranges<R: Rig>(rig: &mut R) {
    let store = rig.open();
    write(&store, ["a", "b", "ba", "c", "d"].map(|key| put(key, key)));
    assert_eq!(
        keys(&store, "b", "d", 9),
        ["b", "ba", "c"],
        "start is inclusive, end exclusive"
    );
    assert_eq!(
        keys(&store, "a", "z", 2),
        ["a", "b"],
        "a visitor that answers false ends the scan"
    );
    assert!(keys(&store, "c", "c", 9).is_empty(), "an empty range");
    assert!(
        keys(&store, "d", "a", 9).is_empty(),
        "a range that ends before it starts"
    );
    write(&store, [delete_range("b", "c")]);
    assert_eq!(
        keys(&store, "", "z", 9),
        ["a", "c", "d"],
        "the end of a removed range stays"
    );
    write(&store, [delete_range("d", "a"), delete_range("c", "c")]);
    assert_eq!(
        keys(&store, "", "z", 9),
        ["a", "c", "d"],
        "empty ranges remove nothing"
    );
    let high = Bytes::from_static(&[0xff, 0, 0xff]);
    write(&store, [BatchWrite::Put(high.clone(), bytes("bytes"))]);
    assert_eq!(
        all(&store).get(&high),
        Some(&bytes("bytes")),
        "keys are bytes, in their order"
    );
}

fn order_within_a_batch<R: Rig>(rig: &mut R) {
    let store = rig.open();
    write(&store, [put("k1", "old"), put("k2", "old")]);
    write(
        &store,
        [
            put("k1", "lost"),
            delete_range("k", "l"),
            put("k2", "new"),
            put("k3", "x"),
            delete("k3"),
        ],
    );
    assert_eq!(all(&store), Model::from([(bytes("k2"), bytes("new"))]));
}

fn frozen_views<R: Rig>(rig: &mut R) {
    let store = rig.open();
    write(&store, [put("a", "1"), put("b", "1")]);
    let Ok(view) = store.view() else {
        panic!("no view")
    };
    write(
        &store,
        [put("a", "2"), delete_range("b", "z"), put("c", "2")],
    );
    assert!(store.flush().is_ok());
    assert_eq!(
        all(view.as_ref()),
        Model::from([(bytes("a"), bytes("1")), (bytes("b"), bytes("1"))])
    );
    assert_eq!(value(view.as_ref(), "c"), None);
    assert_eq!(
        value(&store, "c").as_deref(),
        Some("2"),
        "writes are visible at once"
    );
}

fn views_outlive_the_store<R: Rig>(rig: &mut R) {
    let store = rig.open();
    write(&store, [put("a", "1")]);
    let Ok(view) = store.view() else {
        panic!("no view")
    };
    drop(store);
    assert_eq!(
        std::thread::spawn(move || value(view.as_ref(), "a"))
            .join()
            .ok()
            .flatten()
            .as_deref(),
        Some("1")
    );
}

fn flushed_is_durable<R: Rig>(rig: &mut R) {
    let mut rng = fastrand::Rng::with_seed(1);
    let store = rig.open();
    write(&store, [put("a", "1"), put("b", "1")]);
    write(&store, [delete_range("b", "c")]);
    assert!(store.flush().is_ok());
    rig.crash(store, &mut rng);
    assert_eq!(all(&rig.open()), Model::from([(bytes("a"), bytes("1"))]));
}

/// Several lives of random batches, flushes and crashes: after each crash the store is some prefix of the batches,
/// at least all that were flushed.
fn crashes_keep_a_prefix<R: Rig>(rig: &mut R, seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut model = Model::new();
    for life in 0..3 {
        let store = rig.open();
        assert_eq!(
            all(&store),
            model,
            "seed {seed}, life {life}: not what the crash had left"
        );
        let mut prefixes = vec![model.clone()];
        for number in 0..rng.usize(1..30) {
            let batch = random_batch(&mut rng, number);
            apply(&mut model, &batch);
            write(&store, batch.writes);
            prefixes.push(model.clone());
            assert_eq!(all(&store), model, "seed {seed}: not what was written");
            if rng.u8(..8) == 0 {
                assert!(store.flush().is_ok());
                prefixes = vec![model.clone()];
            }
        }
        rig.crash(store, &mut rng);
        model = all(&rig.open());
        assert!(
            prefixes.contains(&model),
            "seed {seed}, life {life}: {model:?} is no prefix of the batches"
        );
    }
}

fn random_batch(rng: &mut fastrand::Rng, number: usize) -> Batch {
    let key = |rng: &mut fastrand::Rng| bytes(&format!("key{}", rng.u8(..12)));
    let mut writes = Vec::new();
    for _ in 0..rng.usize(1..5) {
        writes.push(match rng.u8(..8) {
            0 => BatchWrite::DeleteRange(key(rng), key(rng)),
            1 | 2 => BatchWrite::Delete(key(rng)),
            _ => BatchWrite::Put(key(rng), bytes(&format!("value {number}"))),
        });
    }
    // Two keys that every batch writes: a batch kept in part would leave them unequal.
    writes.insert(0, put("first", &number.to_string()));
    writes.push(put("last", &number.to_string()));
    Batch { writes }
}

fn apply(model: &mut Model, batch: &Batch) {
    for write in &batch.writes {
        match write {
            BatchWrite::Put(key, value) => {
                model.insert(key.clone(), value.clone());
            }
            BatchWrite::Delete(key) => {
                model.remove(key);
            }
            BatchWrite::DeleteRange(start, end) => model.retain(|key, _| key < start || key >= end),
        }
    }
}
