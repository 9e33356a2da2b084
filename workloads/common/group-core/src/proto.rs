//! The encoded form of what travels between members and lies on disk: protobuf, so that fields can be added.
//! Every alternative is explicit: what a newer version adds is an error here, never taken for something else.

use bytes::Bytes;
use quorate_raft as raft;
use quorate_raft::MemberId;

use crate::types;

/// Why bytes could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Not protobuf, or not of this kind.
    #[error("malformed: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// A part that must be there is not, or is of a kind that this version does not know.
    #[error(
        "{0} is missing, or of a kind that this version does not know: are all members upgraded?"
    )]
    Missing(&'static str),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Entry {
    #[prost(uint64, tag = "1")]
    pub index: u64,
    #[prost(uint64, tag = "2")]
    pub term: u64,
    #[prost(oneof = "Payload", tags = "3, 4, 5")]
    pub payload: Option<Payload>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Payload {
    #[prost(bool, tag = "3")]
    Empty(bool),
    #[prost(bytes = "bytes", tag = "4")]
    Command(Bytes),
    #[prost(message, tag = "5")]
    Configuration(Configuration),
}

impl From<&raft::Entry> for Entry {
    fn from(entry: &raft::Entry) -> Self {
        let payload = match &entry.payload {
            raft::Payload::Empty => Payload::Empty(true),
            raft::Payload::Command(command) => Payload::Command(command.clone()),
            raft::Payload::Configuration(configuration) => {
                Payload::Configuration(configuration.into())
            }
        };
        Self {
            index: entry.index,
            term: entry.term,
            payload: Some(payload),
        }
    }
}

impl TryFrom<Entry> for raft::Entry {
    type Error = CodecError;

    fn try_from(entry: Entry) -> Result<Self, CodecError> {
        let payload = match entry
            .payload
            .ok_or(CodecError::Missing("an entry's payload"))?
        {
            Payload::Empty(_) => raft::Payload::Empty,
            Payload::Command(command) => raft::Payload::Command(command),
            Payload::Configuration(configuration) => {
                raft::Payload::Configuration(configuration.into())
            }
        };
        Ok(Self {
            index: entry.index,
            term: entry.term,
            payload,
        })
    }
}

pub(crate) fn entries(entries: &[raft::Entry]) -> Vec<Entry> {
    entries.iter().map(Entry::from).collect()
}

pub(crate) fn decode_entries(entries: Vec<Entry>) -> Result<Vec<raft::Entry>, CodecError> {
    entries.into_iter().map(raft::Entry::try_from).collect()
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Configuration {
    #[prost(fixed64, repeated, tag = "1")]
    pub voters: Vec<u64>,
    #[prost(fixed64, repeated, tag = "2")]
    pub outgoing: Vec<u64>,
    #[prost(fixed64, repeated, tag = "3")]
    pub learners: Vec<u64>,
    #[prost(message, repeated, tag = "4")]
    pub contacts: Vec<Contact>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Contact {
    #[prost(fixed64, tag = "1")]
    pub id: u64,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(string, tag = "3")]
    pub address: String,
}

impl From<&raft::Configuration> for Configuration {
    fn from(configuration: &raft::Configuration) -> Self {
        let ids = |set: &std::collections::BTreeSet<MemberId>| set.iter().map(|id| id.0).collect();
        Self {
            voters: ids(&configuration.voters),
            outgoing: ids(&configuration.outgoing),
            learners: ids(&configuration.learners),
            contacts: configuration
                .contacts
                .iter()
                .map(|(id, contact)| Contact {
                    id: id.0,
                    name: contact.name.clone(),
                    address: contact.address.clone(),
                })
                .collect(),
        }
    }
}

impl From<Configuration> for raft::Configuration {
    fn from(configuration: Configuration) -> Self {
        let ids = |list: Vec<u64>| list.into_iter().map(MemberId).collect();
        Self {
            voters: ids(configuration.voters),
            outgoing: ids(configuration.outgoing),
            learners: ids(configuration.learners),
            contacts: configuration
                .contacts
                .into_iter()
                .map(|contact| {
                    (
                        MemberId(contact.id),
                        raft::Contact {
                            name: contact.name,
                            address: contact.address,
                        },
                    )
                })
                .collect(),
        }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SnapshotMeta {
    #[prost(uint64, tag = "1")]
    pub index: u64,
    #[prost(uint64, tag = "2")]
    pub term: u64,
    #[prost(message, optional, tag = "3")]
    pub configuration: Option<Configuration>,
    #[prost(uint64, tag = "4")]
    pub configuration_index: u64,
}

impl From<&raft::SnapshotMeta> for SnapshotMeta {
    fn from(meta: &raft::SnapshotMeta) -> Self {
        Self {
            index: meta.index,
            term: meta.term,
            configuration: Some((&meta.configuration).into()),
            configuration_index: meta.configuration_index,
        }
    }
}

impl TryFrom<SnapshotMeta> for raft::SnapshotMeta {
    type Error = CodecError;

    fn try_from(meta: SnapshotMeta) -> Result<Self, CodecError> {
        Ok(Self {
            index: meta.index,
            term: meta.term,
            configuration: meta
                .configuration
                .ok_or(CodecError::Missing("a configuration"))?
                .into(),
            configuration_index: meta.configuration_index,
        })
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SnapshotFile {
    #[prost(message, optional, tag = "1")]
    pub meta: Option<SnapshotMeta>,
    #[prost(uint64, tag = "2")]
    pub size: u64,
    #[prost(fixed32, tag = "3")]
    pub crc: u32,
}

impl From<&types::SnapshotFile> for SnapshotFile {
    fn from(file: &types::SnapshotFile) -> Self {
        Self {
            meta: Some((&file.meta).into()),
            size: file.size,
            crc: file.crc,
        }
    }
}

impl TryFrom<Option<SnapshotFile>> for types::SnapshotFile {
    type Error = CodecError;

    fn try_from(file: Option<SnapshotFile>) -> Result<Self, CodecError> {
        let file = file.ok_or(CodecError::Missing("a snapshot"))?;
        let meta = file.meta.ok_or(CodecError::Missing("a snapshot's place"))?;
        Ok(Self {
            meta: meta.try_into()?,
            size: file.size,
            crc: file.crc,
        })
    }
}

/// What came of a command, as it is kept for a session's retry and sent to the member that forwarded it.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Outcome {
    #[prost(oneof = "OutcomeKind", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub kind: Option<OutcomeKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum OutcomeKind {
    #[prost(bytes = "bytes", tag = "1")]
    Answer(Bytes),
    #[prost(message, tag = "2")]
    Opened(Opened),
    #[prost(bool, tag = "3")]
    Closed(bool),
    #[prost(bool, tag = "4")]
    SessionGone(bool),
    #[prost(uint64, tag = "5")]
    SequenceTooLow(u64),
    #[prost(bool, tag = "6")]
    SequenceReused(bool),
    #[prost(bool, tag = "7")]
    SessionsFull(bool),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Opened {
    #[prost(uint64, tag = "1")]
    pub session: u64,
    #[prost(uint64, tag = "2")]
    pub lifetime_ms: u64,
}

impl From<&types::Outcome> for Outcome {
    fn from(outcome: &types::Outcome) -> Self {
        let kind = match outcome {
            types::Outcome::Answer(answer) => OutcomeKind::Answer(answer.clone()),
            types::Outcome::Opened {
                session,
                lifetime_ms,
            } => OutcomeKind::Opened(Opened {
                session: *session,
                lifetime_ms: *lifetime_ms,
            }),
            types::Outcome::Closed => OutcomeKind::Closed(true),
            types::Outcome::SessionGone => OutcomeKind::SessionGone(true),
            types::Outcome::SequenceTooLow { last } => OutcomeKind::SequenceTooLow(*last),
            types::Outcome::SequenceReused => OutcomeKind::SequenceReused(true),
            types::Outcome::SessionsFull => OutcomeKind::SessionsFull(true),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<Outcome> for types::Outcome {
    type Error = CodecError;

    fn try_from(outcome: Outcome) -> Result<Self, CodecError> {
        Ok(
            match outcome.kind.ok_or(CodecError::Missing("an outcome"))? {
                OutcomeKind::Answer(answer) => Self::Answer(answer),
                OutcomeKind::Opened(opened) => Self::Opened {
                    session: opened.session,
                    lifetime_ms: opened.lifetime_ms,
                },
                OutcomeKind::Closed(_) => Self::Closed,
                OutcomeKind::SessionGone(_) => Self::SessionGone,
                OutcomeKind::SequenceTooLow(last) => Self::SequenceTooLow { last },
                OutcomeKind::SequenceReused(_) => Self::SequenceReused,
                OutcomeKind::SessionsFull(_) => Self::SessionsFull,
            },
        )
    }
}
