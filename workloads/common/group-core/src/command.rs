//! What a group's log entries hold: a workload's command with what makes its retry safe. Time and limits travel in
//! it, so that every member decides alike.

use bytes::Bytes;
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use crate::ask::Write;
use crate::proto::CodecError;

/// One command of a group's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    /// For how long the leader that put it into the log had led its term by then, in milliseconds: no wall clock counts.
    pub led_ms: u64,
    /// What to do.
    pub body: Body,
}

/// What a command does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// Opens a session.
    Open {
        /// How long it lives after its last write.
        lifetime_ms: u64,
        /// How many sessions there may be.
        max_sessions: u64,
    },
    /// Closes a session.
    Close {
        /// Its id.
        session: u64,
    },
    /// A command of the state machine.
    Write {
        /// What makes a retry safe.
        session: Option<InSession>,
        /// For the state machine.
        command: Bytes,
    },
}

/// Which write of which session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InSession {
    /// The session.
    pub id: u64,
    /// The number of the write in it.
    pub sequence: u64,
    /// Tells a retry from another request under the same number.
    pub digest: Bytes,
}

impl Body {
    pub(crate) fn write(write: Write) -> Self {
        let session = write.session.map(|(id, sequence)| InSession {
            id,
            sequence,
            digest: digest(&write.command),
        });
        Self::Write {
            session,
            command: write.command,
        }
    }
}

/// Half a SHA-256: a kept answer must not be given to another request, not even one that was made to collide.
fn digest(command: &[u8]) -> Bytes {
    Bytes::copy_from_slice(&Sha256::digest(command)[..16])
}

impl Command {
    pub(crate) fn encode(&self) -> Bytes {
        let body = match &self.body {
            Body::Open {
                lifetime_ms,
                max_sessions,
            } => BodyProto::Open(OpenProto {
                lifetime_ms: *lifetime_ms,
                max_sessions: *max_sessions,
            }),
            Body::Close { session } => BodyProto::Close(*session),
            Body::Write { session, command } => BodyProto::Write(WriteProto {
                session: session.as_ref().map(|session| SessionProto {
                    id: session.id,
                    sequence: session.sequence,
                    digest: session.digest.clone(),
                }),
                command: command.clone(),
            }),
        };
        CommandProto {
            led_ms: self.led_ms,
            body: Some(body),
        }
        .encode_to_vec()
        .into()
    }

    pub(crate) fn decode(bytes: Bytes) -> Result<Self, CodecError> {
        let command = CommandProto::decode(bytes)?;
        let body = match command
            .body
            .ok_or(CodecError::Missing("a command's kind"))?
        {
            BodyProto::Open(open) => Body::Open {
                lifetime_ms: open.lifetime_ms,
                max_sessions: open.max_sessions,
            },
            BodyProto::Close(session) => Body::Close { session },
            BodyProto::Write(write) => Body::Write {
                session: write.session.map(|session| InSession {
                    id: session.id,
                    sequence: session.sequence,
                    digest: session.digest,
                }),
                command: write.command,
            },
        };
        Ok(Self {
            led_ms: command.led_ms,
            body,
        })
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct CommandProto {
    #[prost(uint64, tag = "1")]
    led_ms: u64,
    #[prost(oneof = "BodyProto", tags = "2, 3, 4")]
    body: Option<BodyProto>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum BodyProto {
    #[prost(message, tag = "2")]
    Open(OpenProto),
    #[prost(uint64, tag = "3")]
    Close(u64),
    #[prost(message, tag = "4")]
    Write(WriteProto),
}

#[derive(Clone, PartialEq, prost::Message)]
struct OpenProto {
    #[prost(uint64, tag = "1")]
    lifetime_ms: u64,
    #[prost(uint64, tag = "2")]
    max_sessions: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WriteProto {
    #[prost(message, optional, tag = "1")]
    session: Option<SessionProto>,
    #[prost(bytes = "bytes", tag = "2")]
    command: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SessionProto {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    sequence: u64,
    #[prost(bytes = "bytes", tag = "3")]
    digest: Bytes,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_encoded_comes_back() {
        let write = |session| {
            Body::write(Write {
                session,
                command: Bytes::from_static(b"set"),
            })
        };
        let bodies = [
            Body::Open {
                lifetime_ms: 1,
                max_sessions: 2,
            },
            Body::Close { session: 0 },
            write(None),
            write(Some((3, 0))),
        ];
        for body in bodies {
            let command = Command { led_ms: 5, body };
            assert_eq!(Command::decode(command.encode()), Ok(command));
        }
        assert_eq!(
            Command::decode(Bytes::new()),
            Err(CodecError::Missing("a command's kind"))
        );
    }

    #[test]
    fn other_commands_have_other_digests() {
        assert_eq!(digest(b"a"), digest(b"a"));
        assert_ne!(digest(b"a"), digest(b"b"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Command::decode(bytes.into());
        }
    }
}
