//! What makes one build of a member another than the next.

use quorate_store::Disk;

use crate::VERSION;

/// A build. What ships is the default; whoever tests upgrades and lost power starts others, which are made in
/// `examples/` and of which no setting of a shipped member knows.
#[derive(Clone, Copy, Debug)]
pub struct Build {
    /// Its version.
    pub version: &'static str,
    /// What lies between it and its disk.
    pub seam: fn(Disk) -> Disk,
    /// Why it is never ready.
    pub unready: Option<&'static str>,
    /// Whether its peers take it for a stranger.
    pub is_stranger: bool,
}

impl Default for Build {
    fn default() -> Self {
        Self {
            version: VERSION,
            seam: |disk| disk,
            unready: None,
            is_stranger: false,
        }
    }
}
