//! What a restart makes of the segments it finds. The rules stand in the [module's](super) documentation.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::segment::{self, Header};
use super::{
    LogError, LogOptions, Position, Recovered, SegmentLog, TornTail, Visit, frame, newest, synced,
};
use crate::fs::{Disk, File};

pub(super) fn open(
    disk: Disk,
    dir: PathBuf,
    options: LogOptions,
    visit: &mut Visit<'_>,
) -> Result<(SegmentLog, Recovered), LogError> {
    let mut recovered = Recovered::default();
    let numbers = prepare(&disk, &dir)?;
    let newest = newest::check(&*disk, &dir, numbers.last().copied().unwrap_or(0))?;
    let mut sizes = BTreeMap::new();
    let mut last = None;
    let mut headers = BTreeMap::new();
    for number in &numbers {
        headers.insert(*number, read_header(&disk, &dir, *number)?);
    }
    for number in &numbers {
        let mut segment = Segment::read(&disk, &dir, *number)?;
        let end = match headers.get(&(number + 1)) {
            Some(next) => segment.replay_to(next.previous_end, visit, &mut recovered)?,
            None => segment.replay_last(visit, &mut recovered)?,
        };
        sizes.insert(*number, end);
        last = Some((*number, segment));
    }
    let (mut synced, reached) = synced::Synced::open(&disk, &dir)?;
    let end = last
        .as_ref()
        .map_or(Position::default(), |(segment, _)| Position {
            segment: *segment,
            offset: sizes[segment],
        });
    // Told before the tail is touched: what is refused stays as it is.
    if let Some(reached) = reached.filter(|reached| *reached > end) {
        return Err(LogError::Corrupt {
            file: segment::path(&dir, end.segment).display().to_string(),
            offset: end.offset,
            why: format!(
                "its end is lost: it was durable up to byte {} of segment {}",
                reached.offset, reached.segment
            ),
        });
    }
    let (current, open) = match last {
        Some((number, segment)) => (number, segment.settle(sizes[&number], &mut recovered)?),
        None => (1, segment::make(&disk, &dir, &options, 1, 0, &[])?),
    };
    if newest != Some(current) {
        newest::write(&*disk, &dir, current)?;
    }
    synced.note(Position {
        segment: current,
        offset: open.end,
    })?;
    let mut log = SegmentLog {
        disk,
        dir,
        options,
        file: open.file,
        current,
        end: open.end,
        first: open.first,
        allocated: open.allocated,
        durable: open.end,
        claimed: open.claimed,
        proven: open.claimed,
        sizes,
        synced,
        poisoned: false,
        buffer: Vec::new(),
    };
    log.sizes.insert(current, log.end);
    Ok((log, recovered))
}

/// Clears away an unfinished segment and lists the finished ones.
fn prepare(disk: &Disk, dir: &Path) -> Result<Vec<u64>, LogError> {
    let io = |source| LogError::Io {
        file: dir.display().to_string(),
        source,
    };
    disk.create_dir_all(dir).map_err(io)?;
    disk.remove(&dir.join(segment::UNFINISHED)).map_err(io)?;
    let names = disk.list(dir).map_err(io)?;
    let numbers: Vec<u64> = names
        .iter()
        .filter_map(|name| segment::number_of(name))
        .collect();
    for pair in numbers.windows(2) {
        if pair[1] != pair[0] + 1 {
            let file = segment::path(dir, pair[0] + 1).display().to_string();
            return Err(LogError::Corrupt {
                file,
                offset: 0,
                why: "the segment is missing".to_owned(),
            });
        }
    }
    // A name that a crash left without a sync must not vanish in the next one.
    disk.sync_dir(dir).map_err(io)?;
    Ok(numbers)
}

fn read_header(disk: &Disk, dir: &Path, number: u64) -> Result<Header, LogError> {
    let path = segment::path(dir, number);
    let mut head = [0; segment::HEADER as usize];
    let found = disk
        .open(&path)
        .and_then(|file| file.read_at(0, &mut head))
        .map_err(|source| LogError::Io {
            file: path.display().to_string(),
            source,
        })?;
    let corrupt = |why| LogError::Corrupt {
        file: path.display().to_string(),
        offset: 0,
        why,
    };
    let header = Header::decode(&head[..found]).map_err(corrupt)?;
    if header.number != number {
        return Err(corrupt(format!(
            "the header says that this is segment {}",
            header.number
        )));
    }
    Ok(header)
}

/// A segment in memory; as large as its file and no larger.
struct Segment {
    number: u64,
    path: PathBuf,
    file: Box<dyn File>,
    header: Header,
    bytes: Vec<u8>,
    first: u64,
    /// The furthest that an intact frame says this segment was durable.
    claimed: u64,
}

