//! A disk that counts the fsyncs of the log, and can be told to fail or to be full.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use quorate_store::{File, FileSystem, RealFs};

#[derive(Default)]
pub struct Gauges {
    pub log_syncs: AtomicU64,
    pub fail_syncs: AtomicBool,
    pub full: AtomicBool,
}

pub struct CountingFs {
    inner: RealFs,
    gauges: Arc<Gauges>,
}

impl CountingFs {
    pub fn new(inner: RealFs) -> (Self, Arc<Gauges>) {
        let gauges = Arc::new(Gauges::default());
        (
            Self {
                inner,
                gauges: Arc::clone(&gauges),
            },
            gauges,
        )
    }

    fn wrap(&self, path: &Path, inner: Box<dyn File>) -> Box<dyn File> {
        if path.starts_with("log") {
            Box::new(CountingFile {
                inner,
                gauges: Arc::clone(&self.gauges),
            })
        } else {
            inner
        }
    }
}

impl FileSystem for CountingFs {
    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(self.wrap(path, self.inner.create(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(self.wrap(path, self.inner.open(path)?))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.inner.create_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.inner.list(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.remove(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.sync_dir(path)
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        self.inner.size(path)
    }

    fn available(&self) -> io::Result<u64> {
        if self.gauges.full.load(Ordering::Relaxed) {
            Ok(0)
        } else {
            self.inner.available()
        }
    }
}

struct CountingFile {
    inner: Box<dyn File>,
    gauges: Arc<Gauges>,
}

impl File for CountingFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.inner.read_at(offset, buf)
    }

    fn write_at(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.inner.write_at(offset, data)
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.gauges.fail_syncs.load(Ordering::Relaxed) {
            return Err(io::Error::other("the test's disk fails"));
        }
        self.gauges.log_syncs.fetch_add(1, Ordering::Relaxed);
        self.inner.sync()
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }
}
