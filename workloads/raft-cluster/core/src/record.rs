//! What is kept of a key.

use bytes::Bytes;
use prost::Message;
use quorate_store::StateError;

/// A key's value and its history in numbers. The tags are those of etcd's `mvccpb.KeyValue`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Record {
    /// The revision at which the key came into being.
    #[prost(uint64, tag = "2")]
    pub create_revision: u64,
    /// The revision of its last change; its entity tag.
    #[prost(uint64, tag = "3")]
    pub mod_revision: u64,
    /// How often it was written since it came into being.
    #[prost(uint64, tag = "4")]
    pub version: u64,
    /// The value.
    #[prost(bytes = "bytes", tag = "5")]
    pub value: Bytes,
}

impl Record {
    /// The record after a PUT at `revision`.
    pub(crate) fn written(previous: Option<&Self>, revision: u64, value: Bytes) -> Self {
        Self {
            create_revision: previous.map_or(revision, |record| record.create_revision),
            mod_revision: revision,
            version: previous.map_or(0, |record| record.version) + 1,
            value,
        }
    }

    pub(crate) fn to_bytes(&self) -> Bytes {
        self.encode_to_vec().into()
    }

    /// Reads what lies in the state store; the value shares its memory.
    pub(crate) fn from_bytes(stored: Bytes) -> Result<Self, StateError> {
        Self::decode(stored)
            .map_err(|error| StateError::Corrupt(format!("a record cannot be decoded: {error}")))
    }
}
