//! [`PeerMessage`] as bytes. Decoding allocates no more than a small multiple of what came, which the transport
//! bounds; it never panics; what it does not know is an error.

use bytes::Bytes;
use prost::Message as _;
use quorate_raft::{Body, Conflict, MemberId, Message};

use crate::io::{Refused, Reply};
use crate::message::{PeerBody, PeerMessage};
use crate::proto::{self, CodecError};

/// The bytes of a message.
pub fn encode_message(message: &PeerMessage) -> Bytes {
    let kind = match &message.body {
        PeerBody::Raft(message) => Kind::Raft(message.into()),
        PeerBody::Forward { term, id, command } => Kind::Forward(Forward {
            term: *term,
            id: *id,
            command: command.clone(),
        }),
        PeerBody::ForwardReply { id, reply } => Kind::ForwardReply(ForwardReply {
            id: *id,
            reply: Some(reply.into()),
        }),
        PeerBody::SnapshotOffer { term, snapshot } => Kind::Offer(Offer {
            term: *term,
            snapshot: Some(snapshot.into()),
        }),
        PeerBody::SnapshotWant { snapshot, offset } => Kind::Want(Want {
            snapshot: Some(snapshot.into()),
            offset: *offset,
        }),
        PeerBody::SnapshotChunk {
            term,
            snapshot,
            offset,
            data,
            crc,
        } => Kind::Chunk(Chunk {
            term: *term,
            snapshot: Some(snapshot.into()),
            offset: *offset,
            data: data.clone(),
            crc: *crc,
        }),
        PeerBody::YouWereRemoved => Kind::YouWereRemoved(true),
    };
    Envelope {
        group: message.group,
        kind: Some(kind),
    }
    .encode_to_vec()
    .into()
}

/// The message of these bytes; commands in it share their memory.
pub fn decode_message(bytes: Bytes) -> Result<PeerMessage, CodecError> {
    let envelope = Envelope::decode(bytes)?;
    let body = match envelope
        .kind
        .ok_or(CodecError::Missing("a message's kind"))?
    {
        Kind::Raft(message) => PeerBody::Raft(message.try_into()?),
        Kind::Forward(forward) => PeerBody::Forward {
            term: forward.term,
            id: forward.id,
            command: forward.command,
        },
        Kind::ForwardReply(answer) => {
            let reply = answer.reply.ok_or(CodecError::Missing("a reply"))?;
            PeerBody::ForwardReply {
                id: answer.id,
                reply: reply.try_into()?,
            }
        }
        Kind::Offer(offer) => PeerBody::SnapshotOffer {
            term: offer.term,
            snapshot: offer.snapshot.try_into()?,
        },
        Kind::Want(want) => PeerBody::SnapshotWant {
            snapshot: want.snapshot.try_into()?,
            offset: want.offset,
        },
        Kind::Chunk(chunk) => PeerBody::SnapshotChunk {
            term: chunk.term,
            snapshot: chunk.snapshot.try_into()?,
            offset: chunk.offset,
            data: chunk.data,
            crc: chunk.crc,
        },
        Kind::YouWereRemoved(_) => PeerBody::YouWereRemoved,
    };
    Ok(PeerMessage {
        group: envelope.group,
        body,
    })
}

#[derive(Clone, PartialEq, prost::Message)]
struct Envelope {
    #[prost(uint64, tag = "1")]
    group: u64,
    #[prost(oneof = "Kind", tags = "2, 3, 4, 5, 6, 7, 8")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Kind {
    #[prost(message, tag = "2")]
    Raft(RaftProto),
    #[prost(message, tag = "3")]
    Forward(Forward),
    #[prost(message, tag = "4")]
    ForwardReply(ForwardReply),
    #[prost(message, tag = "5")]
    Offer(Offer),
    #[prost(message, tag = "6")]
    Want(Want),
    #[prost(message, tag = "7")]
    Chunk(Chunk),
    #[prost(bool, tag = "8")]
    YouWereRemoved(bool),
}

