//! Starting, restarting, damage.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quorate_group_core::*;
use quorate_raft::{Change, MemberId};
use quorate_store::{Disk, FileSystem as _, MapStore, MemFs, NEWEST};
use quorate_wire::MemberState;

use crate::harness::*;

#[test]
fn a_group_of_one_serves_and_survives_crashes() {
    let mut net = Net::new(1, |_| {});
    net.add("a");
    assert_eq!(net.state("a"), MemberState::Empty);
    assert_eq!(
        net.call("a", Request::Read),
        Reply::Refused(Refused::NoGroup(GROUP))
    );
    net.bootstrap("a");
    assert_eq!(net.answer("a", None, "add x 5"), "5");
    assert_eq!(net.read("a", "x"), 5);
    for round in 1..10 {
        net.restart("a");
        net.wait_leader();
        assert_eq!(net.answer("a", None, "add x 1"), (5 + round).to_string());
    }
    let status = net.groups("a").status(GROUP).unwrap();
    assert!(status.caught_up && net.groups("a").ready());
    assert_eq!(status.configuration.members[0].name, "a");
}

#[test]
fn bootstrap_is_for_an_empty_disk_of_the_right_identity_and_idempotent() {
    let mut net = Net::new(1, |_| {});
    let id = net.add("a");
    let other = Request::Bootstrap {
        incarnation: MemberId(7),
    };
    assert!(
        matches!(net.call("a", other), Reply::Refused(Refused::Bootstrap(why)) if why.contains("identity"))
    );
    let first = net.ask("a", Request::Bootstrap { incarnation: id });
    let second = net.ask("a", Request::Bootstrap { incarnation: id });
    net.wait_leader();
    assert_eq!(
        (&net.replies[&first], &net.replies[&second]),
        (&Reply::Done, &Reply::Done)
    );
    assert_eq!(
        net.call("a", Request::Bootstrap { incarnation: id }),
        Reply::Done
    );
    net.step(
        "a",
        Input::Request {
            ticket: 900,
            group: 2,
            request: Request::Bootstrap { incarnation: id },
        },
    );
    assert!(
        matches!(&net.replies[&900], Reply::Refused(Refused::Bootstrap(why)) if why.contains("group 1"))
    );
}

#[test]
fn a_crash_during_bootstrap_leaves_the_group_or_nothing() {
    for seed in 0..20 {
        let mut net = Net::new(seed, |_| {});
        let id = net.add("a");
        net.ask("a", Request::Bootstrap { incarnation: id });
        net.restart("a");
        assert!(matches!(
            net.state("a"),
            MemberState::Empty | MemberState::Running
        ));
        net.bootstrap("a");
        assert_eq!(net.answer("a", None, "add x 5"), "5");
    }
}

#[test]
fn two_hundred_groups_share_one_write_per_round() {
    let mut net = Net::new(1, |config| config.many_groups = true);
    let incarnation = net.add("a");
    for group in 1..=200 {
        let request = Request::Bootstrap { incarnation };
        net.step(
            "a",
            Input::Request {
                ticket: 10_000 + group,
                group,
                request,
            },
        );
    }
    let all_lead = |net: &Net| {
        (1..=200).all(|group| {
            net.groups("a")
                .raft(group)
                .is_some_and(|raft| raft.is_ready())
        })
    };
    net.until("all groups to lead", all_lead);
    let before = net.running("a").logs;
    let (now, mut effects) = (net.now, Vec::new());
    let groups = &mut net.running("a").groups;
    for group in 1..=200 {
        let write = Write {
            session: None,
            command: "add x 1".into(),
        };
        let input = Input::Request {
            ticket: 20_000 + group,
            group,
            request: Request::Write(write),
        };
        groups.step(input, now, &mut effects);
    }
    groups.flush(now, &mut effects);
    let logs: Vec<usize> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Log { records, .. } => Some(records.len()),
            _ => None,
        })
        .collect();
    assert_eq!(logs, [200]);
    assert_eq!(net.running("a").logs, before);
    net.restart("a");
    net.until("all groups to lead again", all_lead);
}

