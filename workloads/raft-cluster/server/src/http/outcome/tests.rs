//! The table of the issue, row by row.

use bytes::Bytes;
use quorate_group_core::Refused;
use quorate_raft::{MemberId, Refusal as Raft};
use quorate_raft_cluster_core::Applied;

use super::*;

const LEADER: &str = "http://a-1.a:7070";

fn answer(revision: u64, verdict: Verdict) -> Reply {
    let answer = Answer {
        revision,
        verdict: Some(verdict),
    };
    Reply::Outcome {
        index: 99,
        outcome: Outcome::Answer(answer.to_bytes()),
    }
}

fn applied(previous: u64) -> Reply {
    answer(
        8,
        Verdict::Applied(Applied {
            results: vec![OperationResult { previous }],
        }),
    )
}

fn failed(found: u64) -> Reply {
    answer(
        8,
        Verdict::Failed(Failed {
            condition: 0,
            found,
        }),
    )
}

fn outcome(outcome: Outcome) -> Reply {
    Reply::Outcome { index: 99, outcome }
}

fn put() -> Asked {
    Asked::Put(vec!["if-match"])
}

fn delete() -> Asked {
    Asked::Delete(vec!["if-match"])
}

/// Status, the end of the problem's type, whether it says when to try again and who leads.
fn told(result: Result<Done, Refusal>) -> (u16, String, bool, bool) {
    match result {
        Ok(done) => (done.status.as_u16(), String::new(), false, false),
        Err(refusal) => {
            let kind = refusal
                .problem
                .kind
                .strip_prefix(quorate_wire::PROBLEM_BASE)
                .unwrap()
                .to_owned();
            (
                refusal.problem.status,
                kind,
                refusal.retry_after.is_some(),
                refusal.problem.leader.is_some(),
            )
        }
    }
}

#[test]
fn writes() {
    let no_leader = || {
        Reply::Refused(Refused::NoLeader {
            hint: Some(MemberId(1)),
        })
    };
    let table = [
        (put(), applied(0), 201, "", false, false),
        (put(), applied(3), 200, "", false, false),
        (delete(), applied(3), 204, "", false, false),
        (delete(), applied(0), 404, "no-such-key", false, false),
        (Asked::Batch, applied(0), 200, "", false, false),
        (put(), failed(3), 412, "condition-failed", false, false),
        (put(), failed(0), 412, "condition-failed", false, false),
        (delete(), failed(3), 412, "condition-failed", false, false),
        (delete(), failed(0), 404, "no-such-key", false, false),
        (
            Asked::Batch,
            failed(0),
            412,
            "condition-failed",
            false,
            false,
        ),
        (
            put(),
            answer(8, Verdict::Rejected("no".into())),
            500,
            "internal",
            false,
            false,
        ),
        (
            put(),
            outcome(Outcome::Answer(Bytes::from_static(b"\xff"))),
            500,
            "internal",
            false,
            false,
        ),
        (
            put(),
            outcome(Outcome::SessionGone),
            410,
            "session-gone",
            false,
            false,
        ),
        (
            put(),
            outcome(Outcome::SequenceTooLow { last: 7 }),
            409,
            "sequence-too-low",
            false,
            false,
        ),
        (
            put(),
            outcome(Outcome::SequenceReused),
            422,
            "sequence-reused",
            false,
            false,
        ),
        (put(), no_leader(), 503, "no-leader", true, true),
        (
            put(),
            Reply::Refused(Refused::Busy("log".into())),
            429,
            "busy",
            true,
            false,
        ),
        (
            put(),
            Reply::Refused(Refused::ReadOnly),
            503,
            "disk-full",
            true,
            true,
        ),
        (
            put(),
            Reply::Refused(Refused::NoGroup(1)),
            503,
            "no-group",
            true,
            false,
        ),
        (
            put(),
            Reply::Refused(Refused::OutOfService("damaged".into())),
            503,
            "out-of-service",
            true,
            true,
        ),
        (
            put(),
            Reply::Refused(Refused::Raft(Raft::Transferring)),
            503,
            "no-leader",
            true,
            true,
        ),
        (
            put(),
            Reply::Refused(Refused::Raft(Raft::Busy(9))),
            429,
            "busy",
            true,
            false,
        ),
        (put(), Reply::Unknown, 504, "outcome-unknown", false, false),
        (put(), Reply::Ready, 504, "outcome-unknown", false, false),
    ];
    for (asked, reply, status, kind, retry, leader) in table {
        let name = format!("{asked:?} {reply:?}");
        assert_eq!(
            told(of_write(&asked, reply, Some(LEADER.into()))),
            (status, kind.to_owned(), retry, leader),
            "{name}"
        );
    }
}

