//! Carrying out a [`Task`] over the seams, synchronously: the shell does it on its threads, the simulator in its
//! event loop.

use bytes::Bytes;
use quorate_store::{Disk, FileSystem, StateError, StateStore};

use crate::apply::{Applied, apply};
use crate::identity;
use crate::install::{Installed, install};
use crate::machine::StateMachine;
use crate::paths;
use crate::snapshot_file::{self, SnapshotError};
use crate::types::GroupId;
use crate::types::SnapshotFile;
use crate::work::{Task, TaskResult};

/// What a task works on.
pub struct Context<'a> {
    /// The disk.
    pub disk: &'a Disk,
    /// The state store of all groups.
    pub store: &'a dyn StateStore,
    /// The group's state machine.
    pub machine: &'a dyn StateMachine,
    /// The group.
    pub group: GroupId,
}

/// Carries out a task. Blocks on the disk; never panics on what it finds there.
pub fn run(task: Task, context: &Context<'_>) -> TaskResult {
    let (kind, disk, group) = (task.kind(), &**context.disk, context.group);
    let done = match task {
        Task::Apply(entries) => apply(context.store, context.machine, group, entries)
            .map(|Applied { index, outcomes }| TaskResult::Applied { index, outcomes })
            .map_err(SnapshotError::from),
        Task::Flush { applied } => context
            .store
            .flush()
            .map(|()| TaskResult::Flushed { applied })
            .map_err(SnapshotError::from),
        Task::TakeSnapshot => take_snapshot(disk, context.store, group),
        Task::ReadChunk {
            snapshot,
            to,
            offset,
            len,
        } => read_chunk(disk, group, &snapshot, offset, len).map(|data| TaskResult::ChunkRead {
            to,
            snapshot,
            offset,
            data,
        }),
        Task::OpenPart { from, snapshot } => open_part(disk, group, &snapshot)
            .map(|have| TaskResult::PartOpened {
                from,
                snapshot,
                have,
            })
            .map_err(SnapshotError::from),
        Task::WritePart {
            snapshot,
            offset,
            data,
        } => write_part(disk, group, &snapshot, offset, &data)
            .map(|have| TaskResult::PartWritten { snapshot, have })
            .map_err(SnapshotError::from),
        Task::Install { snapshot } => return install_result(context, snapshot),
        Task::RemoveSnapshot(snapshot) => disk
            .remove(&paths::snapshot(group, &snapshot))
            .map(|()| TaskResult::Removed)
            .map_err(SnapshotError::from),
        Task::StandAside => {
            let failed = |why| TaskResult::Failed { task: kind, why };
            return stand_aside(disk).map_or_else(failed, |()| TaskResult::StoodAside);
        }
        Task::SetAside => {
            return room_for_another(disk)
                .and_then(|()| stand_aside(disk))
                .map_or_else(TaskResult::NotSetAside, |()| TaskResult::StoodAside);
        }
    };
    match done {
        Ok(result) => result,
        Err(SnapshotError::State(error)) => state_failed(&error),
        Err(error) => TaskResult::Failed {
            task: kind,
            why: error.to_string(),
        },
    }
}

/// A full disk is no damage: a member must not be replaced, and its disk wiped, for one.
fn state_failed(error: &StateError) -> TaskResult {
    match error {
        StateError::Io(_) => TaskResult::Unusable(error.to_string()),
        StateError::Corrupt(_) => TaskResult::Fatal(error.to_string()),
    }
}

fn take_snapshot(
    disk: &dyn FileSystem,
    store: &dyn StateStore,
    group: GroupId,
) -> Result<TaskResult, SnapshotError> {
    let view = store.view()?;
    Ok(TaskResult::SnapshotTaken(snapshot_file::write(
        disk, &*view, group,
    )?))
}

fn read_chunk(
    disk: &dyn FileSystem,
    group: GroupId,
    snapshot: &SnapshotFile,
    offset: u64,
    len: usize,
) -> Result<Bytes, SnapshotError> {
    let len = (len as u64).min(snapshot.size.saturating_sub(offset)) as usize;
    let mut data = vec![0; len];
    let read = disk
        .open(&paths::snapshot(group, snapshot))?
        .read_at(offset, &mut data)?;
    if read != len {
        return Err(SnapshotError::Damaged(format!(
            "it ends at byte {}",
            offset + read as u64
        )));
    }
    Ok(data.into())
}

/// Opens the part file of a snapshot, or goes on with the one that is there; parts of others go.
fn open_part(
    disk: &dyn FileSystem,
    group: GroupId,
    snapshot: &SnapshotFile,
) -> std::io::Result<u64> {
    let folder = paths::snapshots(group);
    disk.create_dir_all(&folder)?;
    let wanted = paths::part_name(snapshot);
    let mut have = 0;
    for name in disk
        .list(&folder)?
        .into_iter()
        .filter(|name| name.ends_with(paths::PART))
    {
        if name == wanted {
            have = disk.open(&folder.join(&name))?.len()?;
        } else {
            disk.remove(&folder.join(&name))?;
        }
    }
    if have > snapshot.size {
        disk.remove(&folder.join(&wanted))?;
        have = 0;
    }
    if have == 0 {
        disk.remove(&folder.join(&wanted))?;
        disk.create(&folder.join(&wanted))?;
    }
    disk.sync_dir(&folder)?;
    Ok(have)
}

fn write_part(
    disk: &dyn FileSystem,
    group: GroupId,
    snapshot: &SnapshotFile,
    offset: u64,
    data: &[u8],
) -> std::io::Result<u64> {
    let end = offset.saturating_add(data.len() as u64);
    if end > snapshot.size {
        return Err(std::io::Error::other(
            "more was sent than the snapshot holds",
        ));
    }
    disk.open(&paths::part(group, snapshot))?
        .write_at(offset, data)?;
    Ok(end)
}

fn install_result(context: &Context<'_>, snapshot: SnapshotFile) -> TaskResult {
    let disk: &dyn FileSystem = &**context.disk;
    match install(disk, context.store, context.group, &snapshot) {
        Ok(Installed { meta, removed }) => TaskResult::Installed { meta, removed },
        Err(SnapshotError::State(error)) => state_failed(&error),
        Err(error) => match crate::meta::Installing::read(context.store, context.group) {
            // The state is half of each: only a start can finish it.
            Ok(Some(_)) if matches!(error, SnapshotError::Io(_)) => {
                TaskResult::Unusable(error.to_string())
            }
            Ok(Some(_)) => TaskResult::Fatal(error.to_string()),
            Ok(None) => {
                let thrown_away = disk.remove(&paths::part(context.group, &snapshot));
                let also = thrown_away
                    .err()
                    .map_or(String::new(), |error| format!("; {error}"));
                TaskResult::BadSnapshot {
                    snapshot,
                    why: format!("{error}{also}"),
                }
            }
            Err(unreadable) => state_failed(&unreadable),
        },
    }
}

/// Whoever comes next on this disk needs as much again, and space to grow.
fn room_for_another(disk: &dyn FileSystem) -> Result<(), String> {
    let sizes = identity::held(disk).and_then(|held| Ok((held, disk.available()?)));
    let (held, free) = sizes.map_err(|error| error.to_string())?;
    match free / 2 < held {
        true => Err(format!(
            "{free} bytes are free, less than twice the {held} that it holds"
        )),
        false => Ok(()),
    }
}

fn stand_aside(disk: &dyn FileSystem) -> Result<(), String> {
    let id = identity::current(disk).ok_or("the identity cannot be read")?;
    identity::mark_removed(disk, id).map_err(|error| error.to_string())
}
