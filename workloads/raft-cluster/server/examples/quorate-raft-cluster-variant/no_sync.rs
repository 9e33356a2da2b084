//! The build that does not sync, so that a test can show that it would notice.

use std::io;
use std::path::Path;

use quorate_store::{Disk, File, FileSystem};

/// A disk that syncs nothing.
pub struct NoSync(pub Disk);

struct NoSyncFile(Box<dyn File>);

impl FileSystem for NoSync {
    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(NoSyncFile(self.0.create(path)?)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(NoSyncFile(self.0.open(path)?)))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.0.create_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.0.list(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.0.remove_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        // The names stay durable: the test is about what was written, and a member without its files would be
        // noticed at once.
        self.0.sync_dir(path)
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        self.0.size(path)
    }

    fn available(&self) -> io::Result<u64> {
        self.0.available()
    }
}

impl File for NoSyncFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, buf)
    }

    fn write_at(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, data)
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
}
