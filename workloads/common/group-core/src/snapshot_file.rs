//! A group's state as one file, to be sent to a member whose log is too old.
//!
//! ```text
//! 0   magic "QUORSNAP"
//! 8   frames: length of the content (4 bytes), CRC-32 of the content, content
//!     the first: kind 0, then the format version and where the state stands
//!     then:      kind 1, then pairs: length and bytes of the key, length and bytes of the value
//!     the last:  kind 2, then how many pairs there were (8 bytes)
//! ```
//! Keys are without the group's number. Integers are little-endian. It holds the machine's keys, the sessions, the
//! removed identities and the configuration; never a vote, never an identity.

use std::io;
use std::path::Path;

use bytes::{Buf as _, BufMut as _, Bytes};
use quorate_store::{File, FileSystem, Read, StateError};

use crate::keys::{self, Space};
use crate::meta::{Installing, Meta};
use crate::paths;
use crate::planted::planted;
use crate::types::GroupId;
use crate::types::SnapshotFile;

const MAGIC: &[u8; 8] = b"QUORSNAP";
const FRAME_HEAD: usize = 8;
/// Frames are closed beyond this many bytes.
const FRAME_BYTES: usize = 256 << 10;
const HEADER: u8 = 0;
const PAIRS: u8 = 1;
const TRAILER: u8 = 2;

/// The parts of the state that a snapshot holds as pairs.
pub(crate) const SPACES: [Space; 4] = [
    Space::Session,
    Space::Deadline,
    Space::Removed,
    Space::Machine,
];

/// Why a snapshot file could not be written or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    /// The disk refused.
    #[error("snapshot file: {0}")]
    Io(#[from] io::Error),
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The file is not what its checksums say.
    #[error("snapshot file: {0}")]
    Damaged(String),
    /// Another snapshot is becoming the state just now.
    #[error("a snapshot is being installed")]
    Installing,
}

/// Writes the state that `view` shows, durably. The file gets its name only when it is whole.
pub(crate) fn write(
    disk: &dyn FileSystem,
    view: &dyn Read,
    group: GroupId,
) -> Result<SnapshotFile, SnapshotError> {
    if Installing::read(view, group)?.is_some() {
        return Err(SnapshotError::Installing);
    }
    let mut meta = Meta::read(view, group)?;
    let unfinished = paths::unfinished(group);
    disk.create_dir_all(&paths::snapshots(group))?;
    disk.remove(&unfinished)?;
    let mut writer = Writer::new(disk.create(&unfinished)?)?;
    let mut spaces = &SPACES[..];
    if planted!(SessionTableMissingFromSnapshot) {
        (spaces, meta.sessions) = (&SPACES[2..], 0);
    }
    writer.frame(HEADER, &meta.encode())?;
    let mut failed = None;
    for space in spaces {
        let (start, end) = (keys::prefix(group, *space), keys::end(group, *space));
        view.scan(
            &start,
            &end,
            &mut |key, value| match writer.pair(&key[8..], value) {
                Ok(()) => true,
                Err(error) => {
                    failed = Some(error);
                    false
                }
            },
        )?;
    }
    if let Some(error) = failed {
        return Err(error.into());
    }
    let (size, crc) = writer.finish()?;
    let file = SnapshotFile {
        meta: meta.applied,
        size,
        crc,
    };
    disk.rename(&unfinished, &paths::snapshot(group, &file))?;
    disk.sync_dir(&paths::snapshots(group))?;
    Ok(file)
}

struct Writer {
    file: Box<dyn File>,
    offset: u64,
    crc: crc32fast::Hasher,
    pairs: Vec<u8>,
    count: u64,
}

impl Writer {
    fn new(file: Box<dyn File>) -> io::Result<Self> {
        let mut writer = Self {
            file,
            offset: 0,
            crc: crc32fast::Hasher::new(),
            pairs: Vec::new(),
            count: 0,
        };
        writer.put(MAGIC)?;
        Ok(writer)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(self.offset, bytes)?;
        self.crc.update(bytes);
        self.offset += bytes.len() as u64;
        Ok(())
    }

    fn frame(&mut self, kind: u8, content: &[u8]) -> io::Result<()> {
        let mut frame = Vec::with_capacity(FRAME_HEAD + 1 + content.len());
        frame.put_u32_le(content.len() as u32 + 1);
        frame.put_u32_le(0);
        frame.put_u8(kind);
        frame.put_slice(content);
        let crc = crc32fast::hash(&frame[FRAME_HEAD..]);
        frame[4..FRAME_HEAD].copy_from_slice(&crc.to_le_bytes());
        self.put(&frame)
    }

    fn pair(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        for part in [key, value] {
            self.pairs.put_u32_le(part.len() as u32);
            self.pairs.put_slice(part);
        }
        self.count += 1;
        if self.pairs.len() >= FRAME_BYTES {
            self.flush_pairs()
        } else {
            Ok(())
        }
    }

