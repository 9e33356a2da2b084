//! Whatever a peer says, a member goes on: messages that cannot be are ignored and counted, never panicked on.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use bytes::Bytes;
use quorate_raft::*;
use support::*;

fn number(rng: &mut fastrand::Rng) -> u64 {
    match rng.u8(0..20) {
        0 => u64::MAX,
        1 => u64::MAX - 1,
        2 => 1 << 62,
        3 => rng.u64(..),
        _ => rng.u64(0..12),
    }
}

fn entry(rng: &mut fastrand::Rng, index: Index, term: Term) -> Entry {
    let payload = match rng.u8(0..4) {
        0 => Payload::Empty,
        1 => Payload::Configuration(configuration(&[1, 2, rng.u64(0..5)], &[])),
        2 => Payload::Configuration(Configuration::default()),
        _ => Payload::Command(Bytes::from_static(b"x")),
    };
    Entry {
        index,
        term,
        payload,
    }
}

fn message(rng: &mut fastrand::Rng, raft: &Raft) -> Message {
    let term = if rng.bool() { raft.term() } else { number(rng) };
    let body = match rng.u8(0..9) {
        0 => Body::RequestVote {
            pre: rng.bool(),
            last_index: number(rng),
            last_term: number(rng),
            transfer: rng.bool(),
        },
        1 => Body::VoteReply {
            pre: rng.bool(),
            granted: rng.bool(),
        },
        2..5 => append(rng, raft),
        5 => Body::AppendReply {
            result: Ok(number(rng)),
            round: number(rng),
        },
        6 => {
            let conflict = Conflict {
                rejected: number(rng),
                hint_index: number(rng),
                hint_term: number(rng),
            };
            Body::AppendReply {
                result: Err(conflict),
                round: number(rng),
            }
        }
        7 => Body::TimeoutNow,
        _ if rng.bool() => Body::ReadIndex {
            ticket: number(rng),
        },
        _ => Body::ReadIndexReply {
            ticket: number(rng),
            index: Some(number(rng)),
        },
    };
    Message { term, body }
}

/// Often one that would fit, so that what follows the first checks is reached.
fn append(rng: &mut fastrand::Rng, raft: &Raft) -> Body {
    let prev_index = if rng.bool() {
        rng.u64(0..=raft.last_index())
    } else {
        number(rng)
    };
    let known = raft.term_at(prev_index).filter(|_| rng.u8(0..8) > 0);
    let prev_term = known.unwrap_or_else(|| number(rng));
    let mut term = prev_term;
    let entries = (1..=rng.u64(0..4)).map(|i| {
        term = if rng.bool() { raft.term() } else { term };
        let index = if rng.u8(0..30) == 0 {
            number(rng)
        } else {
            prev_index.saturating_add(i)
        };
        entry(rng, index, term)
    });
    Body::Append {
        prev_index,
        prev_term,
        entries: entries.collect(),
        commit: number(rng),
        round: number(rng),
        acknowledged: number(rng),
    }
}

#[test]
fn no_message_stops_a_member() {
    let mut ignored = std::collections::BTreeMap::<Ignored, u64>::new();
    for seed in 0..1000 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut disk = Disk::default();
        disk.state.meta.configuration = configuration(&[1, 2, 3], &[4]);
        let mut member = Member::start(Config::new(MemberId(1), seed), disk, Duration::ZERO);
        for _ in 0..300 {
            match rng.u8(0..10) {
                0 => {
                    member.now = member.now.max(member.raft.deadline());
                    member.step(Input::Tick);
                }
                1 => drop(member.step(Input::Propose {
                    ticket: 1,
                    command: Bytes::from_static(b"y"),
                })),
                2 => drop(member.step(Input::Applied(member.raft.handed_out()))),
                3 => {
                    if let Some((id, _)) = member.sync() {
                        member.step(Input::Written(id));
                    }
                }
                _ => {
                    let message = message(&mut rng, &member.raft);
                    member.step(Input::Receive {
                        from: MemberId(rng.u64(0..6)),
                        message,
                    });
                }
            }
            if rng.bool() {
                member.flush();
            }
        }
        for (why, count) in member.raft.ignored() {
            *ignored.entry(why).or_default() += count;
        }
    }
    assert_eq!(
        ignored.len(),
        5,
        "every reason to ignore a message was met: {ignored:?}"
    );
}

#[test]
fn a_snapshot_that_cannot_be_is_not_wanted() {
    let member = Member::start(Config::new(MemberId(1), 1), Disk::default(), Duration::ZERO);
    let meta = |index, term, configuration_index| SnapshotMeta {
        index,
        term,
        configuration_index,
        ..SnapshotMeta::default()
    };
    assert!(member.raft.wants_snapshot(&meta(9, 2, 3)));
    for (index, term, configuration_index) in
        [(u64::MAX, 2, 3), (9, u64::MAX, 3), (9, 0, 3), (9, 2, 10)]
    {
        let snapshot = meta(index, term, configuration_index);
        assert!(!member.raft.wants_snapshot(&snapshot), "{snapshot:?}");
    }
}
