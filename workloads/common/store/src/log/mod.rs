//! A log of opaque records in checksummed segments.
//!
//! A batch of records is one frame ([`frame`]), written with one call; [`SegmentLog::sync`] makes all earlier frames
//! durable. Segments are files of a preallocated size; each begins with a frame of the caller's own checkpoint, so
//! that the segments before it can be dropped. A segment gets its name only after its header and checkpoint are
//! durable, and only after all of the segment before it is.
//!
//! # What recovery can tell, and what it cannot
//! A crash may tear what no sync covered, and nothing else. So damage is **corruption**, told with file and offset,
//! - in a header, in a checkpoint, or anywhere in a segment that is not the last,
//! - in the last segment before an intact frame which says that the log had been synced beyond the damage: each
//!   frame carries how far its segment was known to be durable when the frame was written,
//! - where the log ends before what [`synced`] says was durable.
//!
//! Any other damage in the last segment is a **torn tail** and is cut. What cannot be told from a tear: damage to
//! frames that were synced, after which nothing more was written, where a power loss took the latest of [`synced`] too.
//! [`SegmentLog::proven`] is the border, [`SegmentLog::close`] moves it to the end. The loss of the last segments shows,
//! since [`newest`] names the last one; that of the whole folder cannot be seen from here: the caller's identity file
//! and its state store can show it.

mod frame;
mod newest;
mod recover;
mod segment;
mod synced;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use crate::fs::{Disk, File};

pub use newest::NEWEST;

/// How a log lies on its disk.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The size of a segment in bytes; it is allocated at once. A larger batch makes its segment larger.
    pub segment_bytes: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        LogOptions {
            segment_bytes: 64 << 20,
        }
    }
}

/// A place in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The number of the segment; consecutive from 1.
    pub segment: u64,
    /// Bytes from its beginning.
    pub offset: u64,
}

/// Why the log cannot go on. Whatever the reason, a log that failed once fails ever after: the caller must end
/// the process and open it again, because nobody knows what a failed write or sync has left (fsyncgate, 2018).
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The disk refused.
    #[error("log {file}: {source}")]
    Io {
        /// The file or folder.
        file: String,
        /// What the disk said.
        source: io::Error,
    },
    /// What was durable once cannot be read any more: the member must be replaced.
    #[error("log {file} is damaged at byte {offset}: {why}")]
    Corrupt {
        /// The file.
        file: String,
        /// Where.
        offset: u64,
        /// How it shows.
        why: String,
    },
    /// The batch is larger than a frame can be (4 GiB).
    #[error("a batch of {0} bytes is too large for the log")]
    TooLarge(usize),
    /// An earlier write or sync failed.
    #[error("the log has failed before and must be opened again")]
    Poisoned,
}

/// What [`SegmentLog::open`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// How many records were visited.
    pub records: u64,
    /// A tail that a crash had torn and that was cut.
    pub torn: Option<TornTail>,
}

/// A tail that was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// Where the log ends now.
    pub at: Position,
    /// Bytes from there to the last one that was not zero.
    pub bytes: u64,
}

/// Takes a record of the segment with that number, or says why it makes no sense.
pub type Visit<'a> = dyn FnMut(u64, &[u8]) -> Result<(), String> + 'a;

/// The log: one writer, one open segment.
pub struct SegmentLog {
    disk: Disk,
    dir: PathBuf,
    options: LogOptions,
    file: Box<dyn File>,
    current: u64,
    /// Where the next frame goes.
    end: u64,
    /// Where the checkpoint ends.
    first: u64,
    /// What the segment was allocated for.
    allocated: u64,
    /// Up to here the current segment is durable.
    durable: u64,
    /// Up to here an intact frame *in memory* says so; it moves to `proven` when that frame is durable.
    claimed: u64,
    proven: u64,
    /// Bytes in each segment.
    sizes: BTreeMap<u64, u64>,
    synced: synced::Synced,
    poisoned: bool,
    buffer: Vec<u8>,
}

impl SegmentLog {
    /// Opens the log in a folder, or makes a new one, and streams every record in order to `visit`, with the
    /// number of its segment. What `visit` refuses is corruption at that place. A torn tail is cut, durably; all
    /// that was visited is durable when this returns.
    ///
    /// A new log's first segment has an empty checkpoint.
    pub fn open(
        disk: Disk,
        dir: impl Into<PathBuf>,
        options: LogOptions,
        visit: &mut Visit<'_>,
    ) -> Result<(Self, Recovered), LogError> {
        recover::open(disk, dir.into(), options, visit)
    }

