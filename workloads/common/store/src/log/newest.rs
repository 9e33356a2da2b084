//! The number of the newest segment, in a file of its own: without it the loss of the last segment would look like a
//! log that ended earlier. It is written when a segment has its name and before anything else is in it, so that a crash
//! may leave a segment that is newer than the file says, never one that is older.

use std::path::Path;

use super::{LogError, segment};
use crate::atomic_file::{self, AtomicFileError};
use crate::fs::FileSystem;

/// The file's name in the log's folder.
pub const NEWEST: &str = "newest";
const VERSION: u32 = 1;

pub(super) fn write(disk: &dyn FileSystem, dir: &Path, number: u64) -> Result<(), LogError> {
    Ok(atomic_file::write(
        disk,
        &dir.join(NEWEST),
        VERSION,
        &number.to_le_bytes(),
    )?)
}

/// What the file says. A log that ends with segment `last` (0: there is none) is refused if a later one was there once.
pub(super) fn check(disk: &dyn FileSystem, dir: &Path, last: u64) -> Result<Option<u64>, LogError> {
    let path = dir.join(NEWEST);
    let corrupt = |file: &Path, why: String| LogError::Corrupt {
        file: file.display().to_string(),
        offset: 0,
        why,
    };
    let newest = match atomic_file::read(disk, &path)? {
        // A crash amid the making of a log; anything later has the file.
        None if last <= 1 => return Ok(None),
        None => return Err(corrupt(&path, "the file is missing".to_owned())),
        Some((VERSION, content)) => content.try_into().ok().map(u64::from_le_bytes),
        Some(_) => None,
    };
    match newest {
        Some(newest) if newest <= last => Ok(Some(newest)),
        Some(newest) => {
            let why = format!("the segment is missing; {NEWEST} says that it was there");
            Err(corrupt(&segment::path(dir, newest), why))
        }
        None => Err(corrupt(&path, "its content is unknown here".to_owned())),
    }
}

impl From<AtomicFileError> for LogError {
    fn from(error: AtomicFileError) -> Self {
        match error {
            AtomicFileError::Io { file, source } => LogError::Io { file, source },
            AtomicFileError::Corrupt { file, why } => LogError::Corrupt {
                file,
                offset: 0,
                why,
            },
        }
    }
}
