//! The names of a simulated disk: a tree of folders, each with its durable names and those it has now.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Component, Path};

pub(super) type InodeId = u64;
const ROOT: InodeId = 0;

/// The tree; `F` is what a file holds.
pub(super) struct Names<F> {
    inodes: BTreeMap<InodeId, Inode<F>>,
    next: InodeId,
    /// What was done since the folders concerned were synced, in order.
    pending: Vec<Change>,
}

enum Inode<F> {
    File(F),
    Folder {
        live: BTreeMap<String, InodeId>,
        durable: BTreeMap<String, InodeId>,
    },
}

/// One atomic change: names of folders now mean these inodes, or none.
#[derive(Debug)]
struct Change(Vec<(InodeId, String, Option<InodeId>)>);

impl<F> Default for Names<F> {
    fn default() -> Self {
        Names {
            inodes: BTreeMap::from([(ROOT, Inode::folder())]),
            next: ROOT + 1,
            pending: Vec::new(),
        }
    }
}

impl<F> Inode<F> {
    fn folder() -> Self {
        Inode::Folder {
            live: BTreeMap::new(),
            durable: BTreeMap::new(),
        }
    }
}

impl<F> Names<F> {
    pub(super) fn create(&mut self, path: &Path, file: F) -> io::Result<InodeId> {
        let (folder, name) = self.parent(path)?;
        if self.entries(folder)?.contains_key(&name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let inode = self.add(Inode::File(file));
        self.change(vec![(folder, name, Some(inode))]);
        Ok(inode)
    }

    pub(super) fn file(&self, path: &Path) -> io::Result<InodeId> {
        let inode = self.find(path)?;
        match self.inodes.get(&inode) {
            Some(Inode::File(_)) => Ok(inode),
            _ => Err(ErrorKind::IsADirectory.into()),
        }
    }

    pub(super) fn content(&mut self, inode: InodeId) -> Option<&mut F> {
        match self.inodes.get_mut(&inode) {
            Some(Inode::File(file)) => Some(file),
            _ => None,
        }
    }

    pub(super) fn each_file(&mut self, mut act: impl FnMut(&mut F)) {
        for inode in self.inodes.values_mut() {
            if let Inode::File(file) = inode {
                act(file);
            }
        }
    }

    pub(super) fn create_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let mut folder = ROOT;
        for name in parts(path)? {
            folder = match self.entries(folder)?.get(&name) {
                Some(inode) => *inode,
                None => {
                    let inode = self.add(Inode::folder());
                    self.change(vec![(folder, name, Some(inode))]);
                    // Durable at once, as the seam promises.
                    self.commit(folder);
                    inode
                }
            };
            self.entries(folder)?;
        }
        Ok(())
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        match self.find(path) {
            Ok(inode) => Ok(self.entries(inode)?.keys().cloned().collect()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    pub(super) fn size(&self, path: &Path, len: impl Fn(&F) -> u64) -> io::Result<u64> {
        let mut below = match self.find(path) {
            Ok(inode) => vec![inode],
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut sum = 0;
        while let Some(inode) = below.pop() {
            match self.inodes.get(&inode) {
                Some(Inode::File(file)) => sum += len(file),
                Some(Inode::Folder { live, .. }) => below.extend(live.values()),
                None => {}
            }
        }
        Ok(sum)
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let (from_folder, from_name) = self.parent(from)?;
        let (to_folder, to_name) = self.parent(to)?;
        let Some(inode) = self.entries(from_folder)?.get(&from_name).copied() else {
            return Err(ErrorKind::NotFound.into());
        };
        if let Some(old) = self.entries(to_folder)?.get(&to_name)
            && *old != inode
            && matches!(self.inodes.get(old), Some(Inode::Folder { live, .. }) if !live.is_empty())
        {
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
        self.change(vec![
            (from_folder, from_name, None),
            (to_folder, to_name, Some(inode)),
        ]);
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        match self.file(path) {
            Ok(_) => {
                let (folder, name) = self.parent(path)?;
                self.change(vec![(folder, name, None)]);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) fn remove_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let inode = match self.find(path) {
            Ok(inode) => inode,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for name in self.entries(inode)?.keys().cloned().collect::<Vec<_>>() {
            let inside = path.join(name);
            match self.file(&inside) {
                Ok(_) => self.remove(&inside)?,
                Err(_) => self.remove_dir_all(&inside)?,
            }
        }
        let (folder, name) = self.parent(path)?;
        self.change(vec![(folder, name, None)]);
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let folder = self.find(path)?;
        self.entries(folder)?;
        self.commit(folder);
        Ok(())
    }

    /// Of the changes not synced each folder keeps a prefix; a change of two folders is kept by both or by none.
    pub(super) fn crash(&mut self, rng: &mut fastrand::Rng) {
        let mut cut: BTreeSet<InodeId> = BTreeSet::new();
        for change in std::mem::take(&mut self.pending) {
            if change.folders().any(|folder| cut.contains(&folder)) || rng.u8(..3) == 0 {
                cut.extend(change.folders());
            } else {
                self.apply(&change, true);
            }
        }
        for inode in self.inodes.values_mut() {
            if let Inode::Folder { live, durable } = inode {
                live.clone_from(durable);
            }
        }
        self.forget_unreachable();
    }

    fn forget_unreachable(&mut self) {
        let mut reachable = BTreeSet::from([ROOT]);
        let mut todo = vec![ROOT];
        while let Some(inode) = todo.pop() {
            if let Some(Inode::Folder { live, .. }) = self.inodes.get(&inode) {
                todo.extend(live.values().filter(|inside| reachable.insert(**inside)));
            }
        }
        self.inodes.retain(|inode, _| reachable.contains(inode));
    }

    /// Makes the pending changes of a folder durable, and with them earlier ones that they rest on.
    fn commit(&mut self, folder: InodeId) {
        let mut folders = BTreeSet::from([folder]);
        let mut chosen = Vec::new();
        for (at, change) in self.pending.iter().enumerate().rev() {
            if change.folders().any(|folder| folders.contains(&folder)) {
                folders.extend(change.folders());
                chosen.push(at);
            }
        }
        let mut committed: Vec<Change> = chosen
            .into_iter()
            .map(|at| self.pending.remove(at))
            .collect();
        committed.reverse();
        for change in committed {
            self.apply(&change, true);
        }
    }

    fn change(&mut self, names: Vec<(InodeId, String, Option<InodeId>)>) {
        let change = Change(names);
        self.apply(&change, false);
        self.pending.push(change);
    }

    fn apply(&mut self, change: &Change, to_durable: bool) {
        for (folder, name, inode) in &change.0 {
            if let Some(Inode::Folder { live, durable }) = self.inodes.get_mut(folder) {
                let names = if to_durable { durable } else { live };
                match inode {
                    Some(inode) => names.insert(name.clone(), *inode),
                    None => names.remove(name),
                };
            }
        }
    }

    fn add(&mut self, inode: Inode<F>) -> InodeId {
        let id = self.next;
        self.next += 1;
        self.inodes.insert(id, inode);
        id
    }

    fn entries(&self, inode: InodeId) -> io::Result<&BTreeMap<String, InodeId>> {
        match self.inodes.get(&inode) {
            Some(Inode::Folder { live, .. }) => Ok(live),
            _ => Err(ErrorKind::NotADirectory.into()),
        }
    }

    fn find(&self, path: &Path) -> io::Result<InodeId> {
        let mut inode = ROOT;
        for name in parts(path)? {
            inode = *self.entries(inode)?.get(&name).ok_or(ErrorKind::NotFound)?;
        }
        Ok(inode)
    }

    fn parent(&self, path: &Path) -> io::Result<(InodeId, String)> {
        let mut names = parts(path)?;
        let name = names.pop().ok_or(ErrorKind::InvalidInput)?;
        let mut folder = ROOT;
        for above in names {
            folder = *self
                .entries(folder)?
                .get(&above)
                .ok_or(ErrorKind::NotFound)?;
        }
        Ok((folder, name))
    }
}

impl Change {
    fn folders(&self) -> impl Iterator<Item = InodeId> {
        self.0.iter().map(|(folder, _, _)| *folder)
    }
}

fn parts(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => {
                names.push(name.to_str().ok_or(ErrorKind::InvalidInput)?.to_owned())
            }
            Component::CurDir => {}
            _ => {
                return Err(io::Error::new(
                    ErrorKind::InvalidInput,
                    "the path leads out of the disk",
                ));
            }
        }
    }
    Ok(names)
}
