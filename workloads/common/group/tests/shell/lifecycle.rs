//! One group of three members: formed, written to, stopped in part, started again.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use quorate_group::Fatal;
use quorate_group_core::{Refused, Reply};
use quorate_wire::MemberState;

use crate::cluster::{Cluster, GROUP, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_grows_serves_anywhere_and_survives_a_restart() {
    let mut cluster = Cluster::start(3, |_| {}).await;
    assert_eq!(cluster.status(1).state, MemberState::Empty);
    cluster.form(GROUP).await;
    for ordinal in 0..3 {
        cluster
            .live(ordinal)
            .put(GROUP, &format!("k{ordinal}"), "1")
            .await;
    }
    for ordinal in 0..3 {
        for key in ["k0", "k1", "k2"] {
            assert_eq!(
                cluster.live(ordinal).get(GROUP, key).await.as_deref(),
                Some("1"),
                "{key} at {ordinal}"
            );
        }
    }
    eventually("all ready", || {
        (0..3)
            .all(|ordinal| cluster.status(ordinal).ready)
            .then_some(())
    })
    .await;

    let leader = cluster.leader(GROUP).await;
    cluster.stop(leader).await;
    let other = (leader + 1) % 3;
    cluster.live(other).put(GROUP, "while away", "2").await;

    let id_before = cluster.status(other).contacts.len();
    cluster.revive(leader).await;
    assert_eq!(id_before, 3);
    assert_eq!(
        cluster
            .live(leader)
            .get(GROUP, "while away")
            .await
            .as_deref(),
        Some("2")
    );
    assert_eq!(
        cluster.live(leader).get(GROUP, "k0").await.as_deref(),
        Some("1")
    );
    cluster.live(leader).put(GROUP, "back", "3").await;
    assert_eq!(
        cluster.live(other).get(GROUP, "back").await.as_deref(),
        Some("3")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_leaves_hands_over_first() {
    let mut cluster = Cluster::start(3, |_| {}).await;
    cluster.form(GROUP).await;
    let leader = cluster.leader(GROUP).await;
    let (other, term) = ((leader + 1) % 3, cluster.group(leader, GROUP).unwrap().term);
    cluster.live(other).put(GROUP, "before", "1").await;
    eventually("all caught up", || {
        let last = cluster.group(leader, GROUP)?.last;
        (0..3)
            .all(|ordinal| {
                cluster
                    .group(ordinal, GROUP)
                    .is_some_and(|status| status.applied == last)
            })
            .then_some(())
    })
    .await;
    let mut leaving = cluster.members[leader].live.take().unwrap();
    let begun = Instant::now();
    leaving.handle.shutdown(Duration::from_secs(10)).await;
    leaving.running.wait().await.unwrap();
    assert!(
        begun.elapsed() < Duration::from_secs(9),
        "it left before its patience was over"
    );
    assert!(matches!(
        leaving.try_put(GROUP, "late", "1").await,
        Reply::Refused(Refused::OutOfService(_))
    ));
    cluster.live(other).put(GROUP, "after", "1").await;
    assert_eq!(
        cluster.group(other, GROUP).unwrap().term,
        term + 1,
        "one election, by the leader's word"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_share_fsyncs() {
    let cluster = Cluster::start(3, |_| {}).await;
    cluster.form(GROUP).await;
    let leader = cluster.leader(GROUP).await;
    let live = cluster.live(leader);
    let before = live.gauges.log_syncs.load(Ordering::Relaxed);
    let writes =
        (0..500).map(|number| async move { live.put(GROUP, &format!("k{number}"), "x").await });
    let begun = Instant::now();
    futures(writes).await;
    let (syncs, elapsed) = (
        live.gauges.log_syncs.load(Ordering::Relaxed) - before,
        begun.elapsed(),
    );
    println!("500 writes at once: {syncs} fsyncs on the leader, {elapsed:?}");
    assert!(syncs < 250, "{syncs} fsyncs for 500 writes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_may_wait_is_refused() {
    let cluster = Cluster::start(1, |options| options.core.max_pending_bytes = 1000).await;
    cluster.form(GROUP).await;
    let live = cluster.live(0);
    live.put(GROUP, "small", "x").await;
    let large = live.try_put(GROUP, "large", &"x".repeat(2000)).await;
    assert!(
        matches!(&large, Reply::Refused(Refused::Busy(why)) if why.contains("max-pending-bytes")),
        "{large:?}"
    );
    live.put(GROUP, "small", "y").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_and_nothing_else_until_space_returns() {
    let cluster = Cluster::start(1, |_| {}).await;
    cluster.form(GROUP).await;
    let live = cluster.live(0);
    live.put(GROUP, "k", "1").await;
    live.gauges.full.store(true, Ordering::Relaxed);
    let until = Instant::now() + crate::cluster::PATIENCE;
    while live.try_put(GROUP, "k", "2").await != Reply::Refused(Refused::ReadOnly) {
        assert!(Instant::now() < until);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(live.get(GROUP, "k").await.is_some());
    live.gauges.full.store(false, Ordering::Relaxed);
    while live.try_put(GROUP, "k", "3").await == Reply::Refused(Refused::ReadOnly) {
        assert!(Instant::now() < until);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_fsync_ends_the_groups_and_acknowledges_nothing() {
    let mut cluster = Cluster::start(1, |_| {}).await;
    cluster.form(GROUP).await;
    cluster.live(0).put(GROUP, "k", "1").await;
    cluster
        .live(0)
        .gauges
        .fail_syncs
        .store(true, Ordering::Relaxed);
    assert_eq!(
        cluster.live(0).try_put(GROUP, "k", "2").await,
        Reply::Unknown
    );
    let mut live = cluster.members[0].live.take().unwrap();
    let fatal = live.running.wait().await.unwrap_err();
    assert!(matches!(fatal, Fatal::Log(_)), "{fatal}");
    assert!(
        fatal.to_string().contains("the test's disk fails"),
        "{fatal}"
    );
    cluster.revive(0).await;
    assert!(cluster.live(0).get(GROUP, "k").await.is_some());
}

async fn futures(all: impl Iterator<Item = impl Future<Output = ()>>) {
    let mut all: Vec<_> = all.map(Box::pin).collect();
    std::future::poll_fn(|cx| {
        all.retain_mut(|one| one.as_mut().poll(cx).is_pending());
        if all.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
}