#[test]
fn a_flipped_bit_in_the_log_or_the_state_damages_the_member() {
    let mut net = Net::group_of(1, |_| {});
    for _ in 0..200 {
        net.answer("a", None, "add x 5");
    }
    let segment = net.members["a"].disk.list(Path::new("log")).unwrap()[0].clone();
    net.crash("a");
    assert!(
        net.members["a"]
            .disk
            .flip(&Path::new("log").join(segment), 200, 3)
    );
    net.start("a");
    assert_eq!(net.state("a"), MemberState::Damaged);
    assert!(
        net.groups("a")
            .reason()
            .unwrap()
            .contains("remove this member")
    );
    assert!(matches!(
        net.call("a", Request::Read),
        Reply::Refused(Refused::OutOfService(_))
    ));
    assert!(matches!(
        net.call("a", Request::StaleRead),
        Reply::Refused(Refused::OutOfService(_))
    ));
    net.run_for(Duration::from_secs(5));
    assert_eq!(net.groups("a").ids().count(), 0);

    let mut net = Net::group_of(1, |_| {});
    net.crash("a");
    net.members["a"].store.damage();
    net.start("a");
    assert_eq!(net.state("a"), MemberState::Damaged);
}

#[test]
fn damaged_data_makes_way_when_it_is_asked_to() {
    let mut net = Net::group_of(3, |_| {});
    let leader = net.wait_leader();
    let b = ["b", "c"].into_iter().find(|name| **name != *leader);
    let b = b.unwrap();
    for _ in 0..50 {
        net.answer(&leader, None, "add x 5");
    }
    let old = net.id(b);
    let ask = |id| Request::SetAside { incarnation: id };
    let refused = |reply: Reply| match reply {
        Reply::Refused(Refused::SetAside(why)) => why,
        reply => panic!("{reply:?}"),
    };
    assert!(refused(net.call(b, ask(old))).contains("sound"));
    net.crash(b);
    let log = Path::new("log");
    let segment = net.members[b].disk.list(log).unwrap()[0].clone();
    assert!(net.members[b].disk.flip(&log.join(&segment), 200, 3));
    net.start(b);
    assert!(net.state(b) == MemberState::Damaged && net.groups(b).can_set_aside());
    assert!(refused(net.call(b, ask(MemberId(7)))).contains("another disk"));

    let disk = net.members[b].disk.clone();
    disk.set_available(10);
    assert!(refused(net.call(b, ask(old))).contains("10 bytes are free"));
    assert!(net.state(b) == MemberState::Damaged && !net.groups(b).can_set_aside());
    let reason = net.groups(b).reason().unwrap();
    assert!(reason.contains("cannot be set aside (10 bytes"), "{reason}");
    disk.set_available(1 << 30);
    assert_eq!(net.call(b, ask(old)), Reply::Done);
    assert_eq!(net.state(b), MemberState::Removed);
    assert_eq!(net.call(b, ask(old)), Reply::Done, "once more");

    let new = net.restart(b);
    assert_ne!(new, old);
    assert_eq!(net.state(b), MemberState::Empty);
    let aside = Path::new(&format!("removed-{old}")).join(log);
    assert!(disk.list(&aside).unwrap().contains(&segment));
    net.remove(old);
    net.join(b);
    assert_eq!(net.read(b, "x"), 250);
}

#[test]
fn whose_data_it_is_must_be_known_to_set_it_aside() {
    let mut net = Net::group_of(1, |_| {});
    let old = net.id("a");
    net.crash("a");
    assert!(net.members["a"].disk.flip(Path::new("identity"), 26, 0));
    net.start("a");
    assert!(net.state("a") == MemberState::Damaged && !net.groups("a").can_set_aside());
    let ask = Request::SetAside { incarnation: old };
    assert!(matches!(
        net.call("a", ask),
        Reply::Refused(Refused::SetAside(_))
    ));
}

#[test]
fn state_that_is_lost_or_a_log_that_is_lost_is_damage() {
    // The state went back to nothing, but the log was cut already.
    let mut net = Net::group_of(1, |config| {
        config.compact_after_entries = 10;
        config.keep_entries = 2;
    });
    for _ in 0..50 {
        net.answer("a", None, "add x 5");
    }
    net.run_for(Duration::from_secs(1));
    assert!(net.groups("a").raft(GROUP).unwrap().log_start().index > 10);
    net.crash("a");
    net.members.get_mut("a").unwrap().store = Default::default();
    net.start("a");
    assert_eq!(net.state("a"), MemberState::Damaged);

    let mut net = Net::group_of(1, |_| {});
    net.answer("a", None, "add x 5");
    assert_eq!(net.call("a", Request::Snapshot), Reply::Done);
    net.crash("a");
    net.members["a"]
        .disk
        .remove_dir_all(Path::new("log"))
        .unwrap();
    net.start("a");
    assert_eq!(net.state("a"), MemberState::Damaged);
}

