//! Writes, sessions, reads: what is answered when.

use std::time::Duration;

use bytes::Bytes;
use quorate_group_core::*;
use quorate_raft::MemberId;

use crate::harness::*;

fn open(net: &mut Net, name: &str, lifetime_ms: u64) -> u64 {
    match net.call(name, Request::OpenSession { lifetime_ms }) {
        Reply::Outcome {
            outcome: Outcome::Opened { session, .. },
            ..
        } => session,
        other => panic!("{other:?}"),
    }
}

fn outcome(reply: Reply) -> Outcome {
    match reply {
        Reply::Outcome { outcome, .. } => outcome,
        other => panic!("{other:?}"),
    }
}

fn follower(net: &mut Net) -> String {
    let leader = net.wait_leader();
    net.members
        .keys()
        .find(|name| **name != leader)
        .unwrap()
        .clone()
}

#[test]
fn any_member_takes_writes_and_reads() {
    let mut net = Net::group_of(3, |_| {});
    for (count, name) in ["a", "b", "c"].into_iter().cycle().take(9).enumerate() {
        assert_eq!(net.answer(name, None, "add x 1"), (count + 1).to_string());
        for other in ["a", "b", "c"] {
            assert_eq!(net.read(other, "x"), count as u64 + 1, "on {other}");
        }
    }
}

#[test]
fn a_session_s_retry_is_answered_as_the_first_time_by_any_leader() {
    let mut net = Net::group_of(3, |_| {});
    let session = open(&mut net, "b", 60_000);
    assert_eq!(net.answer("a", Some((session, 1)), "add x 5"), "5");
    assert_eq!(net.answer("b", Some((session, 1)), "add x 5"), "5");
    let old = net.wait_leader();
    net.crash(&old);
    let new = net.wait_leader();
    assert_eq!(net.answer(&new, Some((session, 1)), "add x 5"), "5");
    assert_eq!(
        outcome(net.write(&new, Some((session, 1)), "add x 6")),
        Outcome::SequenceReused
    );
    assert_eq!(net.answer(&new, Some((session, 2)), "add x 5"), "10");
    assert_eq!(
        outcome(net.write(&new, Some((session, 1)), "add x 5")),
        Outcome::SequenceTooLow { last: 2 }
    );
    assert_eq!(
        outcome(net.call(&new, Request::CloseSession { session })),
        Outcome::Closed
    );
    assert_eq!(
        outcome(net.write(&new, Some((session, 3)), "add x 5")),
        Outcome::SessionGone
    );
}

/// Clocks differ by days, and jump by days while their member leads: a session lives its time all the same.
#[test]
fn no_member_s_clock_ends_a_session_early_or_keeps_it() {
    const DAY: Duration = Duration::from_secs(86_400);
    let mut net = Net::group_of(3, |_| {});
    let session = open(&mut net, "a", 60_000);
    let mut number = 0;
    let mut still_lives = |net: &mut Net| {
        number += 1;
        loop {
            net.wait_leader();
            match net.write("b", Some((session, number)), "add x 1") {
                Reply::Refused(_) | Reply::Unknown => net.advance(),
                reply => {
                    let sum = Outcome::Answer(number.to_string().into());
                    return assert_eq!(outcome(reply), sum);
                }
            }
        }
    };
    for name in ["a", "b", "c"] {
        let leader = net.wait_leader();
        net.members.get_mut(&leader).unwrap().ahead += DAY;
        still_lives(&mut net);
        let other = follower(&mut net);
        net.members.get_mut(&other).unwrap().ahead += 3 * DAY;
        let to = Some(net.id(name));
        let leader = net.wait_leader();
        net.call(&leader, Request::Transfer { to });
        still_lives(&mut net);
        net.run_for(Duration::from_secs(50));
        still_lives(&mut net);
    }
    net.run_for(Duration::from_secs(62));
    assert_eq!(
        outcome(net.write("c", Some((session, 100)), "add x 1")),
        Outcome::SessionGone
    );
}

/// Nobody else writes, so nothing in the log tells of the time: it goes on all the same, and no faster.
#[test]
fn a_session_ends_in_its_time_though_leaders_change() {
    let mut net = Net::group_of(3, |_| {});
    let session = open(&mut net, "a", 60_000);
    let hand_over = |net: &mut Net| {
        let leader = net.wait_leader();
        let other = follower(net);
        let to = Some(net.id(&other));
        net.call(&leader, Request::Transfer { to });
        net.wait_leader();
        net.run_for(Duration::from_secs(5));
    };
    (0..10).for_each(|_| hand_over(&mut net));
    let leader = net.wait_leader();
    assert_eq!(net.answer(&leader, Some((session, 1)), "add x 1"), "1");
    (0..10).for_each(|_| hand_over(&mut net));
    let leader = net.wait_leader();
    assert_eq!(net.answer(&leader, Some((session, 2)), "add x 1"), "2");
    (0..13).for_each(|_| hand_over(&mut net));
    let leader = net.wait_leader();
    assert_eq!(
        outcome(net.write(&leader, Some((session, 3)), "add x 1")),
        Outcome::SessionGone
    );
}

