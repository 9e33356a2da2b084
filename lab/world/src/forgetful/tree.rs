//! The files: a pure model, one method per operation.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use fuser::Errno;

/// The root folder's number.
pub(super) const ROOT: u64 = 1;
const SECTOR: usize = 512;

/// What a crash does to bytes that were written and not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// All of them are lost.
    Lose,
    /// Each 512-byte sector of them is kept or lost, as the seed says.
    Tear(u64),
}

#[derive(Debug)]
pub(super) enum Node {
    Folder(BTreeMap<OsString, u64>),
    File(Content),
}

/// A file's bytes as processes see them, and as a crash would leave them.
#[derive(Debug, Default)]
pub(super) struct Content {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// The span of `live` that differs from `durable`, if any: `[start, end)`.
    dirty: Option<(usize, usize)>,
}

impl Content {
    fn touch(&mut self, start: usize, end: usize) {
        let (s, e) = self.dirty.unwrap_or((start, end));
        self.dirty = Some((s.min(start), e.max(end)));
    }

    fn set_len(&mut self, len: usize) {
        let (short, long) = (len.min(self.live.len()), len.max(self.live.len()));
        self.live.resize(len, 0);
        self.touch(short, long);
    }

    fn sync(&mut self) {
        let Some((start, end)) = self.dirty.take() else {
            return;
        };
        self.durable.resize(self.live.len(), 0);
        let end = end.min(self.live.len());
        if start < end {
            self.durable[start..end].copy_from_slice(&self.live[start..end]);
        }
    }

    fn crash(&mut self, crash: Crash, rng: &mut fastrand::Rng) -> u64 {
        let Some((start, end)) = self.dirty.take() else {
            return 0;
        };
        if let Crash::Tear(_) = crash {
            let end = end.min(self.live.len());
            let mut at = start;
            while at < end {
                let next = ((at / SECTOR + 1) * SECTOR).min(end);
                if rng.bool() {
                    let len = self.durable.len().max(next);
                    self.durable.resize(len, 0);
                    self.durable[at..next].copy_from_slice(&self.live[at..next]);
                }
                at = next;
            }
        }
        self.live.clone_from(&self.durable);
        (end - start) as u64
    }
}

#[derive(Debug)]
struct Slot {
    node: Node,
    /// Names that lead here, and open handles: at zero of both it is gone.
    names: u32,
    handles: u32,
}

/// All files and folders.
#[derive(Debug)]
pub(super) struct Tree {
    slots: BTreeMap<u64, Slot>,
    next: u64,
    /// Bytes that may be held in all.
    pub(super) capacity: u64,
    used: u64,
}

impl Tree {
    pub(super) fn new(capacity: u64) -> Self {
        let root = Slot {
            node: Node::Folder(BTreeMap::new()),
            names: 2,
            handles: 0,
        };
        Self {
            slots: BTreeMap::from([(ROOT, root)]),
            next: ROOT + 1,
            capacity,
            used: 0,
        }
    }

    pub(super) fn available(&self) -> u64 {
        self.capacity.saturating_sub(self.used)
    }

    fn folder(&mut self, number: u64) -> Result<&mut BTreeMap<OsString, u64>, Errno> {
        match self.slots.get_mut(&number).map(|s| &mut s.node) {
            Some(Node::Folder(entries)) => Ok(entries),
            Some(Node::File(_)) => Err(Errno::ENOTDIR),
            None => Err(Errno::ENOENT),
        }
    }

    fn content(&mut self, number: u64) -> Result<&mut Content, Errno> {
        match self.slots.get_mut(&number).map(|s| &mut s.node) {
            Some(Node::File(content)) => Ok(content),
            Some(Node::Folder(_)) => Err(Errno::EISDIR),
            None => Err(Errno::ENOENT),
        }
    }

    /// Whether it is a folder, its size, its link count.
    pub(super) fn stat(&self, number: u64) -> Result<(bool, u64, u32), Errno> {
        let slot = self.slots.get(&number).ok_or(Errno::ENOENT)?;
        Ok(match &slot.node {
            Node::Folder(_) => (true, 0, slot.names),
            Node::File(content) => (false, content.live.len() as u64, slot.names),
        })
    }

    pub(super) fn lookup(&mut self, parent: u64, name: &OsStr) -> Result<u64, Errno> {
        self.folder(parent)?.get(name).copied().ok_or(Errno::ENOENT)
    }

