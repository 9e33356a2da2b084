//! A received snapshot becomes a group's state. It may be interrupted anywhere: until the mark is written the old
//! state stands, after it the installation is finished at the next start, before the member takes part in anything.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use quorate_raft::{MemberId, SnapshotMeta};
use quorate_store::{Batch, BatchWrite, FileSystem, Read, StateError, StateStore};

use crate::keys::{self, Space};
use crate::meta::{Installing, damaged};
use crate::paths;
use crate::planted::planted;
use crate::snapshot_file::{self, SPACES, SnapshotError};
use crate::types::GroupId;
use crate::types::SnapshotFile;

/// What the state is after an installation.
pub(crate) struct Installed {
    pub meta: SnapshotMeta,
    pub removed: BTreeSet<MemberId>,
}

/// Verifies the part file and makes it the group's state, durably. Damage of the file leaves the old state.
pub(crate) fn install(
    disk: &dyn FileSystem,
    store: &dyn StateStore,
    group: GroupId,
    snapshot: &SnapshotFile,
) -> Result<Installed, SnapshotError> {
    let path = paths::part(group, snapshot);
    // What is read back from here on must still be there after a crash.
    disk.open(&path)?.sync()?;
    disk.sync_dir(&paths::snapshots(group))?;
    snapshot_file::verify(disk, &path, snapshot)?;
    let mark = BatchWrite::Put(installing(group), Installing(snapshot.clone()).encode());
    if !planted!(SnapshotInstallNotMarked) {
        store.write(Batch { writes: vec![mark] })?;
    }
    replace(disk, store, group, &path)?;
    disk.remove(&path)?;
    let removed = removed(store, group)?;
    Ok(Installed {
        meta: snapshot.meta.clone(),
        removed,
    })
}

/// Finishes what a crash interrupted. False when there was nothing to finish.
pub(crate) fn finish(
    disk: &dyn FileSystem,
    store: &dyn StateStore,
    group: GroupId,
) -> Result<bool, SnapshotError> {
    let Some(Installing(snapshot)) = Installing::read(store, group)? else {
        return Ok(false);
    };
    let path = paths::part(group, &snapshot);
    snapshot_file::verify(disk, &path, &snapshot)?;
    replace(disk, store, group, &path)?;
    disk.remove(&path)?;
    Ok(true)
}

/// The identities that were removed from a group.
pub(crate) fn removed(read: &dyn Read, group: GroupId) -> Result<BTreeSet<MemberId>, StateError> {
    let (mut removed, mut broken) = (BTreeSet::new(), false);
    let (start, end) = (
        keys::prefix(group, Space::Removed),
        keys::end(group, Space::Removed),
    );
    read.scan(&start, &end, &mut |key, _| {
        match key[start.len()..].try_into() {
            Ok(id) => removed.insert(MemberId(u64::from_be_bytes(id))),
            Err(_) => std::mem::replace(&mut broken, true),
        };
        true
    })?;
    if broken {
        Err(damaged(group, "a removed identity has a wrong key"))
    } else {
        Ok(removed)
    }
}

/// Removes files that nothing refers to: own snapshots of an earlier life and unfinished ones. Parts stay, so that
/// receiving goes on where it was.
pub(crate) fn clean(disk: &dyn FileSystem) -> std::io::Result<()> {
    for folder in disk.list(Path::new(paths::SNAPSHOTS))? {
        let folder = PathBuf::from(paths::SNAPSHOTS).join(folder);
        for name in disk
            .list(&folder)?
            .iter()
            .filter(|name| !name.ends_with(paths::PART))
        {
            disk.remove(&folder.join(name))?;
        }
    }
    Ok(())
}

fn replace(
    disk: &dyn FileSystem,
    store: &dyn StateStore,
    group: GroupId,
    path: &Path,
) -> Result<(), SnapshotError> {
    let wipe = SPACES.map(|space| {
        let bytes = |key: [u8; 9]| Bytes::copy_from_slice(&key);
        BatchWrite::DeleteRange(
            bytes(keys::prefix(group, space)),
            bytes(keys::end(group, space)),
        )
    });
    store.write(Batch {
        writes: wipe.into(),
    })?;
    let meta = snapshot_file::load(disk, path, &mut |pairs| {
        let with_group = |key: Bytes| Bytes::from([&group.to_be_bytes()[..], &key[..]].concat());
        let writes = pairs
            .into_iter()
            .map(|(key, value)| BatchWrite::Put(with_group(key), value));
        store.write(Batch {
            writes: writes.collect(),
        })
    })?;
    let place = BatchWrite::Put(keys::key(group, Space::Meta, keys::META), meta.encode());
    store.write(Batch {
        writes: vec![place, BatchWrite::Delete(installing(group))],
    })?;
    Ok(store.flush()?)
}

fn installing(group: GroupId) -> Bytes {
    keys::key(group, Space::Meta, keys::INSTALLING)
}
