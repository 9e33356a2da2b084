//! One segment: its name, its header, and how it comes into being.
//!
//! ```text
//! 0   magic "QUORATEL"
//! 8   format version (4 bytes)
//! 12  CRC-32 of bytes 0..12 and 16..40
//! 16  number of the segment
//! 24  where the segment before it ends
//! 32  bytes allocated
//! 40  frames; the first is the checkpoint
//! ```

use std::io;
use std::path::{Path, PathBuf};

use super::{LogError, LogOptions, Position, frame};
use crate::bytes_le::{le32, le64};
use crate::fs::{Disk, File};

pub(super) const HEADER: u64 = 40;
const MAGIC: [u8; 8] = *b"QUORATEL";
const VERSION: u32 = 1;
const SUFFIX: &str = ".log";
/// A segment that does not fit on the disk may be smaller by this factor.
const SMALLEST: u64 = 64;
/// A segment that has no name yet; of no worth after a crash.
pub(super) const UNFINISHED: &str = "next.tmp";

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub number: u64,
    pub previous_end: u64,
    pub allocated: u64,
}

/// A segment ready for appending.
pub(super) struct Open {
    pub file: Box<dyn File>,
    pub first: u64,
    pub end: u64,
    pub allocated: u64,
    /// How far an intact, durable frame says that the segment is durable.
    pub claimed: u64,
}

pub(super) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:020}{SUFFIX}"))
}

/// The segment's number, if `name` is a segment's.
pub(super) fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    (digits.len() == 20).then(|| digits.parse().ok())?
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER as usize] {
        let mut out = [0; HEADER as usize];
        out[..8].copy_from_slice(&MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[16..24].copy_from_slice(&self.number.to_le_bytes());
        out[24..32].copy_from_slice(&self.previous_end.to_le_bytes());
        out[32..40].copy_from_slice(&self.allocated.to_le_bytes());
        let crc = checksum(&out);
        out[12..16].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// `Err` says what is wrong.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let Some(head) = bytes.first_chunk::<{ HEADER as usize }>() else {
            return Err(format!(
                "the file has {} bytes, too few for a header",
                bytes.len()
            ));
        };
        if head[..8] != MAGIC || le32(&head[12..16]) != checksum(head) {
            return Err("the header's checksum is wrong".to_owned());
        }
        let version = le32(&head[8..12]);
        if version != VERSION {
            return Err(format!(
                "format version {version} is unknown here; a newer build wrote it"
            ));
        }
        Ok(Header {
            number: le64(&head[16..24]),
            previous_end: le64(&head[24..32]),
            allocated: le64(&head[32..40]),
        })
    }
}

fn checksum(head: &[u8; HEADER as usize]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&head[..12]);
    hasher.update(&head[16..]);
    hasher.finalize()
}

/// Makes a segment: header and checkpoint are durable before it gets its name, and the name before it is used.
/// So whatever is wrong with them later is damage, never a crash.
pub(super) fn make(
    disk: &Disk,
    dir: &Path,
    options: &LogOptions,
    number: u64,
    previous_end: u64,
    checkpoint: &[Vec<u8>],
) -> Result<Open, LogError> {
    let records: Vec<&[u8]> = checkpoint.iter().map(Vec::as_slice).collect();
    // Room for several times the checkpoint, or a large one would make every batch begin a segment.
    let several = 4 * (HEADER + frame::frame_len(&records)?);
    let least = several.max(options.segment_bytes / SMALLEST);
    let mut allocated = several.max(options.segment_bytes);
    let temporary = dir.join(UNFINISHED);
    loop {
        let header = Header {
            number,
            previous_end,
            allocated,
        };
        let mut bytes = header.encode().to_vec();
        let at = Position {
            segment: number,
            offset: HEADER,
        };
        frame::encode(&mut bytes, at, 0, &records)?;
        let first = bytes.len() as u64;
        match write_durably(disk, dir, &temporary, &path(dir, number), &bytes, allocated) {
            Ok(file) => {
                return Ok(Open {
                    file,
                    first,
                    end: first,
                    allocated,
                    claimed: first,
                });
            }
            // A member that is short of space takes no more writes of clients, and still has to vote and to follow.
            Err(full) if full.kind() == io::ErrorKind::StorageFull && allocated > least => {
                allocated = (allocated / 4).max(least);
            }
            Err(source) => {
                return Err(LogError::Io {
                    file: temporary.display().to_string(),
                    source,
                });
            }
        }
    }
}

fn write_durably(
    disk: &Disk,
    dir: &Path,
    temporary: &Path,
    name: &Path,
    bytes: &[u8],
    allocated: u64,
) -> io::Result<Box<dyn File>> {
    disk.remove(temporary)?;
    let mut file = disk.create(temporary)?;
    file.set_len(allocated)?;
    file.write_at(0, bytes)?;
    file.sync()?;
    disk.rename(temporary, name)?;
    disk.sync_dir(dir)?;
    Ok(file)
}
