//! Where a group's state stands, and which snapshot is on its way into it. Both lie in the state store beside the
//! state itself, so that they change in the same atomic batches.

use bytes::Bytes;
use prost::Message as _;
use quorate_raft::SnapshotMeta;
use quorate_store::{Read, StateError};

use crate::keys::{self, Space};
use crate::proto::{self, CodecError};
use crate::types::GroupId;
use crate::types::SnapshotFile;

/// Raised when the layout of a group's state changes in a way that an older version would misread.
pub(crate) const STATE_VERSION: u32 = 1;

/// Where a group's state stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meta {
    /// The applied index and term, and the configuration applied last.
    pub applied: SnapshotMeta,
    /// The session clock, in milliseconds: the time for which the group has had leaders, as far as applied commands
    /// tell. Sessions live by it; while nobody leads it stands.
    pub clock_ms: u64,
    /// What it showed when the term of the entry applied last began.
    pub term_began_ms: u64,
    /// How many sessions there are.
    pub sessions: u64,
}

impl Meta {
    pub(crate) fn encode(&self) -> Bytes {
        let meta = MetaProto {
            version: STATE_VERSION,
            applied: Some((&self.applied).into()),
            clock_ms: self.clock_ms,
            sessions: self.sessions,
            term_began_ms: self.term_began_ms,
        };
        meta.encode_to_vec().into()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let meta = MetaProto::decode(bytes)?;
        if meta.version != STATE_VERSION {
            return Err(CodecError::Missing("the format of the state"));
        }
        let applied = meta
            .applied
            .ok_or(CodecError::Missing("the applied index"))?
            .try_into()?;
        Ok(Self {
            applied,
            clock_ms: meta.clock_ms,
            term_began_ms: meta.term_began_ms,
            sessions: meta.sessions,
        })
    }

    /// Reads it; a group without any state stands at 0.
    pub(crate) fn read(read: &dyn Read, group: GroupId) -> Result<Self, StateError> {
        match read.get(&keys::key(group, Space::Meta, keys::META))? {
            Some(bytes) => Self::decode(&bytes).map_err(|error| damaged(group, error)),
            None => Ok(Self::default()),
        }
    }
}

/// The snapshot that is being installed: while this stands the state may be part old, part new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Installing(pub SnapshotFile);

impl Installing {
    pub(crate) fn encode(&self) -> Bytes {
        proto::SnapshotFile::from(&self.0).encode_to_vec().into()
    }

    pub(crate) fn read(read: &dyn Read, group: GroupId) -> Result<Option<Self>, StateError> {
        let Some(bytes) = read.get(&keys::key(group, Space::Meta, keys::INSTALLING))? else {
            return Ok(None);
        };
        let decoded = proto::SnapshotFile::decode(bytes).map_err(CodecError::from);
        let file = decoded
            .and_then(|file| Some(file).try_into())
            .map_err(|error| damaged(group, error))?;
        Ok(Some(Self(file)))
    }
}

/// A frozen view of a group's state for client reads; `None` while a snapshot is being installed, when part of the
/// state is not there: refuse the read, it may be tried again.
pub fn read_state(
    store: &dyn quorate_store::StateStore,
    group: GroupId,
) -> Result<Option<Box<dyn Read>>, StateError> {
    let view = store.view()?;
    Ok(Installing::read(&*view, group)?.is_none().then_some(view))
}

/// What cannot be decoded of a group's state is damage.
pub(crate) fn damaged(group: GroupId, error: impl std::fmt::Display) -> StateError {
    StateError::Corrupt(format!("group {group}: {error}"))
}

#[derive(Clone, PartialEq, prost::Message)]
struct MetaProto {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(message, optional, tag = "2")]
    applied: Option<proto::SnapshotMeta>,
    #[prost(uint64, tag = "3")]
    clock_ms: u64,
    #[prost(uint64, tag = "4")]
    sessions: u64,
    #[prost(uint64, tag = "5")]
    term_began_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::configuration;

    #[test]
    fn what_was_encoded_comes_back_and_another_format_is_refused() {
        let applied = SnapshotMeta {
            index: 9,
            term: 3,
            configuration: configuration(&[1, 2]),
            configuration_index: 4,
        };
        let meta = Meta {
            applied,
            clock_ms: 86_400_000,
            term_began_ms: 86_000_000,
            sessions: 3,
        };
        assert_eq!(Meta::decode(&meta.encode()), Ok(meta));
        let newer = MetaProto {
            version: STATE_VERSION + 1,
            ..MetaProto::default()
        };
        assert!(Meta::decode(&newer.encode_to_vec()).is_err());
    }
}
