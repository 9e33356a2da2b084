//! What is replicated: one command with conditions and operations covers PUT, DELETE and batch.

use std::collections::BTreeSet;

use bytes::{Buf, Bytes};
use prost::Message;

/// A command: when all conditions hold, all operations are done, as one change with one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// All are judged on the state before the command, and before any operation.
    pub conditions: Vec<Condition>,
    /// What to do. No key occurs twice.
    pub operations: Vec<Operation>,
    /// Whether it was asked as a request for one key. Its answer is of another form than a batch's: neither is the
    /// retry of the other.
    pub single: bool,
}

/// What must be true of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The key.
    pub key: Bytes,
    /// What must be true of it.
    pub expect: Expect,
}

/// What a [`Condition`] demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The key does not exist (`If-None-Match: *`).
    Missing,
    /// The key exists (`If-Match: *`).
    Exists,
    /// The key exists and was last changed at this revision (`If-Match: "7"`).
    Revision(u64),
}

impl Expect {
    /// Judges it; `found` is the revision at which the key was last changed, `None` when there is no such key.
    pub fn holds(self, found: Option<u64>) -> bool {
        match self {
            Self::Missing => found.is_none(),
            Self::Exists => found.is_some(),
            Self::Revision(wanted) => found == Some(wanted),
        }
    }
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Sets a key. Always a change, the same value too.
    Put {
        /// The key.
        key: Bytes,
        /// Its new value.
        value: Bytes,
    },
    /// Removes a key. No change when there is none.
    Delete {
        /// The key.
        key: Bytes,
    },
}

impl Operation {
    /// The key that is written.
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }
}

/// Why a command cannot be applied. Every member finds the same, so the command is answered and changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The bytes are no command that this version knows.
    #[error("the command cannot be decoded: {0}")]
    Undecodable(String),
    /// It says nothing.
    #[error("the command has neither conditions nor operations")]
    Empty,
    /// A key is written twice.
    #[error("operation {0} writes a key that an earlier operation writes")]
    WrittenTwice(usize),
}

impl Command {
    /// A command of one operation.
    pub fn single(conditions: Vec<Condition>, operation: Operation) -> Self {
        Self {
            conditions,
            operations: vec![operation],
            single: true,
        }
    }

    /// The bytes to replicate. Equal commands give equal bytes: a retry in a session is recognised by them.
    pub fn encode(&self) -> Bytes {
        let batch = wire::Batch {
            conditions: self.conditions.iter().map(wire::Condition::from).collect(),
            operations: self.operations.iter().map(wire::Operation::from).collect(),
            single: self.single,
        };
        wire::Command {
            kind: Some(wire::Kind::Batch(batch)),
        }
        .encode_to_vec()
        .into()
    }

    /// Reads and checks what [`Command::encode`] wrote; of `Bytes` nothing is copied. Any bytes may come.
    pub fn decode(bytes: impl Buf) -> Result<Self, Invalid> {
        let command = wire::Command::decode(bytes)
            .map_err(|error| Invalid::Undecodable(error.to_string()))?;
        let Some(wire::Kind::Batch(batch)) = command.kind else {
            return Err(Invalid::Undecodable("its kind is not known".into()));
        };
        let command = Self {
            conditions: batch
                .conditions
                .into_iter()
                .map(Condition::try_from)
                .collect::<Result<_, _>>()?,
            operations: batch
                .operations
                .into_iter()
                .map(Operation::try_from)
                .collect::<Result<_, _>>()?,
            single: batch.single,
        };
        command.check()?;
        Ok(command)
    }

    /// What a single condition or operation cannot know of the others.
    pub fn check(&self) -> Result<(), Invalid> {
        if self.conditions.is_empty() && self.operations.is_empty() {
            return Err(Invalid::Empty);
        }
        let mut written = BTreeSet::new();
        match self
            .operations
            .iter()
            .position(|operation| !written.insert(operation.key()))
        {
            Some(at) => Err(Invalid::WrittenTwice(at)),
            None => Ok(()),
        }
    }
}

impl From<&Condition> for wire::Condition {
    fn from(condition: &Condition) -> Self {
        let expect = match condition.expect {
            Expect::Missing => wire::Expect::Exists(false),
            Expect::Exists => wire::Expect::Exists(true),
            Expect::Revision(revision) => wire::Expect::Revision(revision),
        };
        Self {
            key: condition.key.clone(),
            expect: Some(expect),
        }
    }
}

impl TryFrom<wire::Condition> for Condition {
    type Error = Invalid;

    fn try_from(condition: wire::Condition) -> Result<Self, Invalid> {
        let expect = match condition.expect {
            Some(wire::Expect::Exists(true)) => Expect::Exists,
            Some(wire::Expect::Exists(false)) => Expect::Missing,
            Some(wire::Expect::Revision(revision)) => Expect::Revision(revision),
            None => return Err(Invalid::Undecodable("a condition is not known".into())),
        };
        Ok(Self {
            key: condition.key,
            expect,
        })
    }
}