    fn flush_pairs(&mut self) -> io::Result<()> {
        let pairs = std::mem::take(&mut self.pairs);
        if pairs.is_empty() {
            Ok(())
        } else {
            self.frame(PAIRS, &pairs)
        }
    }

    fn finish(mut self) -> io::Result<(u64, u32)> {
        self.flush_pairs()?;
        self.frame(TRAILER, &self.count.to_le_bytes())?;
        self.file.sync()?;
        Ok((self.offset, self.crc.finalize()))
    }
}

/// Reads the whole file and checks every checksum, the count, and that it is the one expected.
pub(crate) fn verify(
    disk: &dyn FileSystem,
    path: &Path,
    expected: &SnapshotFile,
) -> Result<(), SnapshotError> {
    let mut reader = Reader::open(disk, path)?;
    let size = reader.size;
    if size != expected.size {
        return Err(SnapshotError::Damaged(format!(
            "it has {size} bytes instead of {}",
            expected.size
        )));
    }
    while reader.next()?.is_some() {}
    let crc = reader.crc.finalize();
    if crc != expected.crc {
        return Err(SnapshotError::Damaged(format!(
            "its checksum is {crc:08x} instead of {:08x}",
            expected.crc
        )));
    }
    if reader.meta.applied != expected.meta {
        return Err(SnapshotError::Damaged(
            "it is of another place in the log than was said".into(),
        ));
    }
    Ok(())
}

/// Goes through a verified file: each frame's pairs at a time, as keys with their space's byte. Answers where the
/// state stands.
pub(crate) fn load(
    disk: &dyn FileSystem,
    path: &Path,
    visit: &mut dyn FnMut(Vec<(Bytes, Bytes)>) -> Result<(), StateError>,
) -> Result<Meta, SnapshotError> {
    let mut reader = Reader::open(disk, path)?;
    while let Some(pairs) = reader.next()? {
        visit(pairs)?;
    }
    Ok(reader.meta)
}

struct Reader {
    file: Box<dyn File>,
    size: u64,
    offset: u64,
    crc: crc32fast::Hasher,
    meta: Meta,
    count: u64,
}

impl Reader {
    fn open(disk: &dyn FileSystem, path: &Path) -> Result<Self, SnapshotError> {
        let file = disk.open(path)?;
        let size = file.len()?;
        let crc = crc32fast::Hasher::new();
        let mut reader = Self {
            file,
            size,
            offset: 0,
            crc,
            meta: Meta::default(),
            count: 0,
        };
        if reader.take(MAGIC.len())? != MAGIC[..] {
            return Err(SnapshotError::Damaged(
                "it does not begin like a snapshot".into(),
            ));
        }
        match reader.frame()? {
            (HEADER, meta) => {
                let damaged = |error: crate::CodecError| SnapshotError::Damaged(error.to_string());
                reader.meta = Meta::decode(&meta).map_err(damaged)?;
            }
            (kind, _) => {
                return Err(SnapshotError::Damaged(format!(
                    "it begins with a frame of kind {kind}"
                )));
            }
        }
        Ok(reader)
    }

    /// The pairs of the next frame; `None` after the last, when everything is as it should be.
    fn next(&mut self) -> Result<Option<Vec<(Bytes, Bytes)>>, SnapshotError> {
        match self.frame()? {
            (PAIRS, content) => {
                let pairs = pairs(content)
                    .ok_or_else(|| SnapshotError::Damaged("a frame ends amid a pair".into()))?;
                self.count += pairs.len() as u64;
                Ok(Some(pairs))
            }
            (TRAILER, content) => {
                if content.as_ref() != self.count.to_le_bytes() {
                    return Err(SnapshotError::Damaged(
                        "it does not hold as many pairs as it says".into(),
                    ));
                }
                if self.offset != self.size {
                    return Err(SnapshotError::Damaged(
                        "there is something after its end".into(),
                    ));
                }
                Ok(None)
            }
            (kind, _) => Err(SnapshotError::Damaged(format!(
                "a frame has the unknown kind {kind}"
            ))),
        }
    }

    fn frame(&mut self) -> Result<(u8, Bytes), SnapshotError> {
        let mut head = self.take(FRAME_HEAD)?;
        let (len, crc) = (head.get_u32_le(), head.get_u32_le());
        let mut content = self.take(len as usize)?;
        if content.is_empty() || crc32fast::hash(&content) != crc {
            return Err(SnapshotError::Damaged(format!(
                "the frame that ends at byte {} is damaged",
                self.offset
            )));
        }
        let kind = content.get_u8();
        Ok((kind, content))
    }

    fn take(&mut self, len: usize) -> Result<Bytes, SnapshotError> {
        // Before anything is allocated for a length that may be garbage.
        if len as u64 > self.size - self.offset {
            return Err(SnapshotError::Damaged(format!(
                "it ends too early, at byte {}",
                self.size
            )));
        }
        let mut bytes = vec![0; len];
        if self.file.read_at(self.offset, &mut bytes)? != len {
            return Err(SnapshotError::Damaged(
                "it became shorter while it was read".into(),
            ));
        }
        self.offset += len as u64;
        self.crc.update(&bytes);
        Ok(bytes.into())
    }
}

