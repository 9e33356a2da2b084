//! The file-system seam: what shipped code may ask of a disk. Synchronous on purpose: the binary calls it from
//! its writer thread, the simulator from its event loop, and both run the same code above it.

use std::io;
use std::path::Path;
use std::sync::Arc;

/// A disk. Paths are relative to its root. What a crash keeps: bytes of a file that [`File::sync`] covered, and names
/// that [`FileSystem::sync_dir`] covered; anything newer may be there, torn, or gone.
pub trait FileSystem: Send + Sync + 'static {
    /// Makes a new file; it is an error if the name exists.
    fn create(&self, path: &Path) -> io::Result<Box<dyn File>>;
    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>>;
    /// Makes a folder and those above it, durably.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// The names in a folder, sorted; empty if the folder does not exist.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Renames a file or folder; replaces a file.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file; it is no error if there is none.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes a folder with all in it; it is no error if there is none.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// The bytes of all files below a folder, or of a file; 0 if there is none.
    fn size(&self, path: &Path) -> io::Result<u64>;
    /// Free space in bytes.
    fn available(&self) -> io::Result<u64>;
}

/// An open file.
pub trait File: Send {
    /// Reads at an offset; the number of bytes read is smaller than asked only at the end of the file.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;
    /// Writes all of `data` at an offset.
    fn write_at(&mut self, offset: u64, data: &[u8]) -> io::Result<()>;
    /// Makes everything written so far durable (data and length: fdatasync).
    fn sync(&mut self) -> io::Result<()>;
    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether it holds nothing.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts or extends with zeros.
    fn set_len(&mut self, len: u64) -> io::Result<()>;
}

/// A shared disk.
pub type Disk = Arc<dyn FileSystem>;