    /// Appends records as one batch with one write and says in which segment it lies. When the segment is full a
    /// new one is begun (see [`SegmentLog::roll`]) with the records that `checkpoint` returns: they must stand for
    /// all that was appended before this batch and that the caller would miss if older segments were dropped.
    pub fn append(
        &mut self,
        records: &[&[u8]],
        checkpoint: &mut dyn FnMut() -> Vec<Vec<u8>>,
    ) -> Result<u64, LogError> {
        self.live()?;
        if records.is_empty() {
            return Ok(self.current);
        }
        let len = frame::frame_len(records)?;
        if self.end > self.first && self.end + len > self.allocated {
            self.roll(&checkpoint())?;
        }
        self.write_frame(records)?;
        Ok(self.current)
    }

    /// Makes everything appended so far durable.
    pub fn sync(&mut self) -> Result<(), LogError> {
        self.live()?;
        if self.durable == self.end {
            return Ok(());
        }
        let synced = self.file.sync();
        self.check(synced)?;
        self.durable = self.end;
        self.proven = self.claimed;
        let noted = self.synced.note(self.position());
        self.check_log(noted)
    }

    /// Syncs the current segment and begins a new one, durably, with these records.
    pub fn roll(&mut self, checkpoint: &[Vec<u8>]) -> Result<u64, LogError> {
        self.sync()?;
        let number = self.current + 1;
        let made = segment::make(
            &self.disk,
            &self.dir,
            &self.options,
            number,
            self.end,
            checkpoint,
        );
        let new = self.check_log(made)?;
        let named = newest::write(&*self.disk, &self.dir, number);
        self.check_log(named)?;
        self.sizes.insert(self.current, self.end);
        self.current = number;
        self.enter(new);
        Ok(number)
    }

    /// Removes all segments below `segment`, the current one excepted.
    pub fn drop_below(&mut self, segment: u64) -> Result<(), LogError> {
        self.live()?;
        let old: Vec<u64> = self
            .sizes
            .range(..segment.min(self.current))
            .map(|(number, _)| *number)
            .collect();
        // Lowest first: a crash in between leaves no gap.
        for number in &old {
            let removed = self.disk.remove(&segment::path(&self.dir, *number));
            self.check(removed)?;
            self.sizes.remove(number);
        }
        if !old.is_empty() {
            let synced = self.disk.sync_dir(&self.dir);
            self.check(synced)?;
        }
        Ok(())
    }

    /// Ends the log so that later damage to any of it can be told from a torn tail.
    pub fn close(mut self) -> Result<(), LogError> {
        self.sync()?;
        self.write_frame(&[])?;
        self.sync()
    }

    /// The number of the segment being written.
    pub fn segment(&self) -> u64 {
        self.current
    }

    /// The number of the oldest segment.
    pub fn first_segment(&self) -> u64 {
        self.sizes.keys().next().copied().unwrap_or(self.current)
    }

    /// Where the next batch goes.
    pub fn position(&self) -> Position {
        Position {
            segment: self.current,
            offset: self.end,
        }
    }

    /// Damage before this place is always told; damage between it and the end may be taken for a torn tail after a power
    /// loss.
    pub fn proven(&self) -> Position {
        Position {
            segment: self.current,
            offset: self.proven,
        }
    }

    /// Bytes in all segments, without what is only allocated.
    pub fn bytes(&self) -> u64 {
        self.sizes.values().sum()
    }

    fn enter(&mut self, new: segment::Open) {
        self.file = new.file;
        self.first = new.first;
        self.allocated = new.allocated;
        self.end = new.end;
        self.durable = new.end;
        self.claimed = new.claimed;
        self.proven = new.claimed;
        self.sizes.insert(self.current, new.end);
    }

    fn write_frame(&mut self, records: &[&[u8]]) -> Result<(), LogError> {
        self.live()?;
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let place = Position {
            segment: self.current,
            offset: self.end,
        };
        let written = frame::encode(&mut buffer, place, self.durable, records).and_then(|()| {
            self.file
                .write_at(self.end, &buffer)
                .map_err(|source| self.io(source))
        });
        let len = buffer.len() as u64;
        self.buffer = buffer;
        self.check_log(written)?;
        self.claimed = self.durable;
        self.end += len;
        self.sizes.insert(self.current, self.end);
        Ok(())
    }

    fn live(&self) -> Result<(), LogError> {
        if self.poisoned {
            Err(LogError::Poisoned)
        } else {
            Ok(())
        }
    }

    fn io(&self, source: io::Error) -> LogError {
        LogError::Io {
            file: segment::path(&self.dir, self.current).display().to_string(),
            source,
        }
    }

    fn check<T>(&mut self, result: io::Result<T>) -> Result<T, LogError> {
        let result = result.map_err(|source| self.io(source));
        self.check_log(result)
    }

    fn check_log<T>(&mut self, result: Result<T, LogError>) -> Result<T, LogError> {
        self.poisoned |= result.is_err();
        result
    }
}

impl std::fmt::Debug for SegmentLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SegmentLog")
            .field("dir", &self.dir)
            .field("position", &self.position())
            .finish_non_exhaustive()
    }
}
