//! A simulated disk: it keeps what is durable apart from what is only written, and fails on demand.

mod content;
mod names;
#[cfg(test)]
pub(crate) mod tests;

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::fs::{File, FileSystem};
use content::Content;
use names::{InodeId, Names};

/// A disk in memory, shared by its clones. Deterministic: a [`MemFs::crash`] draws from the caller's generator only.
///
/// What a crash keeps: synced bytes and names. Of what was not synced it keeps for each sector of 512 bytes some
/// prefix of the writes to it (the last perhaps in part), some prefix of the changes of length, and in each folder
/// some prefix of the changes of names.
#[derive(Clone, Default)]
pub struct MemFs {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    names: Names<Content>,
    /// Handles remember it: those of an earlier life are dead.
    life: u64,
    available: u64,
    /// How many more bytes can be written before the disk is full.
    room: Option<u64>,
    failing_syncs: u32,
    counters: DiskCounters,
}

/// What a [`MemFs`] has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskCounters {
    /// Syncs of files.
    pub syncs: u64,
    /// Bytes written.
    pub written: u64,
}

impl Default for Inner {
    fn default() -> Self {
        Inner {
            names: Names::default(),
            life: 0,
            available: 1 << 40,
            room: None,
            failing_syncs: 0,
            counters: DiskCounters::default(),
        }
    }
}

impl MemFs {
    /// Power loss: see the type's documentation. Every open handle is dead, every pending fault is off.
    pub fn crash(&self, rng: &mut fastrand::Rng) {
        let mut inner = self.lock();
        inner.names.crash(rng);
        inner.names.each_file(|content| content.crash(rng));
        inner.life += 1;
        inner.room = None;
        inner.failing_syncs = 0;
    }

    /// The process dies and the machine lives: all that was written is there, synced or not; handles are dead.
    pub fn kill(&self) {
        self.lock().life += 1;
    }

    /// Flips a bit (0 to 7) of a durable byte. False if the file has no such durable byte.
    pub fn flip(&self, path: &Path, offset: u64, bit: u8) -> bool {
        let mut inner = self.lock();
        let Ok(inode) = inner.names.file(path) else {
            return false;
        };
        inner
            .names
            .content(inode)
            .is_some_and(|content| content.flip(offset, bit))
    }

    /// How many bytes of a file a crash would certainly keep.
    pub fn durable_len(&self, path: &Path) -> io::Result<u64> {
        let mut inner = self.lock();
        let inode = inner.names.file(path)?;
        Ok(inner
            .names
            .content(inode)
            .map_or(0, |content| content.durable_len()))
    }

    /// The disk is full after so many more bytes; `None`: it is not.
    pub fn fail_after(&self, bytes: Option<u64>) {
        self.lock().room = bytes;
    }

    /// The next so many syncs of files fail. What they should have made durable never becomes so, as on a Linux
    /// that marks pages clean after a failed write-back.
    pub fn fail_syncs(&self, count: u32) {
        self.lock().failing_syncs = count;
    }

    /// Sets what [`FileSystem::available`] answers.
    pub fn set_available(&self, bytes: u64) {
        self.lock().available = bytes;
    }

    /// What it has done so far.
    pub fn counters(&self) -> DiskCounters {
        self.lock().counters
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic of another thread in here leaves nothing half done that a test would trust.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, inode: InodeId, life: u64) -> Box<dyn File> {
        Box::new(MemFile {
            disk: self.clone(),
            inode,
            life,
        })
    }
}

impl std::fmt::Debug for MemFs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemFs")
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}

impl FileSystem for MemFs {
    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let mut inner = self.lock();
        let inode = inner.names.create(path, Content::default())?;
        Ok(self.handle(inode, inner.life))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let inner = self.lock();
        let inode = inner.names.file(path)?;
        Ok(self.handle(inode, inner.life))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.lock().names.create_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.lock().names.list(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.lock().names.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.lock().names.remove(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.lock().names.remove_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.lock().names.sync_dir(path)
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        self.lock().names.size(path, Content::len)
    }

    fn available(&self) -> io::Result<u64> {
        Ok(self.lock().available)
    }
}

struct MemFile {
    disk: MemFs,
    inode: InodeId,
    life: u64,
}

impl MemFile {
    fn with<T>(&self, act: impl FnOnce(&mut Inner, InodeId) -> io::Result<T>) -> io::Result<T> {
        let mut inner = self.disk.lock();
        if inner.life != self.life {
            return Err(io::Error::other("the file was opened before a crash"));
        }
        act(&mut inner, self.inode)
    }
}

impl Inner {
    fn content(&mut self, inode: InodeId) -> io::Result<&mut Content> {
        self.names
            .content(inode)
            .ok_or_else(|| io::Error::from(ErrorKind::NotFound))
    }
}

impl File for MemFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.with(|inner, inode| Ok(inner.content(inode)?.read(offset, buf)))
    }

    fn write_at(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.with(|inner, inode| {
            let fits = inner
                .room
                .map_or(data.len(), |room| data.len().min(room as usize));
            inner.room = inner.room.map(|room| room - fits as u64);
            inner.counters.written += fits as u64;
            inner.content(inode)?.write(offset, &data[..fits]);
            if fits < data.len() {
                Err(ErrorKind::StorageFull.into())
            } else {
                Ok(())
            }
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        self.with(|inner, inode| {
            inner.counters.syncs += 1;
            if inner.failing_syncs > 0 {
                inner.failing_syncs -= 1;
                inner.content(inode)?.lose();
                return Err(io::Error::other("the disk failed to sync"));
            }
            inner.content(inode)?.sync();
            Ok(())
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.with(|inner, inode| Ok(inner.content(inode)?.len()))
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.with(|inner, inode| {
            let grows = len.saturating_sub(inner.content(inode)?.len());
            if inner.room.is_some_and(|room| room < grows) {
                return Err(ErrorKind::StorageFull.into());
            }
            inner.content(inode)?.set_len(len);
            Ok(())
        })
    }
}
