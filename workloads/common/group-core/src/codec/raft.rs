//! The consensus core's messages.

use quorate_raft::{Body, Conflict, Message};

use crate::proto::{self, CodecError};

/// A message of the consensus core.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct RaftProto {
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
    #[prost(uint64, tag = "6")]
    acknowledged: u64,
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
                acknowledged,
            } => BodyProto::Append(Append {
                prev_index: *prev_index,
                prev_term: *prev_term,
                entries: proto::entries(entries),
                commit: *commit,
                round: *round,
                acknowledged: *acknowledged,
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
                acknowledged: append.acknowledged,
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
