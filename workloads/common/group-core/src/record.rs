//! What the process's one log holds, for all its groups, and how it is encoded there.

use bytes::Bytes;
use prost::Message as _;
use quorate_raft::{Entry, LogStart, MemberId, Vote};

use crate::proto::{self, CodecError};
use crate::types::GroupId;

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A group's vote.
    Vote {
        /// The group.
        group: GroupId,
        /// Its vote.
        vote: Vote,
    },
    /// A group's log begins after this.
    Start {
        /// The group.
        group: GroupId,
        /// Where.
        start: LogStart,
    },
    /// Entries of a group, consecutive; what was at or after the first is gone.
    Entries {
        /// The group.
        group: GroupId,
        /// The entries.
        entries: Vec<Entry>,
    },
}

impl Record {
    /// Its bytes in the log; the log adds checksums.
    pub fn encode(&self) -> Vec<u8> {
        let (group, kind) = match self {
            Record::Vote { group, vote } => (
                *group,
                Kind::Vote(VoteRecord {
                    term: vote.term,
                    voted_for: vote.voted_for.map(|id| id.0),
                }),
            ),
            Record::Start { group, start } => (
                *group,
                Kind::Start(StartRecord {
                    index: start.index,
                    term: start.term,
                    drop_suffix: start.drop_suffix,
                }),
            ),
            Record::Entries { group, entries } => (
                *group,
                Kind::Entries(EntriesRecord {
                    entries: proto::entries(entries),
                }),
            ),
        };
        RecordProto {
            group,
            kind: Some(kind),
        }
        .encode_to_vec()
    }

    /// What these bytes say.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        // One copy, so that the commands in it share one allocation.
        let record = RecordProto::decode(Bytes::copy_from_slice(bytes))?;
        let group = record.group;
        Ok(
            match record.kind.ok_or(CodecError::Missing("a record's kind"))? {
                Kind::Vote(vote) => Record::Vote {
                    group,
                    vote: Vote {
                        term: vote.term,
                        voted_for: vote.voted_for.map(MemberId),
                    },
                },
                Kind::Start(start) => Record::Start {
                    group,
                    start: LogStart {
                        index: start.index,
                        term: start.term,
                        drop_suffix: start.drop_suffix,
                    },
                },
                Kind::Entries(record) => {
                    let entries = proto::decode_entries(record.entries)?;
                    let consecutive = entries
                        .windows(2)
                        .all(|pair| pair[0].index.checked_add(1) == Some(pair[1].index));
                    if entries.first().is_none_or(|first| first.index == 0) || !consecutive {
                        return Err(CodecError::Missing("the order of a record's entries"));
                    }
                    Record::Entries { group, entries }
                }
            },
        )
    }

    /// The group it belongs to.
    pub fn group(&self) -> GroupId {
        match self {
            Record::Vote { group, .. }
            | Record::Start { group, .. }
            | Record::Entries { group, .. } => *group,
        }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct RecordProto {
    #[prost(uint64, tag = "1")]
    group: u64,
    #[prost(oneof = "Kind", tags = "2, 3, 4")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Kind {
    #[prost(message, tag = "2")]
    Vote(VoteRecord),
    #[prost(message, tag = "3")]
    Start(StartRecord),
    #[prost(message, tag = "4")]
    Entries(EntriesRecord),
}

#[derive(Clone, PartialEq, prost::Message)]
struct VoteRecord {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(fixed64, optional, tag = "2")]
    voted_for: Option<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StartRecord {
    #[prost(uint64, tag = "1")]
    index: u64,
    #[prost(uint64, tag = "2")]
    term: u64,
    #[prost(bool, tag = "3")]
    drop_suffix: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct EntriesRecord {
    #[prost(message, repeated, tag = "1")]
    entries: Vec<proto::Entry>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use quorate_raft::Payload;

    use super::*;

    fn entry(index: u64) -> Entry {
        Entry {
            index,
            term: 3,
            payload: Payload::Command(Bytes::from_static(b"command")),
        }
    }

    #[test]
    fn what_was_encoded_comes_back() {
        let records = [
            Record::Vote {
                group: 7,
                vote: Vote {
                    term: 9,
                    voted_for: Some(MemberId(4)),
                },
            },
            Record::Vote {
                group: 7,
                vote: Vote::default(),
            },
            Record::Start {
                group: 0,
                start: LogStart {
                    index: 5,
                    term: 2,
                    drop_suffix: true,
                },
            },
            Record::Entries {
                group: 1,
                entries: vec![
                    Entry {
                        index: 1,
                        term: 1,
                        payload: Payload::Empty,
                    },
                    Entry {
                        index: 2,
                        term: 1,
                        payload: Payload::Configuration(crate::testing::configuration(&[1, 2])),
                    },
                    entry(3),
                ],
            },
        ];
        for record in records {
            assert_eq!(Record::decode(&record.encode()), Ok(record));
        }
    }

    #[test]
    fn entries_out_of_order_are_refused() {
        for entries in [
            vec![],
            vec![entry(0)],
            vec![entry(2), entry(4)],
            vec![entry(2), entry(2)],
        ] {
            assert!(Record::decode(&Record::Entries { group: 1, entries }.encode()).is_err());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Record::decode(&bytes);
        }
    }
}
