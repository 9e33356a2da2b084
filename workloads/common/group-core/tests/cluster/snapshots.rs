//! Snapshots to members that lag, and the log's compaction.

use std::time::Duration;

use quorate_group_core::*;
use quorate_wire::MemberState;

use crate::harness::*;

fn small(config: &mut Config) {
    config.compact_after_entries = 20;
    config.keep_entries = 5;
    config.chunk_bytes = 200;
    config.chunk_window = 3;
    config.segment_bytes = 4 << 10;
}

fn fill(net: &mut Net, name: &str, count: usize) {
    for at in 0..count {
        net.answer(name, None, &format!("fill key{at} 100"));
    }
}

fn installs(net: &mut Net, name: &str) -> usize {
    net.running(name)
        .done
        .iter()
        .filter(|kind| **kind == TaskKind::Install)
        .count()
}

/// A group of three whose `c` was away while the log was cut; the session opened before.
fn lagging() -> (Net, u64) {
    let mut net = Net::group_of(3, small);
    if net.wait_leader() == "c" {
        net.call("c", Request::Transfer { to: None });
        net.until("another leader", |net| {
            net.leader().is_some_and(|leader| leader != "c")
        });
    }
    let opened = net.call(
        "a",
        Request::OpenSession {
            lifetime_ms: 600_000,
        },
    );
    let Reply::Outcome {
        outcome: Outcome::Opened { session, .. },
        ..
    } = opened
    else {
        panic!("{opened:?}")
    };
    net.crash("c");
    assert_eq!(net.answer("a", Some((session, 1)), "add x 5"), "5");
    fill(&mut net, "a", 60);
    (net, session)
}

#[test]
fn a_lagging_member_gets_a_snapshot_with_the_sessions_in_it() {
    let (mut net, session) = lagging();
    net.start("c");
    net.caught_up("c");
    assert_eq!(installs(&mut net, "c"), 1);
    assert_eq!(net.read("c", "x"), 5);
    let to = Some(net.id("c"));
    let leader = net.wait_leader();
    assert_eq!(
        net.call(&leader, Request::Transfer { to }),
        Reply::Transferred(true)
    );
    assert_eq!(net.wait_leader(), "c");
    assert_eq!(
        net.answer("c", Some((session, 1)), "add x 5"),
        "5",
        "not applied again"
    );
    net.run_for(Duration::from_secs(1));
    assert_eq!(dump(&net.members["a"].store), dump(&net.members["c"].store));
}

#[test]
fn receiving_survives_losses_duplicates_cuts_and_restarts_of_both() {
    for seed in 0..20 {
        let (mut net, _) = lagging();
        net.rng = fastrand::Rng::with_seed(seed);
        net.lose = 10;
        net.duplicate = seed % 2 == 0;
        net.start("c");
        for _ in 0..net.rng.u64(..8) {
            let pause = net.rng.u64(1..400);
            net.run_for(Duration::from_millis(pause));
            match net.rng.u32(..4) {
                0 => drop(net.restart("c")),
                1 => drop(net.restart("a")),
                2 => net.cut("c"),
                _ => net.heal(),
            }
        }
        (net.lose, net.duplicate) = (0, false);
        net.heal();
        let leader = net.wait_leader();
        net.answer(&leader, None, "add y 1");
        net.caught_up("c");
        net.until("all to apply", |net| {
            net.applied("c") == net.applied(&leader)
        });
        assert_eq!(net.value("c", "x"), 5, "seed {seed}");
        assert_eq!(net.state("c"), MemberState::Running);
    }
}

#[test]
fn the_log_is_cut_and_its_segments_go_but_never_what_is_not_durable() {
    let mut net = Net::group_of(1, small);
    for round in 0..30u64 {
        fill(&mut net, "a", 40);
        let raft = net.groups("a").raft(GROUP).unwrap();
        let (start, applied) = (raft.log_start().index, raft.applied());
        assert!(applied - start < 60, "{start} {applied}");
        if round % 3 == 0 {
            net.restart("a");
            assert_eq!(
                net.state("a"),
                MemberState::Running,
                "{:?}",
                net.groups("a").reason()
            );
            net.wait_leader();
        }
    }
    assert!(!net.running("a").dropped.is_empty());
    let log = net.running("a").log.as_ref().unwrap();
    assert!(log.log().segment() - log.log().first_segment() < 4);
}

#[test]
fn an_idle_group_does_not_hold_the_log_back() {
    let mut net = Net::new(1, |config| {
        config.many_groups = true;
        config.max_segments = 3;
        small(config);
    });
    net.add("a");
    net.bootstrap("a");
    let request = Request::Bootstrap {
        incarnation: net.id("a"),
    };
    net.step(
        "a",
        Input::Request {
            ticket: 9000,
            group: 2,
            request,
        },
    );
    net.until("the second group", |net| {
        net.groups("a").raft(2).is_some_and(|raft| raft.is_ready())
    });
    fill(&mut net, "a", 1000);
    let log = net.running("a").log.as_ref().unwrap();
    assert!(log.log().segment() > 6, "many segments were begun");
    assert!(log.log().segment() - log.log().first_segment() < 6);
    assert!(net.groups("a").raft(2).unwrap().log_start().index > 0);
    net.restart("a");
    assert_eq!(
        net.state("a"),
        MemberState::Running,
        "{:?}",
        net.groups("a").reason()
    );
}

#[test]
fn an_administrator_may_ask_for_a_snapshot() {
    let mut net = Net::group_of(1, |_| {});
    fill(&mut net, "a", 3);
    assert_eq!(net.call("a", Request::Snapshot), Reply::Done);
    assert!(net.running("a").done.contains(&TaskKind::Flush));
    assert!(net.running("a").done.contains(&TaskKind::TakeSnapshot));
    assert_eq!(net.groups("a").pending(), (0, 0));
    net.members["a"].disk.fail_after(Some(0));
    assert!(matches!(
        net.call("a", Request::Snapshot),
        Reply::Refused(Refused::Busy(_))
    ));
}

#[test]
fn a_member_that_lags_moderately_is_served_from_the_log() {
    let mut net = Net::group_of(3, |config| {
        small(config);
        config.keep_entries = 50;
    });
    let leader = net.wait_leader();
    let away = ["a", "b", "c"]
        .into_iter()
        .find(|name| **name != *leader)
        .unwrap();
    net.crash(away);
    fill(&mut net, &leader, 40);
    net.start(away);
    net.caught_up(away);
    assert_eq!(installs(&mut net, away), 0);
}