#[test]
fn segments_that_are_lost_are_damage_whatever_the_state_has_applied() {
    for keep in [0, 1] {
        let mut net = Net::group_of(1, |_| {});
        for _ in 0..300 {
            net.answer("a", None, "add x 5");
        }
        assert_eq!(net.call("a", Request::Snapshot), Reply::Done);
        net.crash("a");
        let disk = &net.members["a"].disk;
        let folder = Path::new("log");
        let mut segments = disk.list(folder).unwrap();
        segments.retain(|name| name.ends_with(".log"));
        assert!(segments.len() > keep);
        for segment in &segments[keep..] {
            disk.remove(&folder.join(segment)).unwrap();
        }
        net.start("a");
        assert_eq!(net.state("a"), MemberState::Damaged, "{keep} were kept");
        let reason = net.groups("a").reason().unwrap();
        assert!(reason.contains("the segment is missing"), "{reason}");
    }
}

#[test]
fn the_loss_of_the_file_that_names_the_newest_segment_is_damage() {
    let mut net = Net::group_of(1, |_| {});
    net.crash("a");
    let disk = &net.members["a"].disk;
    disk.remove(&Path::new("log").join(NEWEST)).unwrap();
    net.start("a");
    assert_eq!(net.state("a"), MemberState::Damaged);
    let reason = net.groups("a").reason().unwrap();
    assert!(reason.contains(NEWEST), "{reason}");
}

/// The identity alone is left: it voted and acknowledged, and no longer knows what.
#[test]
fn an_identity_that_has_lost_log_and_state_is_damaged_but_not_one_that_never_had_any() {
    let mut net = Net::group_of(3, |_| {});
    net.crash("b");
    let b = net.members.get_mut("b").unwrap();
    b.store = Default::default();
    b.disk.remove_dir_all(Path::new("log")).unwrap();
    net.start("b");
    assert_eq!(net.state("b"), MemberState::Damaged);

    let disk = MemFs::default();
    let seam: Disk = Arc::new(disk.clone());
    for life in 1..4 {
        // Each time it dies before it has a log.
        let identity = open_identity(&seam, CLUSTER, "a", MemberId(life), &[]).unwrap();
        assert_eq!((identity.id, identity.begun), (MemberId(1), false));
        disk.crash(&mut fastrand::Rng::with_seed(life));
    }
    let identity = open_identity(&seam, CLUSTER, "a", MemberId(9), &[]).unwrap();
    let config = Config::new(Default::default(), 9);
    let store = MapStore::default();
    let started = recover(config, &identity, &seam, &store, Duration::ZERO).unwrap();
    assert_eq!(started.groups.state(), MemberState::Empty);
    assert!(
        open_identity(&seam, CLUSTER, "a", MemberId(9), &[])
            .unwrap()
            .begun
    );
}

#[test]
fn a_state_store_that_fails_takes_the_member_out_of_service() {
    let mut net = Net::group_of(1, |_| {});
    net.members["a"].store.damage();
    let waiting = net.ask(
        "a",
        Request::Write(Write {
            session: None,
            command: "add x 1".into(),
        }),
    );
    net.run_for(Duration::from_millis(100));
    assert_eq!(net.replies[&waiting], Reply::Unknown);
    assert_eq!(net.state("a"), MemberState::Damaged);
}

/// Nobody else can lead, so nothing is waited for; with a second voter, in a joint configuration too, it must ask.
#[test]
fn a_single_voter_leads_as_soon_as_it_has_started() {
    let soon = Duration::from_millis(50);
    let mut net = Net::group_of(1, |_| {});
    net.add("b");
    net.add_learner("b");
    net.crash("b");
    let started = net.now;
    net.restart("a");
    net.wait_leader();
    assert!(net.now - started <= soon, "{:?}", net.now - started);
    net.start("b");
    net.caught_up("b");
    let promote = [net.id("b")].into();
    let change = Change::Reconfigure {
        promote,
        remove: [].into(),
    };
    assert_eq!(net.change(change), Reply::Done);
    net.crash("b");
    net.restart("a");
    net.run_for(Duration::from_secs(10));
    assert_eq!(net.leader(), None);
}
