//! What a command's client is told. It is kept in the session for a retry, so it holds no keys and no values.

use bytes::Bytes;
use prost::Message;

/// The answer to a command.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Answer {
    /// The command's own revision, or the store's at that point when it changed nothing.
    #[prost(uint64, tag = "1")]
    pub revision: u64,
    /// What came of it.
    #[prost(oneof = "Verdict", tags = "2, 3, 4")]
    pub verdict: Option<Verdict>,
}

/// What came of a command.
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub enum Verdict {
    /// All conditions held, all operations were done.
    #[prost(message, tag = "2")]
    Applied(Applied),
    /// A condition did not hold, nothing was done.
    #[prost(message, tag = "3")]
    Failed(Failed),
    /// The command is invalid, nothing was done. The text says why.
    #[prost(string, tag = "4")]
    Rejected(String),
}

/// All operations were done.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Applied {
    /// One for each operation, in order.
    #[prost(message, repeated, tag = "1")]
    pub results: Vec<OperationResult>,
}

/// What an operation found.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct OperationResult {
    /// The revision of the key's last change before this command; 0 when there was no such key.
    #[prost(uint64, tag = "1")]
    pub previous: u64,
}

/// A condition did not hold.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Failed {
    /// Which: the first, counted from 0.
    #[prost(uint32, tag = "1")]
    pub condition: u32,
    /// The revision of its key's last change; 0 when there is no such key.
    #[prost(uint64, tag = "2")]
    pub found: u64,
}

impl Answer {
    /// An answer with its verdict.
    pub(crate) fn new(revision: u64, verdict: Verdict) -> Self {
        Self {
            revision,
            verdict: Some(verdict),
        }
    }

    /// The bytes that the group keeps and hands out.
    pub fn to_bytes(&self) -> Bytes {
        self.encode_to_vec().into()
    }

    /// Reads what [`Answer::to_bytes`] wrote. An answer comes from the group itself, perhaps from a member of
    /// another version.
    pub fn from_bytes(bytes: &[u8]) -> Result<(u64, Verdict), prost::DecodeError> {
        let answer = Self::decode(bytes)?;
        let unknown = || {
            Verdict::Rejected("its answer is of a version that this member does not know".into())
        };
        Ok((answer.revision, answer.verdict.unwrap_or_else(unknown)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_back() {
        let answers = [
            Answer::new(
                9,
                Verdict::Applied(Applied {
                    results: vec![OperationResult { previous: 3 }],
                }),
            ),
            Answer::new(
                9,
                Verdict::Failed(Failed {
                    condition: 1,
                    found: 4,
                }),
            ),
            Answer::new(0, Verdict::Rejected("no".into())),
        ];
        for answer in answers {
            let read = Answer::from_bytes(&answer.to_bytes()).unwrap();
            assert_eq!(Answer::new(read.0, read.1), answer);
        }
    }

    #[test]
    fn an_unknown_verdict_is_no_success() {
        let bytes = Answer {
            revision: 7,
            verdict: None,
        }
        .to_bytes();
        assert!(matches!(
            Answer::from_bytes(&bytes).unwrap(),
            (7, Verdict::Rejected(_))
        ));
    }
}