impl Segment {
    fn read(disk: &Disk, dir: &Path, number: u64) -> Result<Self, LogError> {
        let path = segment::path(dir, number);
        let header = read_header(disk, dir, number)?;
        let io = |source| LogError::Io {
            file: path.display().to_string(),
            source,
        };
        let file = disk.open(&path).map_err(io)?;
        let len = file.len().map_err(io)?;
        let mut bytes = vec![0; len as usize];
        let read = file.read_at(0, &mut bytes).map_err(io)?;
        bytes.truncate(read);
        let segment = Segment {
            number,
            path,
            file,
            header,
            bytes,
            first: 0,
            claimed: 0,
        };
        if len < header.allocated || read as u64 != len {
            return Err(segment.corrupt(
                len,
                format!("the file was cut short of its {} bytes", header.allocated),
            ));
        }
        Ok(segment)
    }

    /// Replays a segment that another follows: all of it was synced before the next got its name.
    fn replay_to(
        &mut self,
        end: u64,
        visit: &mut Visit<'_>,
        recovered: &mut Recovered,
    ) -> Result<u64, LogError> {
        let at = self.replay(Some(end), visit, recovered)?;
        if at != end {
            return Err(self.corrupt(at, "a batch that was synced cannot be read".to_owned()));
        }
        Ok(end)
    }

    /// Replays the last segment, up to its end or to a tail that was torn.
    fn replay_last(
        &mut self,
        visit: &mut Visit<'_>,
        recovered: &mut Recovered,
    ) -> Result<u64, LogError> {
        let at = self.replay(None, visit, recovered)?;
        if at == segment::HEADER {
            return Err(self.corrupt(at, "the checkpoint cannot be read".to_owned()));
        }
        if let Some(witness) = self.witness(at) {
            let why = format!(
                "a batch that was synced cannot be read (the batch at {witness} says that it was)"
            );
            return Err(self.corrupt(at, why));
        }
        Ok(at)
    }

    /// Visits frames until one is not intact, or `end` is reached, and says where.
    fn replay(
        &mut self,
        end: Option<u64>,
        visit: &mut Visit<'_>,
        recovered: &mut Recovered,
    ) -> Result<u64, LogError> {
        let mut at = segment::HEADER;
        while end.is_none_or(|end| at < end) {
            let Some(frame) = frame::decode(
                &self.bytes,
                Position {
                    segment: self.number,
                    offset: at,
                },
            ) else {
                break;
            };
            for record in frame::records(frame.body) {
                let visited = record.and_then(|record| visit(self.number, record));
                visited.map_err(|why| self.corrupt(at, why))?;
                recovered.records += 1;
            }
            let (durable, next) = (frame.durable, frame.next);
            if durable > at {
                return Err(self.corrupt(
                    at,
                    "a batch claims to be durable before it was written".to_owned(),
                ));
            }
            if at == segment::HEADER {
                self.first = next;
                self.claimed = next;
            }
            self.claimed = self.claimed.max(durable);
            at = next;
        }
        Ok(at)
    }

    /// The place of an intact frame after `at` that says the segment was durable beyond `at`.
    fn witness(&self, at: u64) -> Option<u64> {
        let mut offset = at;
        loop {
            offset += frame::ALIGN;
            if offset + frame::HEADER > self.bytes.len() as u64 {
                return None;
            }
            let frame = frame::decode(
                &self.bytes,
                Position {
                    segment: self.number,
                    offset,
                },
            );
            if frame.is_some_and(|frame| frame.durable > at) {
                return Some(offset);
            }
        }
    }

    /// Makes what was replayed durable and what follows it zeros, before anything is appended.
    fn settle(mut self, end: u64, recovered: &mut Recovered) -> Result<segment::Open, LogError> {
        let garbage = self
            .bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last as u64 + 1);
        if garbage > end {
            recovered.torn = Some(TornTail {
                at: Position {
                    segment: self.number,
                    offset: end,
                },
                bytes: garbage - end,
            });
        }
        let io = |source| LogError::Io {
            file: self.path.display().to_string(),
            source,
        };
        // Written again, not only synced: if a sync of the process's earlier life failed, these pages may be
        // clean in the page cache and absent on the disk (fsyncgate).
        self.file
            .write_at(
                self.claimed,
                &self.bytes[self.claimed as usize..end as usize],
            )
            .map_err(io)?;
        // Left-overs could become valid again behind a new frame of the same length as the torn one.
        let zeros = vec![0; (garbage.saturating_sub(end)).min(1 << 20) as usize];
        let mut at = end;
        while at < garbage {
            let piece = (garbage - at).min(zeros.len() as u64);
            self.file
                .write_at(at, &zeros[..piece as usize])
                .map_err(io)?;
            at += piece;
        }
        self.file.sync().map_err(io)?;
        Ok(segment::Open {
            file: self.file,
            first: self.first,
            end,
            allocated: self.header.allocated,
            claimed: self.claimed,
        })
    }

    fn corrupt(&self, offset: u64, why: String) -> LogError {
        LogError::Corrupt {
            file: self.path.display().to_string(),
            offset,
            why,
        }
    }
}