#[test]
fn a_session_expires_by_the_clock_in_the_log() {
    let mut net = Net::group_of(1, |config| config.max_sessions = 2);
    let session = open(&mut net, "a", 1000);
    net.run_for(Duration::from_millis(900));
    assert_eq!(net.answer("a", Some((session, 1)), "add x 1"), "1");
    net.run_for(Duration::from_millis(900));
    assert_eq!(
        net.answer("a", Some((session, 2)), "add x 1"),
        "2",
        "it was renewed"
    );
    net.run_for(Duration::from_millis(1100));
    assert_eq!(
        outcome(net.write("a", Some((session, 3)), "add x 1")),
        Outcome::SessionGone
    );
    assert_eq!(net.read("a", "x"), 2);
    open(&mut net, "a", 1000);
    open(&mut net, "a", 1000);
    assert_eq!(
        outcome(net.call("a", Request::OpenSession { lifetime_ms: 1000 })),
        Outcome::SessionsFull
    );
}

#[test]
fn a_duplicated_forward_is_applied_and_answered_once() {
    let mut net = Net::group_of(3, |_| {});
    net.duplicate = true;
    let follower = follower(&mut net);
    for count in 1..=20 {
        assert_eq!(net.answer(&follower, None, "add x 1"), count.to_string());
    }
    assert_eq!(net.read(&follower, "x"), 20);
}

/// A leader has taken a forwarded write and sent it on; the network keeps a copy of the question back.
fn taken_once(net: &mut Net) -> (String, u64, Vec<(MemberId, MemberId, Bytes)>) {
    let (leader, follower) = (net.wait_leader(), follower(net));
    net.run_for(Duration::from_millis(200));
    let before = net.groups(&leader).raft(GROUP).unwrap().last_index();
    let write = Write {
        session: None,
        command: "add x 1".into(),
    };
    let ticket = net.ask(&follower, Request::Write(write));
    let copies = net.copies();
    net.advance();
    let taken = net.groups(&leader).raft(GROUP).unwrap().last_index();
    assert_eq!(taken, before + 1);
    (leader, ticket, copies)
}

/// Refused means never applied, so a second copy must not be refused when the first may be in the log.
#[test]
fn a_restarted_leader_does_not_refuse_what_its_earlier_life_may_have_taken() {
    let mut net = Net::group_of(3, |_| {});
    let (leader, ticket, copies) = taken_once(&mut net);
    net.restart(&leader);
    net.deliver_late(copies);
    net.until("an answer", |net| net.replies.contains_key(&ticket));
    assert_eq!(net.replies[&ticket], Reply::Unknown);
    let other = follower(&mut net);
    assert_eq!(net.read(&other, "x"), 1, "it was applied");
}

#[test]
fn a_deposed_leader_does_not_refuse_what_it_has_taken() {
    let mut net = Net::group_of(3, |_| {});
    let (leader, ticket, copies) = taken_once(&mut net);
    net.advance();
    net.cut(&leader);
    let term = net.groups(&leader).raft(GROUP).unwrap().term();
    net.wait_leader();
    net.heal();
    net.until("the old leader to hear of the new one", |net| {
        net.groups(&leader).raft(GROUP).unwrap().term() > term
    });
    assert!(!net.replies.contains_key(&ticket));
    net.deliver_late(copies);
    net.until("an answer", |net| net.replies.contains_key(&ticket));
    assert_eq!(
        outcome(net.replies[&ticket].clone()),
        Outcome::Answer("1".into())
    );
}

#[test]
fn a_forward_of_an_earlier_term_has_no_effect_ever() {
    let mut net = Net::group_of(3, |_| {});
    let (leader, follower) = (net.wait_leader(), follower(&mut net));
    let term = net.groups(&leader).raft(GROUP).unwrap().term();
    net.restart(&leader);
    let leader = net.wait_leader();
    let command = net.groups(&leader).raft(GROUP).unwrap().last_index();
    let body = PeerBody::Forward {
        term,
        id: 5,
        command: bytes::Bytes::from_static(b"whatever it is"),
    };
    let (from, contact) = (net.id(&follower), net.members[&follower].contact());
    net.step(
        &leader,
        Input::Peer {
            from,
            contact,
            message: PeerMessage { group: GROUP, body },
        },
    );
    assert_eq!(
        net.groups(&leader).raft(GROUP).unwrap().last_index(),
        command
    );
}

#[test]
fn a_leader_does_not_take_what_members_could_not_decode() {
    let mut net = Net::group_of(3, |_| {});
    let (leader, follower) = (net.wait_leader(), follower(&mut net));
    let raft = net.groups(&leader).raft(GROUP).unwrap();
    let (term, last) = (raft.term(), raft.last_index());
    let body = PeerBody::Forward {
        term,
        id: 5,
        command: bytes::Bytes::from_static(b"\xff garbage"),
    };
    let (from, contact) = (net.id(&follower), net.members[&follower].contact());
    net.step(
        &leader,
        Input::Peer {
            from,
            contact,
            message: PeerMessage { group: GROUP, body },
        },
    );
    assert_eq!(net.groups(&leader).raft(GROUP).unwrap().last_index(), last);
}