    pub(super) fn entries(&mut self, folder: u64) -> Result<Vec<(OsString, u64, bool)>, Errno> {
        let entries = self.folder(folder)?.clone();
        let kind = |number: &u64| {
            matches!(
                self.slots.get(number).map(|s| &s.node),
                Some(Node::Folder(_))
            )
        };
        Ok(entries
            .iter()
            .map(|(name, number)| (name.clone(), *number, kind(number)))
            .collect())
    }

    pub(super) fn make(&mut self, parent: u64, name: &OsStr, folder: bool) -> Result<u64, Errno> {
        let number = self.next;
        let entries = self.folder(parent)?;
        if entries.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        entries.insert(name.to_owned(), number);
        let node = if folder {
            Node::Folder(BTreeMap::new())
        } else {
            Node::File(Content::default())
        };
        self.slots.insert(
            number,
            Slot {
                node,
                names: 1,
                handles: 0,
            },
        );
        self.next += 1;
        Ok(number)
    }

    pub(super) fn link(&mut self, number: u64, parent: u64, name: &OsStr) -> Result<(), Errno> {
        self.content(number)?;
        let entries = self.folder(parent)?;
        if entries.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        entries.insert(name.to_owned(), number);
        if let Some(slot) = self.slots.get_mut(&number) {
            slot.names += 1;
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, parent: u64, name: &OsStr, folder: bool) -> Result<(), Errno> {
        let number = self.lookup(parent, name)?;
        match (&self.slots[&number].node, folder) {
            (Node::Folder(_), false) => return Err(Errno::EISDIR),
            (Node::File(_), true) => return Err(Errno::ENOTDIR),
            (Node::Folder(entries), true) if !entries.is_empty() => return Err(Errno::ENOTEMPTY),
            _ => {}
        }
        self.folder(parent)?.remove(name);
        self.drop_name(number);
        Ok(())
    }

    pub(super) fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr)) -> Result<(), Errno> {
        let number = self.lookup(from.0, from.1)?;
        if let Ok(replaced) = self.lookup(to.0, to.1) {
            if replaced == number {
                return Ok(());
            }
            if let Node::Folder(entries) = &self.slots[&replaced].node
                && !entries.is_empty()
            {
                return Err(Errno::ENOTEMPTY);
            }
            self.folder(to.0)?.remove(to.1);
            self.drop_name(replaced);
        }
        self.folder(from.0)?.remove(from.1);
        self.folder(to.0)?.insert(to.1.to_owned(), number);
        Ok(())
    }

    pub(super) fn opened(&mut self, number: u64) -> Result<(), Errno> {
        self.slots.get_mut(&number).ok_or(Errno::ENOENT)?.handles += 1;
        Ok(())
    }

    pub(super) fn closed(&mut self, number: u64) {
        if let Some(slot) = self.slots.get_mut(&number) {
            slot.handles = slot.handles.saturating_sub(1);
        }
        self.forget_if_unused(number);
    }

    fn drop_name(&mut self, number: u64) {
        if let Some(slot) = self.slots.get_mut(&number) {
            slot.names = slot.names.saturating_sub(1);
        }
        self.forget_if_unused(number);
    }

    fn forget_if_unused(&mut self, number: u64) {
        let unused = self
            .slots
            .get(&number)
            .is_some_and(|s| s.names == 0 && s.handles == 0);
        if unused
            && let Some(Slot {
                node: Node::File(content),
                ..
            }) = self.slots.remove(&number)
        {
            self.used = self.used.saturating_sub(content.live.len() as u64);
        }
    }

    pub(super) fn read(&mut self, number: u64, offset: u64, size: usize) -> Result<&[u8], Errno> {
        let live = &self.content(number)?.live;
        let start = usize::try_from(offset).map_or(live.len(), |o| o.min(live.len()));
        Ok(&live[start..live.len().min(start.saturating_add(size))])
    }

    /// Makes room up to `end`, if the capacity allows.
    fn reserve(&mut self, number: u64, end: u64) -> Result<(), Errno> {
        let len = self.content(number)?.live.len() as u64;
        let more = end.saturating_sub(len);
        if more > self.available() {
            return Err(Errno::ENOSPC);
        }
        self.used += more;
        Ok(())
    }

    pub(super) fn write(&mut self, number: u64, offset: u64, data: &[u8]) -> Result<(), Errno> {
        let end = offset.checked_add(data.len() as u64).ok_or(Errno::EFBIG)?;
        self.reserve(number, end)?;
        let content = self.content(number)?;
        let (offset, end) = (offset as usize, end as usize);
        if end > content.live.len() {
            content.set_len(end);
        }
        content.live[offset..end].copy_from_slice(data);
        content.touch(offset, end);
        Ok(())
    }

    pub(super) fn set_len(&mut self, number: u64, len: u64) -> Result<(), Errno> {
        self.reserve(number, len)?;
        let content = self.content(number)?;
        let shrunk = (content.live.len() as u64).saturating_sub(len);
        content.set_len(len as usize);
        self.used = self.used.saturating_sub(shrunk);
        Ok(())
    }

    pub(super) fn sync(&mut self, number: u64) -> Result<(), Errno> {
        self.content(number)?.sync();
        Ok(())
    }

    /// Takes away what was not synced; answers how many bytes that may have been.
    pub(super) fn crash(&mut self, crash: Crash) -> u64 {
        let mut rng = fastrand::Rng::with_seed(if let Crash::Tear(seed) = crash {
            seed
        } else {
            0
        });
        let mut lost = 0;
        self.used = 0;
        for slot in self.slots.values_mut() {
            if let Node::File(content) = &mut slot.node {
                lost += content.crash(crash, &mut rng);
                self.used += content.live.len() as u64;
            }
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(tree: &mut Tree, name: &str) -> u64 {
        tree.make(ROOT, OsStr::new(name), false).unwrap()
    }

    #[test]
    fn a_crash_leaves_what_was_synced() {
        let mut tree = Tree::new(1 << 20);
        let f = file(&mut tree, "f");
        tree.write(f, 0, b"synced").unwrap();
        tree.sync(f).unwrap();
        tree.write(f, 3, b"XXXXXXXX").unwrap();
        assert_eq!(tree.read(f, 0, 100).unwrap(), b"synXXXXXXXX");
        assert_eq!(tree.crash(Crash::Lose), 8);
        assert_eq!(tree.read(f, 0, 100).unwrap(), b"synced");
        assert_eq!(tree.crash(Crash::Lose), 0);
    }

    #[test]
    fn a_truncation_is_lost_like_a_write() {
        let mut tree = Tree::new(1 << 20);
        let f = file(&mut tree, "f");
        tree.write(f, 0, b"abcdef").unwrap();
        tree.sync(f).unwrap();
        tree.set_len(f, 2).unwrap();
        tree.crash(Crash::Lose);
        assert_eq!(tree.read(f, 0, 100).unwrap(), b"abcdef");
        tree.set_len(f, 2).unwrap();
        tree.sync(f).unwrap();
        tree.crash(Crash::Lose);
        assert_eq!(tree.read(f, 0, 100).unwrap(), b"ab");
    }

    #[test]
    fn a_torn_write_keeps_whole_sectors() {
        let mut kept = [false; 2];
        for seed in 0..20 {
            let mut tree = Tree::new(1 << 20);
            let f = file(&mut tree, "f");
            tree.write(f, 0, &[1; 1024]).unwrap();
            tree.crash(Crash::Tear(seed));
            let left = tree.read(f, 0, 2000).unwrap();
            assert!(
                left.len().is_multiple_of(SECTOR)
                    && left.chunks(SECTOR).all(|s| s.iter().all(|b| *b == s[0]))
            );
            kept[usize::from(left.contains(&1))] = true;
        }
        assert_eq!(kept, [true; 2], "both happen");
    }

    #[test]
    fn a_full_disk_says_so_and_recovers() {
        let mut tree = Tree::new(10);
        let f = file(&mut tree, "f");
        tree.write(f, 0, &[1; 10]).unwrap();
        assert_eq!(tree.write(f, 5, &[1; 6]), Err(Errno::ENOSPC));
        tree.remove(ROOT, OsStr::new("f"), false).unwrap();
        assert_eq!(tree.available(), 10);
    }

    #[test]
    fn an_unlinked_file_lives_while_it_is_open() {
        let mut tree = Tree::new(1 << 20);
        let f = file(&mut tree, "f");
        tree.opened(f).unwrap();
        tree.write(f, 0, b"x").unwrap();
        tree.remove(ROOT, OsStr::new("f"), false).unwrap();
        assert_eq!(tree.read(f, 0, 1).unwrap(), b"x");
        tree.closed(f);
        assert_eq!(tree.read(f, 0, 1), Err(Errno::ENOENT));
    }

    #[test]
    fn rename_replaces() {
        let mut tree = Tree::new(1 << 20);
        let (a, b) = (file(&mut tree, "a"), file(&mut tree, "b"));
        tree.rename((ROOT, OsStr::new("a")), (ROOT, OsStr::new("b")))
            .unwrap();
        assert_eq!(tree.lookup(ROOT, OsStr::new("b")), Ok(a));
        assert!(tree.stat(b).is_err() && tree.lookup(ROOT, OsStr::new("a")).is_err());
    }
}
