//! Where a member's files lie on its disk.

use std::path::PathBuf;

use quorate_raft::MemberId;

use crate::types::GroupId;
use crate::types::SnapshotFile;

/// The member's identity.
pub(crate) const IDENTITY: &str = "identity";
/// Says that the identity was removed: the next start sets its data aside.
pub(crate) const REMOVED: &str = "removed";
/// The log of all groups.
pub(crate) const LOG: &str = "log";
/// Snapshot files of all groups.
pub(crate) const SNAPSHOTS: &str = "snapshots";
/// What a part file's name ends with.
pub(crate) const PART: &str = ".part";

/// The folder that takes a removed identity's data.
pub(crate) fn set_aside(id: MemberId) -> String {
    format!("removed-{id}")
}

/// The folder of a group's snapshot files.
pub(crate) fn snapshots(group: GroupId) -> PathBuf {
    PathBuf::from(SNAPSHOTS).join(format!("{group:016x}"))
}

/// A snapshot file of this member's own.
pub(crate) fn snapshot(group: GroupId, file: &SnapshotFile) -> PathBuf {
    snapshots(group).join(format!(
        "{:016x}-{:08x}.snapshot",
        file.meta.index, file.crc
    ))
}

/// A snapshot file while it is being written.
pub(crate) fn unfinished(group: GroupId) -> PathBuf {
    snapshots(group).join("unfinished")
}

/// A snapshot that is being received.
pub(crate) fn part(group: GroupId, file: &SnapshotFile) -> PathBuf {
    snapshots(group).join(part_name(file))
}

/// The name of a part file: the same content offered by two leaders has the same name, so it is resumed.
pub(crate) fn part_name(file: &SnapshotFile) -> String {
    format!("{:016x}-{:08x}{PART}", file.meta.index, file.crc)
}