impl From<&Operation> for wire::Operation {
    fn from(operation: &Operation) -> Self {
        let write = match operation.clone() {
            Operation::Put { key, value } => wire::Operate::Put(wire::Put { key, value }),
            Operation::Delete { key } => wire::Operate::Delete(wire::Delete { key }),
        };
        Self {
            operate: Some(write),
        }
    }
}

impl TryFrom<wire::Operation> for Operation {
    type Error = Invalid;

    fn try_from(operation: wire::Operation) -> Result<Self, Invalid> {
        match operation.operate {
            Some(wire::Operate::Put(put)) => Ok(Self::Put {
                key: put.key,
                value: put.value,
            }),
            Some(wire::Operate::Delete(delete)) => Ok(Self::Delete { key: delete.key }),
            None => Err(Invalid::Undecodable("an operation is not known".into())),
        }
    }
}

/// The bytes in the log: tags are never used again for something else.
mod wire {
    use bytes::Bytes;

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Command {
        #[prost(oneof = "Kind", tags = "1")]
        pub kind: Option<Kind>,
    }

    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Kind {
        #[prost(message, tag = "1")]
        Batch(Batch),
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Batch {
        #[prost(message, repeated, tag = "1")]
        pub conditions: Vec<Condition>,
        #[prost(message, repeated, tag = "2")]
        pub operations: Vec<Operation>,
        #[prost(bool, tag = "3")]
        pub single: bool,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Condition {
        #[prost(bytes = "bytes", tag = "1")]
        pub key: Bytes,
        #[prost(oneof = "Expect", tags = "2, 3")]
        pub expect: Option<Expect>,
    }

    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Expect {
        #[prost(bool, tag = "2")]
        Exists(bool),
        #[prost(uint64, tag = "3")]
        Revision(u64),
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Operation {
        #[prost(oneof = "Operate", tags = "1, 2")]
        pub operate: Option<Operate>,
    }

    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Operate {
        #[prost(message, tag = "1")]
        Put(Put),
        #[prost(message, tag = "2")]
        Delete(Delete),
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Put {
        #[prost(bytes = "bytes", tag = "1")]
        pub key: Bytes,
        #[prost(bytes = "bytes", tag = "2")]
        pub value: Bytes,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Delete {
        #[prost(bytes = "bytes", tag = "1")]
        pub key: Bytes,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::command;

    #[test]
    fn a_condition_is_judged_on_presence_and_revision() {
        let table = [
            (Expect::Missing, None, true),
            (Expect::Missing, Some(3), false),
            (Expect::Exists, None, false),
            (Expect::Exists, Some(3), true),
            (Expect::Revision(3), Some(3), true),
            (Expect::Revision(3), Some(4), false),
            (Expect::Revision(3), None, false),
            // No key has revision 0: an entity tag "0" must not mean "missing".
            (Expect::Revision(0), None, false),
        ];
        for (expect, found, holds) in table {
            assert_eq!(expect.holds(found), holds, "{expect:?} of {found:?}");
        }
    }

    #[test]
    fn a_key_written_twice_is_invalid() {
        let key = Bytes::from_static(b"k");
        let put = Operation::Put {
            key: key.clone(),
            value: Bytes::new(),
        };
        let command = Command {
            conditions: vec![],
            operations: vec![put, Operation::Delete { key }],
            single: false,
        };
        assert_eq!(command.check(), Err(Invalid::WrittenTwice(1)));
        assert_eq!(
            Command::decode(command.encode()),
            Err(Invalid::WrittenTwice(1))
        );
    }

    #[test]
    fn a_batch_of_one_is_not_the_request_for_one_key() {
        let key = Bytes::from_static(b"k");
        let single = Command::single(vec![], Operation::Delete { key });
        let batch = Command {
            single: false,
            ..single.clone()
        };
        assert_ne!(single.encode(), batch.encode());
        assert_eq!(Command::decode(single.encode()), Ok(single));
    }

    #[test]
    fn nothing_at_all_is_invalid() {
        assert!(matches!(
            Command::decode(&b""[..]),
            Err(Invalid::Undecodable(_))
        ));
        assert_eq!(
            Command::decode(Command::default().encode()),
            Err(Invalid::Empty)
        );
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(command in command()) {
            prop_assert_eq!(Command::decode(command.encode()), command.check().map(|()| command));
        }

        #[test]
        fn hostile_bytes_are_refused_not_panicked_on(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Command::decode(&bytes[..]);
        }

        #[test]
        fn damaged_commands_are_refused_not_panicked_on(command in command(), at in any::<prop::sample::Index>(), byte: u8) {
            let mut bytes = command.encode().to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = Command::decode(&bytes[..]);
        }
    }
}
