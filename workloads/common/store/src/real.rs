//! The file-system seam on a folder of this machine.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};

use crate::fs::{File, FileSystem};

/// A folder as a disk.
#[derive(Clone, Debug)]
pub struct RealFs {
    root: PathBuf,
}

impl RealFs {
    /// Uses a folder, which is made if it does not exist.
    pub fn open(root: impl Into<PathBuf>) -> io::Result<Self> {
        let root = root.into();
        fs::create_dir_all(&root)?;
        Ok(RealFs { root })
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Refuses what would lead out of the folder.
    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        let inside = path
            .components()
            .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !inside {
            let why = format!("{} leads out of {}", path.display(), self.root.display());
            return Err(io::Error::new(ErrorKind::InvalidInput, why));
        }
        Ok(self.root.join(path))
    }
}

impl FileSystem for RealFs {
    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(self.resolve(path)?)?;
        Ok(Box::new(RealFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(RealFile(
            OpenOptions::new()
                .read(true)
                .write(true)
                .open(self.resolve(path)?)?,
        )))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut above = self.root.clone();
        for part in self
            .resolve(path)?
            .strip_prefix(&self.root)
            .unwrap_or(Path::new(""))
            .components()
        {
            let folder = above.join(part);
            match fs::create_dir(&folder) {
                Ok(()) => sync_folder(&above)?,
                Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.is_dir() => {}
                Err(error) => return Err(error),
            }
            above = folder;
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.resolve(path)?) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in entries {
            // A name that is not UTF-8 is none of ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(self.resolve(from)?, self.resolve(to)?)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        none_is_fine(fs::remove_file(self.resolve(path)?))
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        none_is_fine(fs::remove_dir_all(self.resolve(path)?))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        sync_folder(&self.resolve(path)?)
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        size(&self.resolve(path)?)
    }

    fn available(&self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.root)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

fn size(path: &Path) -> io::Result<u64> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    if !found.is_dir() {
        return Ok(found.len());
    }
    fs::read_dir(path)?.try_fold(0, |sum: u64, entry| Ok(sum + size(&entry?.path())?))
}

fn sync_folder(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

fn none_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

struct RealFile(fs::File);

impl File for RealFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            match self.0.read_at(&mut buf[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        let now = self.len()?;
        if len > now {
            // Allocated, not only extended: a full disk shows here and not in the middle of an append.
            let flags = rustix::fs::FallocateFlags::empty();
            match rustix::fs::fallocate(&self.0, flags, now, len - now) {
                Ok(()) => return Ok(()),
                Err(rustix::io::Errno::OPNOTSUPP) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.0.set_len(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_climb_out_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let disk = RealFs::open(folder.path().join("root")).unwrap();
        for path in ["../x", "/etc/passwd", "a/../../x"] {
            let refused = disk.create(Path::new(path)).err().unwrap();
            assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{path}");
            assert!(disk.create_dir_all(Path::new(path)).is_err(), "{path}");
            assert!(
                disk.rename(Path::new("a"), Path::new(path)).is_err(),
                "{path}"
            );
        }
        assert!(!folder.path().join("x").exists());
    }

    #[test]
    fn it_behaves_as_the_simulated_disk_does() {
        let folder = tempfile::tempdir().unwrap();
        crate::mem::tests::behaves(&RealFs::open(folder.path()).unwrap());
        assert!(RealFs::open(folder.path()).unwrap().available().unwrap() > 0);
    }
}
