//! Small files that are replaced whole: identities, markers. After a crash the old content is there or the new.
//!
//! ```text
//! 0   magic "QUORATEF"
//! 8   the caller's format version (4 bytes)
//! 12  CRC-32 of version and content
//! 16  length of the content (8 bytes)
//! 24  content
//! ```

use std::io;
use std::path::{Path, PathBuf};

use crate::bytes_le::{le32, le64};
use crate::fs::FileSystem;

const HEADER: usize = 24;
const MAGIC: [u8; 8] = *b"QUORATEF";

/// Why a file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum AtomicFileError {
    /// The disk refused.
    #[error("{file}: {source}")]
    Io {
        /// The file.
        file: String,
        /// What the disk said.
        source: io::Error,
    },
    /// What was durable once cannot be read any more.
    #[error("{file} is damaged: {why}")]
    Corrupt {
        /// The file.
        file: String,
        /// How it shows.
        why: String,
    },
}

/// Replaces the file, durably. `version` is that of the caller's format.
pub fn write(
    disk: &dyn FileSystem,
    path: &Path,
    version: u32,
    content: &[u8],
) -> Result<(), AtomicFileError> {
    let mut bytes = Vec::with_capacity(HEADER + content.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&version.to_le_bytes());
    bytes.extend_from_slice(&checksum(version, content).to_le_bytes());
    bytes.extend_from_slice(&(content.len() as u64).to_le_bytes());
    bytes.extend_from_slice(content);
    replace(disk, path, &bytes).map_err(|source| AtomicFileError::Io {
        file: path.display().to_string(),
        source,
    })
}

/// The version and content of the file; `None` if there is no such file.
pub fn read(disk: &dyn FileSystem, path: &Path) -> Result<Option<(u32, Vec<u8>)>, AtomicFileError> {
    let io = |source| AtomicFileError::Io {
        file: path.display().to_string(),
        source,
    };
    let corrupt = |why: &str| AtomicFileError::Corrupt {
        file: path.display().to_string(),
        why: why.to_owned(),
    };
    let file = match disk.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    let mut bytes = vec![0; file.len().map_err(io)? as usize];
    let read = file.read_at(0, &mut bytes).map_err(io)?;
    bytes.truncate(read);
    let Some((head, content)) = bytes.split_first_chunk::<HEADER>() else {
        return Err(corrupt("it is too short"));
    };
    let version = le32(&head[8..12]);
    if head[..8] != MAGIC || le64(&head[16..24]) != content.len() as u64 {
        return Err(corrupt("its header is wrong"));
    }
    if le32(&head[12..16]) != checksum(version, content) {
        return Err(corrupt("its checksum is wrong"));
    }
    Ok(Some((version, content.to_vec())))
}

fn replace(disk: &dyn FileSystem, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = PathBuf::from(format!("{}.tmp", path.display()));
    disk.remove(&temporary)?;
    let mut file = disk.create(&temporary)?;
    file.write_at(0, bytes)?;
    file.sync()?;
    disk.rename(&temporary, path)?;
    disk.sync_dir(path.parent().unwrap_or(Path::new("")))
}

fn checksum(version: u32, content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&version.to_le_bytes());
    hasher.update(content);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemFs;

    #[test]
    fn a_crash_leaves_the_old_content_or_the_new() {
        let path = Path::new("identity");
        for seed in 0..500 {
            let disk = MemFs::default();
            let mut rng = fastrand::Rng::with_seed(seed);
            write(&disk, path, 1, b"old").unwrap();
            disk.fail_after(Some(rng.u64(..9)));
            let done = write(&disk, path, 2, b"the new one").is_ok();
            disk.fail_after(None);
            disk.crash(&mut rng);
            let found = read(&disk, path).unwrap().unwrap();
            let new = found == (2, b"the new one".to_vec());
            assert!(
                new || (!done && found == (1, b"old".to_vec())),
                "seed {seed}: {found:?}"
            );
        }
    }

    #[test]
    fn damage_is_told_and_absence_is_not_damage() {
        let disk = MemFs::default();
        let path = Path::new("identity");
        assert!(read(&disk, path).unwrap().is_none());
        write(&disk, path, 1, b"content").unwrap();
        for bit in 0..disk.durable_len(path).unwrap() * 8 {
            disk.flip(path, bit / 8, (bit % 8) as u8);
            assert!(
                matches!(read(&disk, path), Err(AtomicFileError::Corrupt { .. })),
                "bit {bit}"
            );
            disk.flip(path, bit / 8, (bit % 8) as u8);
        }
        assert_eq!(read(&disk, path).unwrap().unwrap().1, b"content");
    }
}