#[derive(Clone, PartialEq, prost::Message)]
struct Forward {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(fixed64, tag = "2")]
    id: u64,
    #[prost(bytes = "bytes", tag = "3")]
    command: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ForwardReply {
    #[prost(fixed64, tag = "1")]
    id: u64,
    #[prost(message, optional, tag = "2")]
    reply: Option<ReplyProto>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Offer {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(message, optional, tag = "2")]
    snapshot: Option<proto::SnapshotFile>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Want {
    #[prost(message, optional, tag = "1")]
    snapshot: Option<proto::SnapshotFile>,
    #[prost(uint64, optional, tag = "2")]
    offset: Option<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Chunk {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(message, optional, tag = "2")]
    snapshot: Option<proto::SnapshotFile>,
    #[prost(uint64, tag = "3")]
    offset: u64,
    #[prost(bytes = "bytes", tag = "4")]
    data: Bytes,
    #[prost(fixed32, tag = "5")]
    crc: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ReplyProto {
    #[prost(oneof = "ReplyKind", tags = "1, 2, 3, 4, 5, 6, 7")]
    kind: Option<ReplyKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum ReplyKind {
    #[prost(message, tag = "1")]
    Outcome(OutcomeAt),
    #[prost(bool, tag = "2")]
    Unknown(bool),
    #[prost(message, tag = "3")]
    NoLeader(NoLeader),
    #[prost(string, tag = "4")]
    Busy(String),
    #[prost(bool, tag = "5")]
    ReadOnly(bool),
    #[prost(uint64, tag = "6")]
    NoGroup(u64),
    #[prost(string, tag = "7")]
    OutOfService(String),
}

#[derive(Clone, PartialEq, prost::Message)]
struct OutcomeAt {
    #[prost(uint64, tag = "1")]
    index: u64,
    #[prost(message, optional, tag = "2")]
    outcome: Option<proto::Outcome>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct NoLeader {
    #[prost(fixed64, optional, tag = "1")]
    hint: Option<u64>,
}

impl From<&Reply> for ReplyProto {
    fn from(reply: &Reply) -> Self {
        let kind = match reply {
            Reply::Outcome { index, outcome } => ReplyKind::Outcome(OutcomeAt {
                index: *index,
                outcome: Some(outcome.into()),
            }),
            Reply::Refused(Refused::NoLeader { hint }) => ReplyKind::NoLeader(NoLeader {
                hint: hint.map(|id| id.0),
            }),
            Reply::Refused(Refused::Busy(what)) => ReplyKind::Busy(what.clone()),
            Reply::Refused(Refused::ReadOnly) => ReplyKind::ReadOnly(true),
            Reply::Refused(Refused::NoGroup(group)) => ReplyKind::NoGroup(*group),
            Reply::Refused(refused) => ReplyKind::OutOfService(refused.to_string()),
            // No forwarded command is answered otherwise; "unknown" promises nothing.
            Reply::Unknown
            | Reply::Ready
            | Reply::Stale { .. }
            | Reply::Done
            | Reply::Transferred(_) => ReplyKind::Unknown(true),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<ReplyProto> for Reply {
    type Error = CodecError;

    fn try_from(reply: ReplyProto) -> Result<Self, CodecError> {
        Ok(
            match reply.kind.ok_or(CodecError::Missing("a reply's kind"))? {
                ReplyKind::Outcome(at) => {
                    let outcome = at.outcome.ok_or(CodecError::Missing("an outcome"))?;
                    Reply::Outcome {
                        index: at.index,
                        outcome: outcome.try_into()?,
                    }
                }
                ReplyKind::Unknown(_) => Reply::Unknown,
                ReplyKind::NoLeader(no) => Reply::Refused(Refused::NoLeader {
                    hint: no.hint.map(MemberId),
                }),
                ReplyKind::Busy(what) => Reply::Refused(Refused::Busy(what)),
                ReplyKind::ReadOnly(_) => Reply::Refused(Refused::ReadOnly),
                ReplyKind::NoGroup(group) => Reply::Refused(Refused::NoGroup(group)),
                ReplyKind::OutOfService(why) => Reply::Refused(Refused::OutOfService(why)),
            },
        )
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct RaftProto {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(oneof = "BodyProto", tags = "2, 3, 4, 5, 6, 7, 8")]
    body: Option<BodyProto>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum BodyProto {
    #[prost(message, tag = "2")]
    RequestVote(RequestVote),
    #[prost(message, tag = "3")]
    VoteReply(VoteReply),
    #[prost(message, tag = "4")]
    Append(Append),
    #[prost(message, tag = "5")]
    AppendReply(AppendReply),
    #[prost(bool, tag = "6")]
    TimeoutNow(bool),
    #[prost(message, tag = "7")]
    ReadIndex(ReadIndex),
    #[prost(message, tag = "8")]
    ReadIndexReply(ReadIndexReply),
}

#[derive(Clone, PartialEq, prost::Message)]
struct RequestVote {
    #[prost(bool, tag = "1")]
    pre: bool,
    #[prost(uint64, tag = "2")]
    last_index: u64,
    #[prost(uint64, tag = "3")]
    last_term: u64,
    #[prost(bool, tag = "4")]
    transfer: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct VoteReply {
    #[prost(bool, tag = "1")]
    pre: bool,
    #[prost(bool, tag = "2")]
    granted: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Append {
    #[prost(uint64, tag = "1")]
    prev_index: u64,
    #[prost(uint64, tag = "2")]
    prev_term: u64,
    #[prost(message, repeated, tag = "3")]
    entries: Vec<proto::Entry>,
    #[prost(uint64, tag = "4")]
    commit: u64,
    #[prost(uint64, tag = "5")]
    round: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AppendReply {
    #[prost(uint64, tag = "1")]
    round: u64,
    #[prost(oneof = "AppendResult", tags = "2, 3")]
    result: Option<AppendResult>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum AppendResult {
    #[prost(uint64, tag = "2")]
    Matched(u64),
    #[prost(message, tag = "3")]
    Conflict(ConflictProto),
}

#[derive(Clone, PartialEq, prost::Message)]
struct ConflictProto {
    #[prost(uint64, tag = "1")]
    rejected: u64,
    #[prost(uint64, tag = "2")]
    hint_index: u64,
    #[prost(uint64, tag = "3")]
    hint_term: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ReadIndex {
    #[prost(fixed64, tag = "1")]
    ticket: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ReadIndexReply {
    #[prost(fixed64, tag = "1")]
    ticket: u64,
    #[prost(uint64, optional, tag = "2")]
    index: Option<u64>,
}

impl From<&Message> for RaftProto {
    fn from(message: &Message) -> Self {
        let body = match &message.body {
            Body::RequestVote {
                pre,
                last_index,
                last_term,
                transfer,
            } => BodyProto::RequestVote(RequestVote {
                pre: *pre,
                last_index: *last_index,
                last_term: *last_term,
                transfer: *transfer,
            }),
            Body::VoteReply { pre, granted } => BodyProto::VoteReply(VoteReply {
                pre: *pre,
                granted: *granted,
            }),
            Body::Append {
                prev_index,
                prev_term,
                entries,
                commit,
                round,
            } => BodyProto::Append(Append {
                prev_index: *prev_index,
                prev_term: *prev_term,
                entries: proto::entries(entries),
                commit: *commit,
                round: *round,
            }),
            Body::AppendReply { result, round } => BodyProto::AppendReply(AppendReply {
                round: *round,
                result: Some((*result).into()),
            }),
            Body::TimeoutNow => BodyProto::TimeoutNow(true),
            Body::ReadIndex { ticket } => BodyProto::ReadIndex(ReadIndex { ticket: *ticket }),
            Body::ReadIndexReply { ticket, index } => BodyProto::ReadIndexReply(ReadIndexReply {
                ticket: *ticket,
                index: *index,
            }),
        };
        Self {
            term: message.term,
            body: Some(body),
        }
    }
}

impl TryFrom<RaftProto> for Message {
    type Error = CodecError;

    fn try_from(message: RaftProto) -> Result<Self, CodecError> {
        let body = match message
            .body
            .ok_or(CodecError::Missing("a consensus message's kind"))?
        {
            BodyProto::RequestVote(RequestVote {
                pre,
                last_index,
                last_term,
                transfer,
            }) => Body::RequestVote {
                pre,
                last_index,
                last_term,
                transfer,
            },
            BodyProto::VoteReply(VoteReply { pre, granted }) => Body::VoteReply { pre, granted },
            BodyProto::Append(append) => Body::Append {
                prev_index: append.prev_index,
                prev_term: append.prev_term,
                entries: proto::decode_entries(append.entries)?,
                commit: append.commit,
                round: append.round,
            },
            BodyProto::AppendReply(AppendReply { round, result }) => {
                let result = result.ok_or(CodecError::Missing("the result of an append"))?;
                Body::AppendReply {
                    result: result.into(),
                    round,
                }
            }
            BodyProto::TimeoutNow(_) => Body::TimeoutNow,
            BodyProto::ReadIndex(ReadIndex { ticket }) => Body::ReadIndex { ticket },
            BodyProto::ReadIndexReply(ReadIndexReply { ticket, index }) => {
                Body::ReadIndexReply { ticket, index }
            }
        };
        Ok(Self {
            term: message.term,
            body,
        })
    }
}

impl From<Result<u64, Conflict>> for AppendResult {
    fn from(result: Result<u64, Conflict>) -> Self {
        match result {
            Ok(matched) => Self::Matched(matched),
            Err(Conflict {
                rejected,
                hint_index,
                hint_term,
            }) => Self::Conflict(ConflictProto {
                rejected,
                hint_index,
                hint_term,
            }),
        }
    }
}

impl From<AppendResult> for Result<u64, Conflict> {
    fn from(result: AppendResult) -> Self {
        match result {
            AppendResult::Matched(matched) => Ok(matched),
            AppendResult::Conflict(ConflictProto {
                rejected,
                hint_index,
                hint_term,
            }) => Err(Conflict {
                rejected,
                hint_index,
                hint_term,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use quorate_raft::{Entry, Payload, SnapshotMeta};

    use super::*;
    use crate::io::{Outcome, SnapshotFile};
    use crate::testing::configuration;

    fn bodies() -> Vec<PeerBody> {
        let entries = vec![
            Entry {
                index: 1,
                term: 1,
                payload: Payload::Configuration(configuration(&[1, 2, 3])),
            },
            Entry {
                index: 2,
                term: 1,
                payload: Payload::Empty,
            },
            Entry {
                index: 3,
                term: 2,
                payload: Payload::Command(Bytes::from_static(b"")),
            },
        ];
        let conflict = Conflict {
            rejected: 9,
            hint_index: 0,
            hint_term: 0,
        };
        let raft = [
            Body::RequestVote {
                pre: true,
                last_index: 4,
                last_term: 3,
                transfer: false,
            },
            Body::VoteReply {
                pre: false,
                granted: true,
            },
            Body::Append {
                prev_index: 0,
                prev_term: 0,
                entries,
                commit: 2,
                round: 5,
            },
            Body::AppendReply {
                result: Ok(0),
                round: 0,
            },
            Body::AppendReply {
                result: Err(conflict),
                round: 1,
            },
            Body::TimeoutNow,
            Body::ReadIndex { ticket: u64::MAX },
            Body::ReadIndexReply {
                ticket: 1,
                index: None,
            },
            Body::ReadIndexReply {
                ticket: 1,
                index: Some(0),
            },
        ];
        let meta = SnapshotMeta {
            index: 9,
            term: 2,
            configuration: configuration(&[1]),
            configuration_index: 1,
        };
        let snapshot = SnapshotFile {
            meta,
            size: 77,
            crc: 5,
        };
        let data = Bytes::from_static(b"data");
        let mut bodies: Vec<PeerBody> = raft
            .into_iter()
            .map(|body| PeerBody::Raft(Message { term: 8, body }))
            .collect();
        bodies.extend([
            PeerBody::Forward {
                term: 3,
                id: 1,
                command: Bytes::from_static(b"x"),
            },
            PeerBody::SnapshotOffer {
                term: 3,
                snapshot: snapshot.clone(),
            },
            PeerBody::SnapshotWant {
                snapshot: snapshot.clone(),
                offset: None,
            },
            PeerBody::SnapshotWant {
                snapshot: snapshot.clone(),
                offset: Some(0),
            },
            PeerBody::SnapshotChunk {
                term: 3,
                snapshot,
                offset: 9,
                data,
                crc: 1,
            },
            PeerBody::YouWereRemoved,
        ]);
        bodies.extend(
            replies()
                .into_iter()
                .map(|reply| PeerBody::ForwardReply { id: 4, reply }),
        );
        bodies
    }

    fn replies() -> Vec<Reply> {
        let outcomes = [
            Outcome::Answer(Bytes::new()),
            Outcome::Opened {
                session: 5,
                lifetime_ms: 60_000,
            },
            Outcome::Closed,
            Outcome::SessionGone,
            Outcome::SequenceTooLow { last: 0 },
            Outcome::SequenceReused,
            Outcome::SessionsFull,
        ];
        let refused = [
            Refused::NoLeader {
                hint: Some(MemberId(2)),
            },
            Refused::NoLeader { hint: None },
            Refused::Busy("queue".into()),
            Refused::ReadOnly,
            Refused::NoGroup(4),
            Refused::OutOfService("damaged".into()),
        ];
        let outcomes = outcomes
            .into_iter()
            .map(|outcome| Reply::Outcome { index: 3, outcome });
        outcomes
            .chain(refused.into_iter().map(Reply::Refused))
            .chain([Reply::Unknown])
            .collect()
    }

    #[test]
    fn what_was_encoded_comes_back() {
        for body in bodies() {
            let message = PeerMessage { group: 12, body };
            assert_eq!(decode_message(encode_message(&message)), Ok(message));
        }
    }

    #[test]
    fn a_cut_message_is_an_error_or_a_smaller_one_but_never_a_panic() {
        for body in bodies() {
            let bytes = encode_message(&PeerMessage { group: 12, body });
            for len in 0..bytes.len() {
                let _ = decode_message(bytes.slice(..len));
            }
        }
        assert!(matches!(
            decode_message(Bytes::new()),
            Err(CodecError::Missing(_))
        ));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode_message(bytes.into());
        }
    }
}