#[test]
fn what_was_sent_and_not_answered_is_unknown_and_what_was_not_sent_is_refused() {
    let mut net = Net::group_of(3, |_| {});
    let (leader, follower) = (net.wait_leader(), follower(&mut net));
    net.cut(&leader);
    let write = || {
        Request::Write(Write {
            session: None,
            command: "add x 1".into(),
        })
    };
    let sent = net.ask(&follower, write());
    let id = net.id(&leader);
    net.step(&follower, Input::Unreachable(id));
    assert_eq!(net.replies[&sent], Reply::Unknown);
    let sent = net.ask(&follower, write());
    net.run_for(Duration::from_secs(6));
    assert_eq!(net.replies[&sent], Reply::Unknown);
    // The old leader has appended it alone; another's entry takes its place: certainly not applied.
    let alone = net.ask(&leader, write());
    net.heal();
    let new = net.wait_leader();
    net.answer(&new, None, "add x 7");
    net.caught_up(&leader);
    net.run_for(Duration::from_secs(1));
    assert!(
        matches!(net.replies[&alone], Reply::Refused(_)),
        "{:?}",
        net.replies[&alone]
    );
    assert_eq!(net.read(&leader, "x"), 7);
}

#[test]
fn a_proposal_that_lost_its_place_is_certainly_not_applied() {
    let mut net = Net::group_of(3, |_| {});
    let leader = net.wait_leader();
    net.cut(&leader);
    let alone = net.ask(
        &leader,
        Request::Write(Write {
            session: None,
            command: "add x 1".into(),
        }),
    );
    assert!(!net.replies.contains_key(&alone));
    let new = net.wait_leader();
    net.answer(&new, None, "add x 7");
    net.heal();
    net.until("an answer", |net| net.replies.contains_key(&alone));
    assert!(
        matches!(
            net.replies[&alone],
            Reply::Refused(Refused::NoLeader { .. })
        ),
        "{:?}",
        net.replies[&alone]
    );
}

#[test]
fn a_cut_off_leader_serves_no_linearizable_read_and_its_stale_reads_say_their_age() {
    let mut net = Net::group_of(3, |_| {});
    let leader = net.wait_leader();
    net.answer(&leader, None, "add x 1");
    let begun = net.now;
    net.read(&leader, "x");
    net.cut(&leader);
    let cut_off = net.now;
    let waiting = net.ask(&leader, Request::Read);
    net.run_for(Duration::from_secs(4));
    assert!(matches!(
        net.replies[&waiting],
        Reply::Refused(Refused::NoLeader { .. })
    ));
    let Reply::Stale { sent: Some(sent) } = net.call(&leader, Request::StaleRead) else {
        panic!("no bound")
    };
    assert!(
        (begun..=cut_off).contains(&sent),
        "{begun:?} {sent:?} {cut_off:?}"
    );
    net.heal();
    net.run_for(Duration::from_secs(2));
    net.call(&leader, Request::StaleRead);
    net.run_for(Duration::from_millis(500));
    let Reply::Stale { sent: Some(later) } = net.call(&leader, Request::StaleRead) else {
        panic!("no bound")
    };
    assert!(later > cut_off, "a stale read asks for a new bound");
}

#[test]
fn below_the_reserve_writes_are_refused_here_and_when_forwarded_but_reads_go_on() {
    let mut net = Net::group_of(3, |_| {});
    let (leader, follower) = (net.wait_leader(), follower(&mut net));
    net.answer(&leader, None, "add x 1");
    net.step(&leader, Input::ReadOnly(true));
    assert_eq!(
        net.write(&leader, None, "add x 1"),
        Reply::Refused(Refused::ReadOnly)
    );
    assert_eq!(
        net.write(&follower, None, "add x 1"),
        Reply::Refused(Refused::ReadOnly)
    );
    assert_eq!(net.read(&follower, "x"), 1);
    net.step(&leader, Input::ReadOnly(false));
    assert_eq!(net.answer(&follower, None, "add x 1"), "2");
}

#[test]
fn tables_are_bounded() {
    let mut net = Net::group_of(3, |config| config.max_pending_requests = 5);
    let follower = follower(&mut net);
    let leader = net.wait_leader();
    net.cut(&leader);
    let tickets: Vec<u64> = (0..8)
        .map(|_| {
            net.ask(
                &follower,
                Request::Write(Write {
                    session: None,
                    command: "add x 1".into(),
                }),
            )
        })
        .collect();
    let busy = tickets.iter().filter(|ticket| {
        matches!(
            net.replies.get(ticket),
            Some(Reply::Refused(Refused::Busy(_)))
        )
    });
    assert_eq!(busy.count(), 3);
    net.run_for(Duration::from_secs(8));
    assert_eq!(net.groups(&follower).pending(), (0, 0));
}
