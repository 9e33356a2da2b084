//! Two hundred groups in each of three processes: one connection per peer, one fsync per round.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use quorate_group_core::Request;
use quorate_wire::Role;
use tokio::task::JoinSet;

use crate::cluster::{Cluster, PATIENCE};

const GROUPS: u64 = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_groups_share_connections_and_fsyncs() {
    let cluster = Arc::new(
        Cluster::start(3, |options| {
            options.core.many_groups = true;
            options.core.election_timeout = Duration::from_secs(3);
            options.core.heartbeat_interval = Duration::from_millis(500);
        })
        .await,
    );
    let begun = Instant::now();
    each_group(&cluster, |cluster, group| async move {
        cluster.form(group).await
    })
    .await;
    println!("{GROUPS} groups of three formed in {:?}", begun.elapsed());
    // A third of the groups each, so that everybody has something to say to everybody.
    each_group(&cluster, |cluster, group| async move {
        let to = cluster.live(home(group)).id;
        let until = Instant::now() + PATIENCE;
        while cluster
            .group(home(group), group)
            .is_none_or(|status| status.role != Role::Leader)
        {
            assert!(Instant::now() < until, "group {group} was not handed over");
            cluster
                .handle(0)
                .request(group, Request::Transfer { to: Some(to) })
                .await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;

    let syncs = |ordinal: usize| {
        cluster
            .live(ordinal)
            .gauges
            .log_syncs
            .load(Ordering::Relaxed)
    };
    let fsyncs = |ordinal: usize| cluster.live(ordinal).metric("fsync_seconds");
    let rounds = |ordinal: usize| cluster.live(ordinal).metric("log_rounds_total");
    let before: Vec<_> = (0..3)
        .map(|ordinal| (syncs(ordinal), fsyncs(ordinal), rounds(ordinal)))
        .collect();
    let begun = Instant::now();
    each_group(&cluster, |cluster, group| async move {
        for number in 0..5 {
            cluster
                .live(home(group))
                .put(group, &format!("k{number}"), &format!("{group}"))
                .await;
        }
    })
    .await;
    println!("{} writes in {:?}", GROUPS * 5, begun.elapsed());

    for (ordinal, (syncs_before, fsyncs_before, rounds_before)) in before.into_iter().enumerate() {
        let live = cluster.live(ordinal);
        let fsynced = fsyncs(ordinal) - fsyncs_before;
        let (synced, written) = (
            (syncs(ordinal) - syncs_before) as f64,
            rounds(ordinal) - rounds_before,
        );
        println!(
            "member {ordinal}: {synced} fsyncs for {written} rounds that wrote, {} writes",
            GROUPS * 5
        );
        assert!(
            synced > 0.0 && synced <= written,
            "at most one fsync per round"
        );
        assert!(
            (synced - fsynced).abs() <= 1.0,
            "every fsync of the log is the writer's: {synced} and {fsynced}"
        );
        assert!(written < (GROUPS * 5) as f64, "groups share rounds");
        assert_eq!(
            live.metric("peer_connections_total"),
            2.0,
            "one outgoing connection per peer, ever"
        );
        assert_eq!(live.metric("incoming_peers"), 2.0);
        assert_eq!(live.metric("groups"), GROUPS as f64);
    }
    each_group(&cluster, |cluster, group| async move {
        let read = cluster.live(2).get(group, "k4").await;
        assert_eq!(
            read,
            Some(group.to_string()),
            "group {group} has its own state"
        );
    })
    .await;
}

/// The member that is to lead a group.
fn home(group: u64) -> usize {
    (group % 3) as usize
}

async fn each_group<F: Future<Output = ()> + Send + 'static>(
    cluster: &Arc<Cluster>,
    act: fn(Arc<Cluster>, u64) -> F,
) {
    let mut all = JoinSet::new();
    for group in 1..=GROUPS {
        all.spawn(act(Arc::clone(cluster), group));
    }
    while let Some(done) = all.join_next().await {
        done.unwrap();
    }
}