#[test]
fn a_write_answers_its_own_revision() {
    let done = of_write(&put(), applied(3), None).unwrap();
    assert_eq!(
        (done.revision, done.results),
        (8, vec![OperationResult { previous: 3 }])
    );
}

#[test]
fn a_failed_condition_is_named() {
    assert_eq!(
        of_write(&put(), failed(3), None)
            .unwrap_err()
            .problem
            .field
            .as_deref(),
        Some("if-match")
    );
    assert_eq!(
        of_write(&Asked::Batch, failed(3), None)
            .unwrap_err()
            .problem
            .field
            .as_deref(),
        Some("conditions[0]")
    );
}

#[test]
fn reads_are_never_unknown() {
    assert!(of_read(Reply::Ready, None).is_ok());
    assert_eq!(
        of_read(Reply::Unknown, None).unwrap_err().problem.status,
        503
    );
    assert_eq!(
        of_read(Reply::Refused(Refused::NoLeader { hint: None }), None)
            .unwrap_err()
            .problem
            .status,
        503
    );
    let sent = Some(std::time::Duration::from_secs(7));
    assert_eq!(of_stale_read(Reply::Stale { sent }, None), Ok(sent));
    assert_eq!(
        of_stale_read(Reply::Refused(Refused::NoGroup(1)), None)
            .unwrap_err()
            .problem
            .status,
        503
    );
}

#[test]
fn sessions() {
    assert_eq!(
        of_open(
            outcome(Outcome::Opened {
                session: 5,
                lifetime_ms: 60
            }),
            None
        ),
        Ok((5, 60))
    );
    assert_eq!(
        of_open(outcome(Outcome::SessionsFull), None)
            .unwrap_err()
            .problem
            .status,
        429
    );
    assert_eq!(
        of_open(Reply::Unknown, None).unwrap_err().problem.status,
        504
    );
    assert_eq!(of_close(outcome(Outcome::Closed), None), Ok(()));
    assert_eq!(
        of_close(outcome(Outcome::SessionGone), None)
            .unwrap_err()
            .problem
            .status,
        410
    );
    // Closing writes nothing, so it must not speak of a write.
    let closed = of_close(outcome(Outcome::SessionGone), None).unwrap_err();
    assert!(closed.problem.detail.contains("closed already"));
    assert_eq!(
        of_close(Reply::Unknown, None).unwrap_err().problem.status,
        504
    );
}

#[test]
fn changes_of_the_configuration() {
    let table = [
        (
            Refused::Raft(Raft::Outdated {
                expected: 1,
                actual: 2,
            }),
            409,
            "configuration-outdated",
        ),
        (
            Refused::Raft(Raft::ChangeInProgress(3)),
            409,
            "change-in-progress",
        ),
        (
            Refused::Raft(Raft::Lagging {
                member: MemberId(1),
                matched: 1,
                lag: 9,
            }),
            409,
            "member-lagging",
        ),
        (
            Refused::Raft(Raft::WouldLoseQuorum {
                voters: 2,
                healthy: 1,
            }),
            409,
            "would-lose-quorum",
        ),
        (
            Refused::Raft(Raft::NoSuchMember(MemberId(1))),
            404,
            "no-such-member",
        ),
        (
            Refused::Raft(Raft::AlreadyMember(MemberId(1))),
            409,
            "already-member",
        ),
        (
            Refused::Raft(Raft::AlreadyVoter(MemberId(1))),
            409,
            "already-voter",
        ),
        (Refused::Raft(Raft::NoSuccessor), 409, "no-successor"),
        (Refused::Raft(Raft::NotLeader(None)), 503, "no-leader"),
        (Refused::Raft(Raft::NotReady), 503, "no-leader"),
        (Refused::Removed(MemberId(1)), 409, "identity-removed"),
        (
            Refused::Bootstrap("another disk".into()),
            409,
            "bootstrap-refused",
        ),
    ];
    for (why, status, kind) in table {
        let (got, name, ..) = told(Err(refused(why.clone(), None)));
        assert_eq!((got, name.as_str()), (status, kind), "{why:?}");
    }
}
