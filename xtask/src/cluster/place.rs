//! Where things lie: one folder for what is built, and one for what runs, which `down` removes.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::addresses::Node;

/// The cluster's folder.
#[derive(Debug, Clone)]
pub struct Place {
    folder: PathBuf,
}

impl Place {
    /// `$XDG_CACHE_HOME/quorate/cluster`, or under `~/.cache`.
    pub fn of_user() -> Result<Self> {
        let cache = match std::env::var_os("XDG_CACHE_HOME") {
            Some(cache) => PathBuf::from(cache),
            None => PathBuf::from(std::env::var_os("HOME").context("set HOME or XDG_CACHE_HOME")?)
                .join(".cache"),
        };
        Self::new(cache.join("quorate/cluster"))
    }

    fn new(folder: PathBuf) -> Result<Self> {
        // A node sees folders of its own in these places.
        let hidden = ["/run", "/var/run", "/var/lib", "/var/log"];
        ensure!(
            folder.is_absolute() && !hidden.iter().any(|hidden| folder.starts_with(hidden)),
            "{} cannot hold a cluster: set XDG_CACHE_HOME to an absolute path outside {}",
            folder.display(),
            hidden.join(", ")
        );
        Ok(Self { folder })
    }

    /// Binaries, in folders named by what they were built from.
    pub fn built(&self) -> PathBuf {
        self.folder.join("built")
    }

    /// All that a running cluster writes.
    pub fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    pub fn certificates(&self) -> PathBuf {
        self.state().join("certificates")
    }

    pub fn kubeconfig(&self, user: &str) -> PathBuf {
        self.state().join(format!("{user}.kubeconfig"))
    }

    pub fn audit_log(&self) -> PathBuf {
        self.state().join("audit.log")
    }

    /// What a part of the cluster prints.
    pub fn log(&self, part: &str) -> PathBuf {
        self.state().join("logs").join(format!("{part}.log"))
    }

    pub fn node(&self, node: Node) -> PathBuf {
        self.state().join(node.to_string())
    }

    /// The socket of a node's containerd, as the host sees it.
    pub fn containerd(&self, node: Node) -> PathBuf {
        self.node(node).join("run/containerd/containerd.sock")
    }

    /// Keeps two commands from changing the cluster at once, until what it returns is dropped.
    pub fn lock(&self) -> Result<File> {
        std::fs::create_dir_all(&self.folder)?;
        let lock = File::create(self.folder.join("lock"))?;
        lock.lock().context("cannot lock the cluster's folder")?;
        Ok(lock)
    }
}

/// Writes a file and the folders above it.
pub fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_nodes_cannot_see_is_refused() {
        let error = Place::new("/var/lib/me/quorate/cluster".into()).unwrap_err();
        assert!(error.to_string().contains("XDG_CACHE_HOME"));
        assert!(Place::new("here".into()).is_err());
    }

    #[test]
    fn a_node_has_a_folder_within_the_state() {
        let place = Place::new("/c".into()).unwrap();
        let socket = place.containerd(Node::ALL[0]);
        assert_eq!(
            socket,
            Path::new("/c/state/node1/run/containerd/containerd.sock")
        );
    }
}
