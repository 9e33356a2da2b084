//! Answers to forwarded commands.

use quorate_raft::MemberId;

use crate::ask::{Refused, Reply};
use crate::proto::{self, CodecError};

/// What became of a forwarded command.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ReplyProto {
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
