//! The state store on RocksDB.
//!
//! One column family and no write-ahead log: the group's own log is the log. A batch goes into one memtable as a
//! whole, memtables reach the disk whole and in order, and a table file counts only once RocksDB's manifest, synced,
//! names it; so a crash keeps a prefix of the batches, which is what [`StateStore`] asks for.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod error;
mod options;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use quorate_store::{Batch, BatchWrite, Read, StateError, StateStore};
use rocksdb::{DB, DBRawIterator, FlushOptions, ReadOptions, Snapshot, WriteBatch, WriteOptions};

use error::state_error;
pub use options::RocksOptions;

/// After so many deletions a memtable goes to the disk, full or not: in memory nothing takes them away, and every scan
/// passes over each of them.
const MAX_DELETIONS: usize = 8192;

/// A store in a folder of its own.
pub struct RocksStore {
    db: Arc<DB>,
    unlogged: WriteOptions,
    /// Deletions since the last flush, about.
    deletions: AtomicUsize,
}

impl RocksStore {
    /// Opens the store in a folder, or makes it. Only one process (and in it one store) can have it open.
    pub fn open(path: &Path, options: &RocksOptions) -> Result<Self, StateError> {
        let db = DB::open(&options.to_rocksdb(), path)
            .map_err(|error| error::open_error(path, error))?;
        let mut unlogged = WriteOptions::default();
        unlogged.disable_wal(true);
        Ok(RocksStore {
            db: Arc::new(db),
            unlogged,
            deletions: AtomicUsize::new(0),
        })
    }

    /// Bytes that memtables, block cache and table readers hold, as far as RocksDB says.
    pub fn memory(&self) -> u64 {
        use rocksdb::properties::{
            BLOCK_CACHE_USAGE, CUR_SIZE_ALL_MEM_TABLES, ESTIMATE_TABLE_READERS_MEM,
        };
        let value = |name| self.db.property_int_value(name).ok().flatten().unwrap_or(0);
        value(CUR_SIZE_ALL_MEM_TABLES)
            + value(BLOCK_CACHE_USAGE)
            + value(ESTIMATE_TABLE_READERS_MEM)
    }
}

impl RocksStore {
    fn flush_within(&self, wait: bool) -> Result<(), StateError> {
        self.deletions.store(0, Relaxed);
        let mut options = FlushOptions::default();
        options.set_wait(wait);
        self.db.flush_opt(&options).map_err(state_error)
    }
}

impl std::fmt::Debug for RocksStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RocksStore")
            .field("path", &self.db.path())
            .finish()
    }
}

impl StateStore for RocksStore {
    fn write(&self, batch: Batch) -> Result<(), StateError> {
        let mut writes = WriteBatch::default();
        let mut deletions = 0;
        for write in &batch.writes {
            match write {
                BatchWrite::Put(key, value) => writes.put(key, value),
                BatchWrite::Delete(key) => {
                    deletions += 1;
                    writes.delete(key);
                }
                BatchWrite::DeleteRange(start, end) if start < end => {
                    writes.delete_range(start, end)
                }
                BatchWrite::DeleteRange(..) => {}
            }
        }
        self.db
            .write_opt(writes, &self.unlogged)
            .map_err(state_error)?;
        if self.deletions.fetch_add(deletions, Relaxed) + deletions >= MAX_DELETIONS {
            self.flush_within(false)?;
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), StateError> {
        self.flush_within(true)
    }

    fn view(&self) -> Result<Box<dyn Read>, StateError> {
        Ok(Box::new(View::new(self.db.clone(), |db| db.snapshot())))
    }
}

impl Read for RocksStore {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        let found = self.db.get_pinned(key).map_err(state_error)?;
        Ok(found.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn scan(
        &self,
        start: &[u8],
        end: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StateError> {
        walk(self.db.raw_iterator_opt(up_to(end)), start, end, visit)
    }
}

self_cell::self_cell!(
    /// A snapshot together with the store that it is of.
    struct View {
        owner: Arc<DB>,
        #[covariant]
        dependent: Snapshot,
    }
);

impl Read for View {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        let found = self
            .borrow_dependent()
            .get_pinned(key)
            .map_err(state_error)?;
        Ok(found.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn scan(
        &self,
        start: &[u8],
        end: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StateError> {
        walk(
            self.borrow_dependent().raw_iterator_opt(up_to(end)),
            start,
            end,
            visit,
        )
    }
}

/// Checksums are verified on every read: that is the default, said here because the design rests on it.
fn up_to(end: &[u8]) -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_verify_checksums(true);
    options.set_iterate_upper_bound(end);
    options
}

fn walk(
    mut iterator: DBRawIterator<'_>,
    start: &[u8],
    end: &[u8],
    visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
) -> Result<(), StateError> {
    if start >= end {
        return Ok(());
    }
    iterator.seek(start);
    while let Some((key, value)) = iterator.item() {
        if !visit(key, value) {
            return Ok(());
        }
        iterator.next();
    }
    iterator.status().map_err(state_error)
}
