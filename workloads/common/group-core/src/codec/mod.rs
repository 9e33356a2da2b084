//! [`PeerMessage`] as bytes. Decoding allocates no more than a small multiple of what came, which the transport
//! bounds; it never panics; what it does not know is an error.

mod raft;
mod reply;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use prost::Message as _;

use crate::message::{PeerBody, PeerMessage};
use crate::proto::{self, CodecError};
use raft::RaftProto;
use reply::ReplyProto;

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
