//! Which folder this is: what tells one that moved from one that was copied, and whether our formats are its own.
//!
//! A folder that moved is the same folder under another name. One that was copied is not: members of both would bear the
//! same identities and form one group, and the same addresses would answer with either's data. A move keeps the inode,
//! a copy has another.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::state_dir::{Durability, StateDir, StateDirError, io_error, replace_json};

/// Of the layout of the folder and of what is kept in it.
const FORMAT: u32 = 1;

/// Why a folder is not one to run.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// It was made from another one.
    #[error("{} is a copy of {}: its members would bear the same identities, and join the original's; remove the copy, or, if the original is gone for good, remove {} to say that this folder takes its place", dir.display(), original.display(), note.display())]
    Copied {
        /// The folder.
        dir: PathBuf,
        /// Where the one stood that it was made from.
        original: PathBuf,
        /// The file that says so.
        note: PathBuf,
    },
    /// A later `quorate` wrote it.
    #[error("{} has format {format}, and this `quorate` knows {FORMAT}; use the later `quorate` that wrote it, or name another folder with --state-dir (nothing was changed)", dir.display())]
    Newer {
        /// The folder.
        dir: PathBuf,
        /// Its format.
        format: u32,
    },
    /// Members of another folder still write to this path.
    #[error("members of {} still run with paths into {}, where that folder stood (processes {pids}); start `quorate up --state-dir {0}`, which takes them over, or stop them: kill {pids}", now.display(), dir.display())]
    Inhabited {
        /// The folder.
        dir: PathBuf,
        /// Where their own folder is.
        now: PathBuf,
        /// The processes, with spaces between.
        pids: String,
    },
    /// A file operation failed.
    #[error(transparent)]
    State(#[from] StateDirError),
}

/// What a folder says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Note {
    format: u32,
    /// Of the machine, where it says one: on another disk the same inode is another folder.
    machine: Option<String>,
    path: PathBuf,
    device: u64,
    inode: u64,
}

/// Only the format: what else a later one says is its own affair.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

impl Note {
    fn of(dir: &StateDir) -> Result<Self, StateDirError> {
        let found = fs::metadata(dir.root()).map_err(io_error("cannot look at", dir.root()))?;
        let machine = fs::read_to_string("/etc/machine-id").ok();
        Ok(Self {
            format: FORMAT,
            machine: machine.map(|id| id.trim().to_owned()),
            path: dir.root().to_owned(),
            device: found.dev(),
            inode: found.ino(),
        })
    }

    /// Devices are numbered anew when the machine starts; a folder that also has another path cannot be told from a
    /// copy then.
    fn is_same_folder(&self, other: &Self) -> bool {
        self.machine == other.machine
            && self.inode == other.inode
            && (self.device == other.device || self.path == other.path)
    }
}

/// Sees that the folder is no copy and of our format; says where it stood when it moved. The caller holds its lock.
pub(crate) fn settle(dir: &StateDir) -> Result<Option<PathBuf>, PlaceError> {
    let note = dir.note();
    let now = Note::of(dir)?;
    let text = match fs::read(&note) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(io_error("cannot read", &note)(error).into()),
    };
    let format = text
        .as_deref()
        .and_then(|text| serde_json::from_slice::<Format>(text).ok());
    if let Some(Format { format }) = format
        && format > FORMAT
    {
        return Err(PlaceError::Newer {
            dir: dir.root().to_owned(),
            format,
        });
    }
    // A torn one, or none, as in folders of earlier versions, tells nothing: written anew.
    let before: Option<Note> = text
        .as_deref()
        .and_then(|text| serde_json::from_slice(text).ok());
    if let Some(before) = &before
        && !before.is_same_folder(&now)
    {
        return Err(PlaceError::Copied {
            dir: dir.root().to_owned(),
            original: before.path.clone(),
            note,
        });
    }
    inhabitants(dir)?;
    if before.as_ref() != Some(&now) {
        replace_json(&note, &now, Durability::Machine)?;
    }
    Ok(before
        .map(|before| before.path)
        .filter(|path| *path != now.path))
}

