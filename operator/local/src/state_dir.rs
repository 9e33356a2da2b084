//! The folder in which everything is kept, and the lock that lets one `up` at a time have it.
//!
//! ```text
//! folder.json                  which folder this is, and its format
//! up.lock                      held by the running `up`; names its process
//! control.sock                 where the other commands speak to it
//! subnet                       the /24 of loopback addresses that this folder has
//! hosts                        names of the pods, for the members
//! objects/PLURAL/NAMESPACE/NAME.json
//! pods/NAMESPACE/NAME/         lock, process.json, launch.json and mounted files of a pod
//! volumes/NAMESPACE/CLAIM/     a claim's data
//! logs/NAMESPACE/POD.log
//! ```

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::Serialize;

/// A unix socket's path must fit into `sun_path` (108 bytes with its zero).
const MAX_SOCKET_PATH_BYTES: usize = 107;

/// Why a state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// Another `up` has it.
    #[error("{} is in use: another `quorate up` (process {pid}) supervises it; stop that one, or name another folder with --state-dir", dir.display())]
    InUse {
        /// The folder.
        dir: PathBuf,
        /// The other `up`, as it wrote itself down.
        pid: String,
    },
    /// A file operation failed.
    #[error("{what} {}: {source}; see that the folder exists, is yours and has space, or name another with --state-dir", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The folder's path is too long for a socket in it.
    #[error("{} is too long a path for a socket in it ({MAX_SOCKET_PATH_BYTES} bytes at most); name a shorter folder with --state-dir", .0.display())]
    TooLong(PathBuf),
    /// Neither a home nor a state folder is known.
    #[error("neither XDG_STATE_HOME nor HOME is set; name a folder with --state-dir")]
    NoHome,
}

/// The folder in which everything is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDir {
    root: PathBuf,
}

/// The folder by the XDG rules: `$XDG_STATE_HOME/quorate`, else `$HOME/.local/state/quorate`. A relative
/// `XDG_STATE_HOME` is ignored, as the rules demand.
///
/// # Errors
/// When neither variable is of use.
pub fn default_state_dir(
    xdg: Option<&OsStr>,
    home: Option<&OsStr>,
) -> Result<PathBuf, StateDirError> {
    let absolute =
        |value: Option<&OsStr>| value.map(PathBuf::from).filter(|path| path.is_absolute());
    match (absolute(xdg), absolute(home)) {
        (Some(state), _) => Ok(state.join("quorate")),
        (None, Some(home)) => Ok(home.join(".local/state/quorate")),
        (None, None) => Err(StateDirError::NoHome),
    }
}

impl StateDir {
    /// The folder, made if it is not there, by its one canonical path: two names of one folder are one folder.
    ///
    /// # Errors
    /// When it cannot be made, or is too deep for a socket.
    pub fn create(path: &Path) -> Result<Self, StateDirError> {
        make_dir(path)?;
        let root = path
            .canonicalize()
            .map_err(io_error("cannot resolve", path))?;
        Self { root }.checked()
    }

    /// The folder if it exists.
    ///
    /// # Errors
    /// When it does not exist, or is too deep for a socket.
    pub fn existing(path: &Path) -> Result<Self, StateDirError> {
        let root = path.canonicalize().map_err(io_error("cannot open", path))?;
        Self { root }.checked()
    }

    fn checked(self) -> Result<Self, StateDirError> {
        if self.control_socket().as_os_str().len() > MAX_SOCKET_PATH_BYTES {
            return Err(StateDirError::TooLong(self.root));
        }
        Ok(self)
    }

    /// Its canonical path.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The control socket.
    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        self.root.join("control.sock")
    }

    /// The table of names for the members.
    #[must_use]
    pub fn hosts_file(&self) -> PathBuf {
        self.root.join("hosts")
    }

    /// The file that names the folder's addresses.
    #[must_use]
    pub fn subnet_file(&self) -> PathBuf {
        self.root.join("subnet")
    }

    /// The file that says which folder this is.
    #[must_use]
    pub fn note(&self) -> PathBuf {
        self.root.join("folder.json")
    }

    /// The folder of the stored objects.
    #[must_use]
    pub fn objects(&self) -> PathBuf {
        self.root.join("objects")
    }

    /// The folder above those of [`StateDir::pod`].
    #[must_use]
    pub fn pods(&self) -> PathBuf {
        self.root.join("pods")
    }

    /// What one pod needs to run.
    #[must_use]
    pub fn pod(&self, namespace: &str, name: &str) -> PathBuf {
        self.pods().join(namespace).join(name)
    }

    /// The data of one claim.
    #[must_use]
    pub fn volume(&self, namespace: &str, claim: &str) -> PathBuf {
        self.root.join("volumes").join(namespace).join(claim)
    }

    /// The log of one pod.
    #[must_use]
    pub fn log(&self, namespace: &str, pod: &str) -> PathBuf {
        self.root
            .join("logs")
            .join(namespace)
            .join(format!("{pod}.log"))
    }

    /// Takes the folder for this process, until the result is dropped or the process dies.
    ///
    /// # Errors
    /// When another process has it.
    pub fn lock(&self) -> Result<UpLock, StateDirError> {
        let path = self.root.join("up.lock");
        let mut file = open_lock(&path)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            return Err(StateDirError::InUse {
                dir: self.root.clone(),
                pid: pid.trim().to_owned(),
            });
        }
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        written.map_err(io_error("cannot write", &path))?;
        Ok(UpLock { _file: file })
    }
}

