use proptest::prelude::*;
use quorate_raft::{Body, Conflict, Entry, MemberId, Message, Payload, SnapshotMeta};

use super::*;
use crate::ask::{Refused, Reply};
use crate::testing::configuration;
use crate::types::{Outcome, SnapshotFile};

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
            acknowledged: 3,
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
