//! TEMPORARY
use crate::cluster::{Cluster, GROUP};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore]
async fn load() {
    let clients: usize = std::env::var("CLIENTS")
        .ok()
        .and_then(|c| c.parse().ok())
        .unwrap_or(100);
    let cluster = Arc::new(
        Cluster::start(3, |o| {
            o.core.election_timeout = Duration::from_secs(1);
            o.core.heartbeat_interval = Duration::from_millis(100);
        })
        .await,
    );
    cluster.form(GROUP).await;
    let leader = cluster.leader(GROUP).await;
    let until = Instant::now() + Duration::from_secs(5);
    let value = "x".repeat(256);
    let mut all = JoinSet::new();
    for c in 0..clients {
        let (cluster, value) = (Arc::clone(&cluster), value.clone());
        let target = if std::env::var("SPREAD").is_ok() {
            c % 3
        } else {
            leader
        };
        all.spawn(async move {
            let mut n = Vec::new();
            while Instant::now() < until {
                let b = Instant::now();
                cluster
                    .live(target)
                    .put(GROUP, &format!("k{c:06}"), &value)
                    .await;
                n.push(b.elapsed());
            }
            n
        });
    }
    let mut lat = Vec::new();
    while let Some(n) = all.join_next().await {
        lat.extend(n.unwrap());
    }
    lat.sort();
    println!(
        "{clients} clients: {} writes/s p50 {:?} p99 {:?}",
        lat.len() as f64 / 5.0,
        lat[lat.len() / 2],
        lat[lat.len() * 99 / 100]
    );
    for o in 0..3 {
        let l = cluster.live(o);
        println!(
            "{o} leader={} syncs {}",
            o == leader,
            l.gauges.log_syncs.load(Ordering::Relaxed)
        );
        for n in [
            "request_seconds",
            "commit_seconds",
            "apply_seconds",
            "apply_batch_seconds",
            "fsync_seconds",
            "fsync_rounds",
            "rounds_total",
            "log_rounds_total",
            "peer_messages_received_total",
        ] {
            println!(
                "   {n} {:?}",
                l.registry
                    .gather()
                    .iter()
                    .find(|f| f.name() == format!("quorate_group_{n}"))
                    .map(|f| {
                        let h = f.get_metric()[0].get_histogram();
                        (
                            h.get_sample_sum() / h.get_sample_count() as f64,
                            h.get_sample_count(),
                            f.get_metric()[0].get_counter().get_value(),
                        )
                    })
            );
        }
    }
    let t = std::fs::read_to_string("/proc/self/stat").unwrap();
    let f: Vec<&str> = t.split(' ').collect();
    println!(
        "cpu ticks user {} sys {}: {} us/write",
        f[13],
        f[14],
        (f[13].parse::<f64>().unwrap() + f[14].parse::<f64>().unwrap()) * 10000.0
            / lat.len() as f64
    );
}
