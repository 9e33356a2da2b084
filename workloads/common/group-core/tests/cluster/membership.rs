//! Members come and go.

use std::time::Duration;

use quorate_group_core::*;
use quorate_raft::{Change, Refusal};
use quorate_store::FileSystem as _;
use quorate_wire::{MemberState, Part};

use crate::harness::*;

#[test]
fn a_learner_appears_when_the_leader_addresses_it_and_is_promoted() {
    let mut net = Net::group_of(1, |_| {});
    net.answer("a", None, "add x 5");
    net.add("b");
    assert_eq!(net.state("b"), MemberState::Empty);
    net.add_learner("b");
    net.caught_up("b");
    net.until("the learner to apply", |net| {
        net.applied("b") == net.applied("a")
    });
    assert_eq!(net.state("b"), MemberState::Running);
    assert_eq!(net.read("b", "x"), 5);
    assert!(!net.groups("b").ready(), "a learner is not");
    net.restart("b");
    let promote = [net.id("b")].into();
    net.caught_up("b");
    assert_eq!(
        net.change(Change::Reconfigure {
            promote,
            remove: [].into()
        }),
        Reply::Done
    );
    net.until("the member to be ready", |net| net.groups("b").ready());
    let status = net.groups("a").status(GROUP).unwrap().configuration;
    assert!(!status.joint && status.committed);
    assert!(
        status
            .members
            .iter()
            .all(|member| member.part == Part::Voter && member.caught_up == Some(true))
    );
}

#[test]
fn a_removed_member_stands_aside_and_comes_back_as_another() {
    let mut net = Net::group_of(3, |_| {});
    let leader = net.wait_leader();
    let removed = ["a", "b", "c"]
        .into_iter()
        .find(|name| **name != *leader)
        .unwrap();
    net.answer(removed, None, "add x 5");
    let old = net.id(removed);
    net.remove(old);
    net.until("the member to stand aside", |net| {
        net.state(removed) == MemberState::Removed
    });
    assert!(matches!(
        net.call(removed, Request::StaleRead),
        Reply::Refused(Refused::OutOfService(_))
    ));
    net.run_for(Duration::from_millis(50));
    let change = Change::AddLearner(old, net.members[removed].contact());
    assert_eq!(net.change(change), Reply::Refused(Refused::Removed(old)));
    let new = net.restart(removed);
    assert_ne!(new, old);
    assert_eq!(net.members[removed].identity.set_aside, Some(old));
    assert_eq!(net.state(removed), MemberState::Empty);
    let names = net.members[removed]
        .disk
        .list(std::path::Path::new(""))
        .unwrap();
    assert!(names.contains(&format!("removed-{old}")), "{names:?}");
    net.join(removed);
    assert_eq!(net.read(removed, "x"), 5);
    assert!(net.groups(&leader).is_removed(old) && !net.groups(&leader).is_removed(new));
}

#[test]
fn a_member_removed_while_it_was_away_is_told() {
    let mut net = Net::group_of(3, |_| {});
    let leader = net.wait_leader();
    let away = ["a", "b", "c"]
        .into_iter()
        .find(|name| **name != *leader)
        .unwrap();
    net.crash(away);
    let old = net.id(away);
    net.remove(old);
    net.run_for(Duration::from_secs(2));
    net.start(away);
    net.until("the member to be told", |net| {
        net.state(away) == MemberState::Removed
    });
    net.run_for(Duration::from_millis(50));
    assert_ne!(net.restart(away), old);
}

#[test]
fn a_leader_removes_itself() {
    let mut net = Net::group_of(3, |_| {});
    let leader = net.wait_leader();
    net.answer(&leader, None, "add x 5");
    net.remove(net.id(&leader));
    net.until("the leader to stand aside", |net| {
        net.state(&leader) == MemberState::Removed
    });
    let new = net.wait_leader();
    assert_ne!(new, leader);
    assert_eq!(net.answer(&new, None, "add x 1"), "6");
}

#[test]
fn leadership_is_handed_over() {
    let mut net = Net::group_of(3, |_| {});
    let leader = net.wait_leader();
    let to = ["a", "b", "c"]
        .into_iter()
        .find(|name| **name != *leader)
        .unwrap();
    let id = net.id(to);
    assert!(
        net.groups(&leader)
            .restart_blockers()
            .iter()
            .any(|blocker| blocker.code == "Leader")
    );
    assert_eq!(
        net.call(&leader, Request::Transfer { to: Some(id) }),
        Reply::Transferred(true)
    );
    assert_eq!(net.wait_leader(), to);
    assert!(net.groups(&leader).restart_blockers().is_empty());
    let refused = net.call(&leader, Request::Transfer { to: None });
    assert!(matches!(
        refused,
        Reply::Refused(Refused::Raft(Refusal::NotLeader(_)))
    ));
}

#[test]
fn a_change_decided_on_another_configuration_is_refused() {
    let mut net = Net::group_of(1, |_| {});
    let id = net.add("b");
    let change = Change::AddLearner(id, net.members["b"].contact());
    let reply = net.call(
        "a",
        Request::Change {
            expected: 99,
            change,
        },
    );
    assert!(matches!(
        reply,
        Reply::Refused(Refused::Raft(Refusal::Outdated { expected: 99, .. }))
    ));
}
