//! The data folder: one process at a time, identity first, then the state store.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use quorate_group_core::open_identity;
use quorate_raft::MemberId;
use quorate_store::{Disk, MapStore, RealFs, StateError, StateStore};

use crate::start::Disks;

/// The folder of the state store.
const STATE: &str = "state";

/// The opened data folder.
pub struct Data {
    /// What the groups live on.
    pub disks: Disks,
    /// Held as long as the process lives.
    _lock: File,
}

/// Opens the data folder `dir` of the member `name` of `cluster`. All but the state store goes through `seam`; `open_store` opens
/// that in the folder that it is given. Blocks.
pub fn open(
    dir: &Path,
    cluster: &str,
    name: &str,
    seam: impl FnOnce(Disk) -> Disk,
    open_store: impl FnOnce(&Path) -> Result<Arc<dyn StateStore>, StateError>,
) -> anyhow::Result<Data> {
    let disk = RealFs::open(dir).with_context(|| {
        format!(
            "data-dir: {} cannot be used; give a folder that this user may write to",
            dir.display()
        )
    })?;
    let lock = lock(dir)?;
    let disk = seam(Arc::new(disk));
    let drawn = MemberId(fastrand::u64(1..));
    let mut identity = open_identity(&disk, cluster, name, drawn, &[STATE])
        .with_context(|| format!("data-dir: {}", dir.display()))?;
    if let Some(removed) = identity.set_aside {
        tracing::info!(%removed, new = %identity.id, "the earlier identity was removed from its group: its data was set aside, this is a new member");
    }
    // Without an identity nothing says that the folder is a member's: it is left as it is.
    let opened = match &identity.damage {
        Some(_) => Ok(Arc::new(MapStore::default()) as Arc<dyn StateStore>),
        None => open_store(&dir.join(STATE)),
    };
    let store = match opened {
        Ok(store) => store,
        Err(StateError::Corrupt(why)) => {
            // The member still starts, to say so: it neither votes nor serves, and is replaced.
            let why = format!(
                "the state store cannot be trusted: {why}; remove this member and give it an empty folder"
            );
            tracing::error!(why, "damaged");
            identity.damage.get_or_insert(why);
            Arc::new(MapStore::default())
        }
        Err(error) => {
            return Err(error).with_context(|| format!("data-dir: {}", dir.join(STATE).display()));
        }
    };
    Ok(Data {
        disks: Disks {
            disk,
            identity,
            store,
        },
        _lock: lock,
    })
}

/// Two processes on one log would destroy it.
fn lock(dir: &Path) -> anyhow::Result<File> {
    let folder = File::open(dir).with_context(|| format!("data-dir: {}", dir.display()))?;
    match folder.try_lock() {
        Ok(()) => Ok(folder),
        Err(std::fs::TryLockError::WouldBlock) => {
            bail!(
                "data-dir: another process uses {}; stop it, or give this member a folder of its own",
                dir.display()
            )
        }
        Err(std::fs::TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
            Ok(folder)
        }
        Err(std::fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("data-dir: {} cannot be locked", dir.display()))
        }
    }
}
