//! Members that must not take part: removed ones, and those whose disk was lost.

use std::time::Duration;

use quorate_raft::Change;
use quorate_wire::MemberState;

use crate::cluster::{Cluster, GROUP, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_member_stands_aside_and_begins_anew() {
    let mut cluster = Cluster::start(3, |_| {}).await;
    cluster.form(GROUP).await;
    let leader = cluster.leader(GROUP).await;
    let (gone, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let old = cluster.live(gone).id;
    // It is away while it is removed: it can only learn of it from whom it calls.
    cluster.stop(gone).await;
    cluster
        .change(
            GROUP,
            leader,
            Change::Reconfigure {
                promote: [].into(),
                remove: [old].into(),
            },
        )
        .await;
    cluster.revive(gone).await;
    assert_eq!(cluster.live(gone).id, old);
    eventually("it is told that it was removed", || {
        (cluster.status(gone).state == MemberState::Removed).then_some(())
    })
    .await;
    cluster.live(other).put(GROUP, "without it", "1").await;

    // The mark is on its disk before it is stopped: the next start draws a new identity.
    eventually("its removal is on its disk", || {
        std::fs::read_dir(&cluster.members[gone].dir)
            .unwrap()
            .flatten()
            .find(|file| file.file_name() == "removed")
    })
    .await;
    cluster.stop(gone).await;
    cluster.revive(gone).await;
    assert_ne!(cluster.live(gone).id, old);
    assert_eq!(cluster.status(gone).state, MemberState::Empty);
    let leader = {
        let with_group = cluster
            .alive()
            .filter(|ordinal| *ordinal != gone)
            .collect::<Vec<_>>();
        eventually("a leader", || {
            with_group.iter().copied().find(|ordinal| {
                cluster
                    .group(*ordinal, GROUP)
                    .is_some_and(|status| status.role == quorate_wire::Role::Leader)
            })
        })
        .await
    };
    cluster.join(GROUP, leader, gone).await;
    assert_eq!(
        cluster.live(gone).get(GROUP, "without it").await.as_deref(),
        Some("1")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_identity_with_an_empty_disk_takes_no_part() {
    let mut cluster = Cluster::start(3, |_| {}).await;
    cluster.form(GROUP).await;
    let leader = cluster.leader(GROUP).await;
    let lost = (leader + 1) % 3;
    let old = cluster.live(lost).id;
    cluster.stop(lost).await;
    std::fs::remove_dir_all(&cluster.members[lost].dir).unwrap();
    cluster.revive(lost).await;
    let new = cluster.live(lost).id;
    assert_ne!(new, old);
    cluster.live(leader).put(GROUP, "k", "1").await;
    // Several heartbeats long the leader knocks for the old identity.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(
        cluster.status(lost).state,
        MemberState::Empty,
        "nothing was let in that was meant for {old}"
    );
    assert_eq!(
        cluster.live(lost).metric("peer_messages_received_total"),
        0.0
    );

    let leader = {
        let leads = |ordinal: &usize| {
            cluster
                .group(*ordinal, GROUP)
                .is_some_and(|status| status.role == quorate_wire::Role::Leader)
        };
        eventually("a leader", || cluster.alive().find(leads)).await
    };
    cluster
        .change(
            GROUP,
            leader,
            Change::Reconfigure {
                promote: [].into(),
                remove: [old].into(),
            },
        )
        .await;
    cluster.join(GROUP, leader, lost).await;
    assert_eq!(
        cluster.live(lost).get(GROUP, "k").await.as_deref(),
        Some("1")
    );
}

/// As the copy of a disk from before identities had names: only the others can tell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_identity_under_another_name_is_refused_by_its_peers() {
    let mut cluster = Cluster::start(3, |_| {}).await;
    cluster.form(GROUP).await;
    let leader = cluster.leader(GROUP).await;
    let copy = (leader + 1) % 3;
    cluster.stop(copy).await;
    let name = std::mem::replace(&mut cluster.members[copy].contact.name, "m-copy".into());
    cluster.revive(copy).await;
    eventually("the leader has found it", || {
        let received = cluster.live(copy).metric("peer_messages_received_total");
        (received > 3.0).then_some(())
    })
    .await;
    cluster.live(leader).put(GROUP, "without it", "1").await;
    assert_eq!(cluster.live(copy).metric("peer_messages_sent_total"), 0.0);
    cluster.stop(copy).await;
    cluster.members[copy].contact.name = name;
    cluster.revive(copy).await;
    eventually("it is let in under its own name", || {
        let sent = cluster.live(copy).metric("peer_messages_sent_total");
        (sent > 0.0).then_some(())
    })
    .await;
}