fn pairs(mut content: Bytes) -> Option<Vec<(Bytes, Bytes)>> {
    let part = |content: &mut Bytes| {
        let len = content.try_get_u32_le().ok()? as usize;
        (len <= content.len()).then(|| content.split_to(len))
    };
    let mut pairs = Vec::new();
    while !content.is_empty() {
        let key = part(&mut content)?;
        let known = key
            .first()
            .is_some_and(|byte| SPACES.iter().any(|space| *space as u8 == *byte));
        pairs.push((key, part(&mut content)?));
        if !known {
            return None;
        }
    }
    Some(pairs)
}

#[cfg(test)]
mod tests {
    use quorate_raft::SnapshotMeta;
    use quorate_store::{Batch, BatchWrite, MapStore, MemFs, StateStore as _};

    use super::*;
    use crate::testing::configuration;

    const GROUP: GroupId = 4;

    fn store(values: usize) -> MapStore {
        let applied = SnapshotMeta {
            index: 9,
            term: 3,
            configuration: configuration(&[1, 2]),
            configuration_index: 4,
        };
        let meta = Meta {
            applied,
            clock_ms: 5,
            term_began_ms: 4,
            sessions: 1,
        };
        let mut writes = vec![BatchWrite::Put(
            keys::key(GROUP, Space::Meta, keys::META),
            meta.encode(),
        )];
        for space in SPACES {
            writes.push(BatchWrite::Put(
                keys::key(GROUP, space, b"k"),
                Bytes::from_static(b"v"),
            ));
            writes.push(BatchWrite::Put(
                keys::key(GROUP + 1, space, b"k"),
                Bytes::from_static(b"another group's"),
            ));
        }
        for value in 0..values {
            let key = keys::number(GROUP, Space::Machine, value as u64);
            writes.push(BatchWrite::Put(key, vec![value as u8; 1000].into()));
        }
        let store = MapStore::default();
        store.write(Batch { writes }).unwrap();
        store
    }

    fn count(disk: &MemFs, path: &Path) -> usize {
        let mut count = 0;
        load(disk, path, &mut |pairs| {
            count += pairs.len();
            Ok(())
        })
        .unwrap();
        count
    }

    #[test]
    fn it_holds_the_group_s_state_and_nothing_else() {
        let (disk, store) = (MemFs::default(), store(600));
        let file = write(&disk, &*store.view().unwrap(), GROUP).unwrap();
        assert_eq!(file.meta.index, 9);
        assert!(file.size > 600_000, "several frames");
        let path = paths::snapshot(GROUP, &file);
        verify(&disk, &path, &file).unwrap();
        assert_eq!(count(&disk, &path), 604);
        let names = disk.list(&paths::snapshots(GROUP)).unwrap();
        assert_eq!(names.len(), 1, "{names:?}");
    }

    #[test]
    fn every_flipped_bit_and_every_other_length_is_seen() {
        let (disk, store) = (MemFs::default(), store(0));
        let file = write(&disk, &*store.view().unwrap(), GROUP).unwrap();
        let path = paths::snapshot(GROUP, &file);
        for bit in 0..file.size * 8 {
            assert!(disk.flip(&path, bit / 8, (bit % 8) as u8));
            assert!(verify(&disk, &path, &file).is_err(), "bit {bit}");
            disk.flip(&path, bit / 8, (bit % 8) as u8);
        }
        for len in (0..file.size).chain([file.size + 1]) {
            let copy = Path::new("copy");
            let (original, mut cut) = (disk.open(&path).unwrap(), disk.create(copy).unwrap());
            let mut bytes = vec![0; file.size as usize];
            original.read_at(0, &mut bytes).unwrap();
            cut.write_at(0, &bytes).unwrap();
            cut.set_len(len).unwrap();
            assert!(
                verify(
                    &disk,
                    copy,
                    &SnapshotFile {
                        size: len,
                        ..file.clone()
                    }
                )
                .is_err(),
                "length {len}"
            );
            disk.remove(copy).unwrap();
        }
    }

    #[test]
    fn a_half_installed_state_is_not_taken() {
        let (disk, store) = (MemFs::default(), store(0));
        let file = SnapshotFile {
            meta: SnapshotMeta::default(),
            size: 1,
            crc: 1,
        };
        let mark = BatchWrite::Put(
            keys::key(GROUP, Space::Meta, keys::INSTALLING),
            Installing(file).encode(),
        );
        store.write(Batch { writes: vec![mark] }).unwrap();
        let taken = write(&disk, &*store.view().unwrap(), GROUP);
        assert!(matches!(taken, Err(SnapshotError::Installing)));
    }
}