/// Processes that were started with this folder's path when another folder stood there. They hold the lock of their pod
/// where their own folder is now, which tells them from ours.
fn inhabitants(dir: &StateDir) -> Result<(), PlaceError> {
    let hosts = dir.hosts_file();
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for process in fs::read_dir("/proc").map_err(io_error("cannot read", Path::new("/proc")))? {
        let Some(pid) = process
            .ok()
            .and_then(|entry| entry.file_name().to_str()?.parse().ok())
        else {
            continue;
        };
        // Those of other users are not ours, and those that ended meanwhile are nobody's.
        if let Some(folder) = folder_of(pid, &hosts)
            && !is_same(&folder, dir.root())
        {
            found.push((pid, folder));
        }
    }
    let Some((_, now)) = found.first().cloned() else {
        return Ok(());
    };
    let pids: Vec<String> = found.iter().map(|(pid, _)| pid.to_string()).collect();
    Err(PlaceError::Inhabited {
        dir: dir.root().to_owned(),
        now,
        pids: pids.join(" "),
    })
}

/// Where the state folder of a member is now that was started with this table of names.
fn folder_of(pid: u32, hosts: &Path) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let started_with = |variable: &[u8]| {
        variable.strip_prefix(b"QUORATE_HOSTS_FILE=") == Some(hosts.as_os_str().as_bytes())
    };
    environment
        .split(|byte| *byte == 0)
        .find(|variable| started_with(variable))?;
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let mut open = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    // ROOT/pods/NAMESPACE/NAME/lock
    open.find_map(|path| {
        let root = path.ancestors().nth(4)?;
        (path.ends_with("lock") && path.strip_prefix(root.join("pods")).is_ok())
            .then(|| root.to_owned())
    })
}

/// Whether two paths lead to one folder.
pub(crate) fn is_same(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| {
        let found = fs::metadata(path).ok()?;
        Some((found.dev(), found.ino()))
    };
    identity(one).is_some_and(|one| identity(other) == Some(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_moved_says_from_where_and_a_copy_is_refused_until_told() {
        let temp = tempfile::tempdir().unwrap();
        let (first, second) = (temp.path().join("first"), temp.path().join("second"));
        let dir = StateDir::create(&first).unwrap();
        assert_eq!(settle(&dir).unwrap(), None);
        assert_eq!(settle(&dir).unwrap(), None);

        fs::rename(&first, &second).unwrap();
        let moved = StateDir::create(&second).unwrap();
        assert_eq!(settle(&moved).unwrap(), Some(dir.root().to_owned()));
        assert_eq!(settle(&moved).unwrap(), None);

        let copy = StateDir::create(&first).unwrap();
        fs::copy(moved.note(), copy.note()).unwrap();
        let said = settle(&copy).unwrap_err().to_string();
        assert!(
            said.contains(&format!("is a copy of {}", moved.root().display())),
            "{said}"
        );
        fs::remove_file(copy.note()).unwrap();
        assert_eq!(settle(&copy).unwrap(), None);
    }

    #[test]
    fn only_where_the_machine_was_started_anew_the_path_stands_for_the_device() {
        let note = |path: &str, device, inode| Note {
            format: FORMAT,
            machine: None,
            path: path.into(),
            device,
            inode,
        };
        assert!(note("/a", 1, 5).is_same_folder(&note("/b", 1, 5)));
        assert!(note("/a", 1, 5).is_same_folder(&note("/a", 2, 5)));
        assert!(!note("/a", 1, 5).is_same_folder(&note("/b", 2, 5)));
        assert!(!note("/a", 1, 5).is_same_folder(&note("/a", 1, 6)));
    }

    #[test]
    fn a_newer_format_is_named_and_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        let dir = StateDir::create(temp.path()).unwrap();
        let later = r#"{"format": 2, "place": "of another form"}"#;
        fs::write(dir.note(), later).unwrap();
        assert!(matches!(
            settle(&dir),
            Err(PlaceError::Newer { format: 2, .. })
        ));
        assert_eq!(fs::read_to_string(dir.note()).unwrap(), later);
        fs::write(dir.note(), "").unwrap();
        assert_eq!(settle(&dir).unwrap(), None);
        assert!(settle(&dir).is_ok());
    }
}
