//! What RocksDB's errors mean to the caller.

use std::io;
use std::path::Path;

use quorate_store::StateError;
use rocksdb::{Error, ErrorKind};

pub(crate) fn state_error(error: Error) -> StateError {
    match error.kind() {
        ErrorKind::Corruption => StateError::Corrupt(error.into_string()),
        _ => StateError::Io(io::Error::other(error.into_string())),
    }
}

/// An error of opening adds what to do about the commonest mistake: two processes on one folder.
pub(crate) fn open_error(path: &Path, error: Error) -> StateError {
    let message = error.to_string();
    // RocksDB has no kind of its own for it; both texts end in the path of its LOCK file (env/io_posix.cc).
    let locked =
        message.contains("While lock file") || message.contains("lock hold by current process");
    if locked {
        let why = format!(
            "another process uses this folder ({}): stop it or choose another",
            path.display()
        );
        return StateError::Io(io::Error::new(io::ErrorKind::WouldBlock, why));
    }
    // Files that the manifest names and that are gone are damage, not a passing error.
    if error.kind() == ErrorKind::IOError
        && message.contains("No such file")
        && path.join("CURRENT").exists()
    {
        return StateError::Corrupt(message);
    }
    state_error(error)
}