/// The right to supervise a state folder.
#[derive(Debug)]
pub struct UpLock {
    _file: File,
}

/// Opens (or makes) a lock file; its content is left alone.
pub(crate) fn open_lock(path: &Path) -> Result<File, StateDirError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(io_error("cannot open", path))
}

/// Makes a folder and those above it, for the owner's eyes only: volumes and mounted secrets lie there.
pub(crate) fn make_dir(path: &Path) -> Result<(), StateDirError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(io_error("cannot make", path))
}

/// [`make_dir`], such that the machine's own crash leaves the folders there.
fn make_durable_dir(path: &Path) -> Result<(), StateDirError> {
    let new: Vec<&Path> = path
        .ancestors()
        .take_while(|folder| !folder.exists())
        .collect();
    make_dir(path)?;
    for above in new.iter().filter_map(|folder| folder.parent()) {
        sync_dir(above).map_err(io_error("cannot sync", above))?;
    }
    Ok(())
}

/// Makes durable which files a folder holds.
pub(crate) fn sync_dir(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Whether a replaced file must outlive the machine's own crash, or only ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Synced, with its folder: identities and decisions.
    Machine,
    /// Renamed into place: what the next `up` would find out anyway.
    Process,
}

/// Replaces a file whole: a reader sees the old content or the new.
pub(crate) fn replace_file(
    path: &Path,
    content: &[u8],
    durability: Durability,
) -> Result<(), StateDirError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    match durability {
        Durability::Machine => make_durable_dir(folder)?,
        Durability::Process => make_dir(folder)?,
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let temporary = folder.join(name);
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(content)?;
        if durability == Durability::Machine {
            file.sync_all()?;
        }
        fs::rename(&temporary, path)?;
        if durability == Durability::Machine {
            sync_dir(folder)?;
        }
        Ok(())
    };
    write().map_err(io_error("cannot write", path))
}

/// [`replace_file`] with a document.
pub(crate) fn replace_json(
    path: &Path,
    document: &impl Serialize,
    durability: Durability,
) -> Result<(), StateDirError> {
    let text = serde_json::to_vec_pretty(document)
        .map_err(|error| io_error("cannot encode", path)(io::Error::other(error)))?;
    replace_file(path, &text, durability)
}

pub(crate) fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateDirError {
    let path = path.to_owned();
    move |source| StateDirError::Io { what, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_xdg_rules() {
        let dir = |xdg: Option<&str>, home: Option<&str>| {
            default_state_dir(xdg.map(OsStr::new), home.map(OsStr::new)).ok()
        };
        assert_eq!(dir(Some("/s"), Some("/h")), Some("/s/quorate".into()));
        assert_eq!(
            dir(Some("relative"), Some("/h")),
            Some("/h/.local/state/quorate".into())
        );
        assert_eq!(
            dir(None, Some("/h")),
            Some("/h/.local/state/quorate".into())
        );
        assert_eq!(dir(Some(""), None), None);
    }

    #[test]
    fn a_folder_has_one_up_and_names_it() {
        let temp = tempfile::tempdir().unwrap();
        let dir = StateDir::create(temp.path()).unwrap();
        let held = dir.lock().unwrap();
        let refused = dir.lock().unwrap_err().to_string();
        assert!(
            refused.contains(&std::process::id().to_string()),
            "{refused}"
        );
        drop(held);
        dir.lock().unwrap();
    }

    #[test]
    fn a_socket_needs_a_short_path() {
        let temp = tempfile::tempdir().unwrap();
        let deep = temp.path().join("x".repeat(100));
        assert!(matches!(
            StateDir::create(&deep),
            Err(StateDirError::TooLong(_))
        ));
    }
}
