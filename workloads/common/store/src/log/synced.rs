//! How far the log was durable, in a file beside it. Damage at a log's very end looks like a write that a crash tore:
//! only another witness can tell. This one is written behind each sync and not synced itself, so it never says too
//! much: after the death of a process it is exact, after a power loss it may be some seconds old, torn or not there.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::{LogError, Position};
use crate::bytes_le::{le32, le64};
use crate::fs::{Disk, File};

const NAME: &str = "synced";
/// Segment, offset, and the CRC-32 of both: within one sector.
const LEN: usize = 20;

/// The open file.
pub(super) struct Synced {
    path: PathBuf,
    file: Box<dyn File>,
}

impl Synced {
    /// Opens the file, or makes it, and says what it holds; none if nobody can read that.
    pub(super) fn open(disk: &Disk, dir: &Path) -> Result<(Self, Option<Position>), LogError> {
        let path = dir.join(NAME);
        let opened = match disk.open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => disk.create(&path),
            other => other,
        };
        let mut bytes = [0; LEN];
        let read = opened.and_then(|file| {
            file.read_at(0, &mut bytes)?;
            Ok(file)
        });
        match read {
            Ok(file) => Ok((Self { path, file }, decode(bytes))),
            Err(source) => Err(failed(&path, source)),
        }
    }

    /// The log is durable up to here.
    pub(super) fn note(&mut self, position: Position) -> Result<(), LogError> {
        let written = self.file.write_at(0, &encode(position));
        written.map_err(|source| failed(&self.path, source))
    }
}

fn failed(path: &Path, source: io::Error) -> LogError {
    LogError::Io {
        file: path.display().to_string(),
        source,
    }
}

fn encode(position: Position) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    bytes[..8].copy_from_slice(&position.segment.to_le_bytes());
    bytes[8..16].copy_from_slice(&position.offset.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..16]);
    bytes[16..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn decode(bytes: [u8; LEN]) -> Option<Position> {
    let intact = le32(&bytes[16..]) == crc32fast::hash(&bytes[..16]);
    intact.then(|| Position {
        segment: le64(&bytes[..8]),
        offset: le64(&bytes[8..16]),
    })
}
