//! What a start makes of a disk: the groups, and the log for the shell's writer.

use std::collections::BTreeMap;
use std::path::Path;

use quorate_raft::{MemberId, Now, Raft, Restored};
use quorate_store::{
    Disk, FileSystem, LogError, LogOptions, NEWEST, SegmentLog, StateError, StateStore, TornTail,
};

use crate::compaction::Compaction;
use crate::config::{Config, ConfigError};
use crate::group::Start;
use crate::groups::Groups;
use crate::identity::{self, Identity, IdentityError};
use crate::install;
use crate::keys;
use crate::log_writer::LogWriter;
use crate::meta::Meta;
use crate::paths;
use crate::replay::{GroupLog, Replay};
use crate::snapshot_file::SnapshotError;
use crate::types::GroupId;

/// What a start yields.
pub struct Recovered {
    /// All groups; damaged when anything failed verification.
    pub groups: Groups,
    /// The log; `None` when the member is damaged and writes nothing.
    pub log: Option<LogWriter>,
    /// A torn tail that was cut off the log: what a crash amid a write leaves.
    pub torn: Option<TornTail>,
}

/// Why a member cannot start. Damage is no such reason: a damaged member serves its status.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The disk refused; it may be in order the next time.
    #[error(transparent)]
    Log(LogError),
    /// The disk refused; it may be in order the next time.
    #[error(transparent)]
    Identity(IdentityError),
    /// The disk refused; it may be in order the next time.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Reads what a crash or a shutdown left and makes the groups of it. `store` must have been opened after
/// [`crate::open_identity`]. A snapshot whose installation was interrupted is finished before anything else.
pub fn recover(
    config: Config,
    identity: &Identity,
    disk: &Disk,
    store: &dyn StateStore,
    now: Now,
) -> Result<Recovered, RecoverError> {
    config.validate()?;
    let damaged = |why: String| {
        Ok(Recovered {
            groups: Groups::damaged(config.clone(), identity.id, why),
            log: None,
            torn: None,
        })
    };
    if let Some(why) = &identity.damage {
        return damaged(why.clone());
    }
    match read(&config, identity, disk, store, now) {
        Ok(recovered) => Ok(recovered),
        Err(Trouble::Damage(why)) => {
            damaged(format!("{why}; remove this member and add a new one"))
        }
        Err(Trouble::Error(error)) => Err(error),
    }
}

enum Trouble {
    Damage(String),
    Error(RecoverError),
}

impl From<LogError> for Trouble {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Corrupt { .. } => Self::Damage(error.to_string()),
            error => Self::Error(RecoverError::Log(error)),
        }
    }
}

impl From<IdentityError> for Trouble {
    fn from(error: IdentityError) -> Self {
        Self::Error(RecoverError::Identity(error))
    }
}

impl From<StateError> for Trouble {
    fn from(error: StateError) -> Self {
        match error {
            StateError::Io(error) => Self::Error(error.into()),
            damage => Self::Damage(damage.to_string()),
        }
    }
}

impl From<SnapshotError> for Trouble {
    fn from(error: SnapshotError) -> Self {
        match error {
            SnapshotError::State(error) => error.into(),
            // A part file that is gone while it is being installed will not come back.
            SnapshotError::Io(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Self::Error(error.into())
            }
            error => Self::Damage(format!(
                "an interrupted installation cannot be finished: {error}"
            )),
        }
    }
}

fn read(
    config: &Config,
    identity: &Identity,
    disk: &Disk,
    store: &dyn StateStore,
    now: Now,
) -> Result<Recovered, Trouble> {
    let stored = groups_of(store)?;
    let names = disk
        .list(Path::new(paths::LOG))
        .map_err(RecoverError::from)
        .map_err(Trouble::Error)?;
    if names.is_empty() && (identity.begun || !stored.is_empty()) {
        // Its votes are gone with it.
        return Err(Trouble::Damage("the log is missing".into()));
    }
    if identity.begun && !names.iter().any(|name| name == NEWEST) {
        // Without it nobody knows how many segments went too.
        return Err(Trouble::Damage(format!(
            "the log's file `{NEWEST}` is missing"
        )));
    }
    let mut replay = Replay::default();
    let options = LogOptions {
        segment_bytes: config.segment_bytes,
    };
    let visit = &mut |segment, bytes: &[u8]| replay.visit(segment, bytes);
    let (log, found) = SegmentLog::open(disk.clone(), paths::LOG, options, visit)?;
    identity::begin(&**disk, identity)?;
    replay.index.touch(log.segment());
    let Replay {
        mut groups,
        index,
        marks,
    } = replay;
    for group in stored {
        groups.entry(group).or_default();
    }
    // What is visible may so far have survived only in a cache; from here on it counts as durable.
    store.flush()?;
    let mut starts = BTreeMap::new();
    for (group, log) in groups {
        starts.insert(
            group,
            start(config, identity.id, &**disk, store, group, log, now)?,
        );
    }
    install::clean(&**disk)
        .map_err(RecoverError::from)
        .map_err(Trouble::Error)?;
    let groups = Groups::new(config.clone(), identity.id, starts, index);
    Ok(Recovered {
        groups,
        log: Some(LogWriter::new(log, marks)),
        torn: found.torn,
    })
}

fn start(
    config: &Config,
    id: MemberId,
    disk: &dyn FileSystem,
    store: &dyn StateStore,
    group: GroupId,
    log: GroupLog,
    now: Now,
) -> Result<Start, Trouble> {
    let in_group = |why: String| Trouble::Damage(format!("group {group}: {why}"));
    install::finish(disk, store, group)?;
    let meta = Meta::read(store, group)?;
    let removed = install::removed(store, group)?;
    let (vote, log_start, entries) = log.finish().map_err(in_group)?;
    let configuration = meta.applied.configuration.clone();
    let compaction = Compaction::recovered(meta.applied.index, &entries, config);
    let restored = Restored {
        vote,
        log_start,
        entries,
        snapshot: meta.applied,
    };
    let raft = Raft::new(config.raft(id, group), restored, now)
        .map_err(|error| in_group(error.to_string()))?;
    Ok(Start {
        raft,
        configuration,
        removed,
        log_start,
        compaction,
    })
}

/// The groups that have anything in the store.
fn groups_of(store: &dyn StateStore) -> Result<Vec<GroupId>, StateError> {
    let mut groups = Vec::new();
    let mut from = 0;
    loop {
        let mut found = None;
        store.scan(&keys::first(from), &[0xff; 9], &mut |key, _| {
            found = key
                .first_chunk::<8>()
                .map(|group| GroupId::from_be_bytes(*group));
            false
        })?;
        let Some(group) = found else {
            return Ok(groups);
        };
        groups.push(group);
        let Some(next) = group.checked_add(1) else {
            return Ok(groups);
        };
        from = next;
    }
}
