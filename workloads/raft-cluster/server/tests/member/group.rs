//! Three members.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use quorate_wire::{AddLearner, ChangeMember, MemberStatus};
use rustix::process::Signal;

use crate::client::send;
use crate::cluster::{Cluster, DEADLINE, Member, leads};

#[tokio::test]
async fn any_member_serves_any_request() {
    let cluster = Cluster::group(3, &[]).await;
    for (at, member) in cluster.members.iter().enumerate() {
        let written = member
            .client("PUT", &format!("/kv/{at}"), &[], &member.name)
            .await;
        assert_eq!(
            (written.status.as_u16(), written.revision()),
            (201, at as u64 + 1),
            "{written:?}"
        );
        for reader in &cluster.members {
            let read = reader.client("GET", &format!("/kv/{at}"), &[], "").await;
            assert_eq!(
                read.told(),
                (200, member.name.as_str()),
                "linearizable on {}",
                reader.name
            );
        }
        let stale = member
            .client("GET", &format!("/kv/{at}?consistency=stale"), &[], "")
            .await;
        let age: u64 = stale.header("quorate-max-age-ms").parse().unwrap();
        assert!(stale.status == 200 && age < 60_000, "{stale:?}");
    }
    let leader = cluster.leader().await;
    let metrics = leader.health("/metrics").await.unwrap();
    let text = metrics.told().1;
    // What the leader of a group that was written to has measured: none of these is nothing.
    for name in [
        "quorate_http_requests_total{listener=\"client\",method=\"PUT\",route=\"/kv/{*key}\",status=\"2xx\"}",
        "quorate_http_request_seconds_count{listener=\"client\",method=\"PUT\",route=\"/kv/{*key}\"}",
        "quorate_group_requests_total{kind=\"proposal\",outcome=\"applied\"}",
        "quorate_group_requests_total{kind=\"read\",outcome=\"read\"}",
        "quorate_group_request_seconds_count",
        "quorate_group_commit_seconds_count",
        "quorate_group_apply_seconds_count",
        "quorate_group_fsync_seconds_count",
        "quorate_group_fsync_rounds_count",
        "quorate_group_log_bytes",
        "quorate_group_leader_changes_total",
        "quorate_group_groups_led",
        "quorate_group_peer_messages_received_total",
        "quorate_group_peer_connections_total",
        "quorate_build_info{kind=\"RaftCluster\",",
    ] {
        let value = text
            .lines()
            .find(|line| line.starts_with(name))
            .and_then(|line| line.rsplit_once(' '))
            .and_then(|(_, value)| value.parse::<f64>().ok());
        assert!(
            value.is_some_and(|value| value > 0.0),
            "{name} is {value:?} in\n{text}"
        );
    }
    for member in &cluster.members {
        let lag = format!("quorate_group_peer_lag_entries{{peer=\"{}\"}}", member.name);
        assert!(text.contains(&lag), "{lag} is not in\n{text}");
    }
    for queue in [
        "requests",
        "request_bytes",
        "events",
        "deliveries",
        "tasks",
        "log",
    ] {
        let depth = format!("quorate_group_queue_depth{{queue=\"{queue}\"}}");
        assert!(text.contains(&depth), "{depth} is not in\n{text}");
    }
}

#[tokio::test]
async fn the_group_outlives_its_leader() {
    let mut cluster = Cluster::group(3, &[]).await;
    for (round, signal) in [Signal::TERM, Signal::KILL].into_iter().enumerate() {
        let key = format!("/kv/{round}");
        assert_eq!(
            cluster
                .leader()
                .await
                .client("PUT", &key, &[], "v")
                .await
                .status,
            201
        );
        let at = cluster.leader_at().await;
        let term = cluster.members[at].status().await.unwrap().groups[0].term;
        let ended = cluster.members[at].stop(signal).await;
        assert_eq!(
            ended.code(),
            (signal == Signal::TERM).then_some(0),
            "{ended:?}"
        );
        let leader = cluster.leader().await;
        assert!(leader.status().await.unwrap().groups[0].term > term);
        assert_eq!(leader.client("GET", &key, &[], "").await.told(), (200, "v"));
        cluster.members[at].start();
        cluster.members[at]
            .until("it is back", |status| status.ready)
            .await;
        assert_eq!(
            cluster.members[at]
                .client("GET", &key, &[], "")
                .await
                .told(),
            (200, "v")
        );
    }
    let handed_over = cluster
        .members
        .iter()
        .any(|member| member.logged().contains("stopped"));
    assert!(handed_over, "SIGTERM ends in order");
}

#[tokio::test]
async fn without_a_quorum_nothing_is_promised() {
    let mut cluster = Cluster::group(3, &["--request-timeout-ms=2000"]).await;
    cluster
        .leader()
        .await
        .client("PUT", "/kv/a", &[], "v")
        .await;
    let asked = cluster.members[0].client("GET", "/kv/a", &[], "").await;
    assert_eq!(asked.told(), (200, "v"), "so that there is a bound");
    for at in [1, 2] {
        cluster.members[at].stop(Signal::KILL).await;
    }
    let left = &cluster.members[0];
    let age = async || {
        let stale = left.client("GET", "/kv/a?consistency=stale", &[], "").await;
        assert_eq!(stale.told(), (200, "v"));
        stale.header("quorate-max-age-ms").parse::<u64>().unwrap()
    };
    let killed = Instant::now();
    let written = left.client("PUT", "/kv/a", &[], "w").await;
    assert!([503, 504].contains(&written.status.as_u16()), "{written:?}");
    assert!(
        written.status == 504 || !written.header("retry-after").is_empty(),
        "{written:?}"
    );
    assert_eq!(left.client("GET", "/kv/a", &[], "").await.status, 503);
    // Nobody confirms anything any more: the bound grows with the time.
    let since = killed.elapsed().as_millis() as u64;
    let older = age().await;
    assert!(older >= since, "{older} ms after {since} ms");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(age().await >= older + 300);
    left.until("it is not ready", |status| !status.ready).await;
    assert_eq!(
        left.health("/livez").await.unwrap().status,
        200,
        "alive all the same"
    );

    // A new process has asked nobody anything yet: there is no bound. (One that ends in order has its state on disk;
    // a killed one would not know yet which of its log is committed.)
    cluster.members[0].stop(Signal::TERM).await;
    cluster.members[0].start();
    let left = &cluster.members[0];
    left.until("it can be asked", |_| true).await;
    let stale = left.client("GET", "/kv/a?consistency=stale", &[], "").await;
    assert!(
        stale.status == 200 && stale.headers.get("quorate-max-age-ms").is_none(),
        "{stale:?}"
    );
    for member in &mut cluster.members[1..] {
        member.start();
    }
    let now = cluster.leader().await.client("GET", "/kv/a", &[], "").await;
    if written.status == 503 {
        assert_eq!(
            now.told(),
            (200, "v"),
            "503 means not applied, later neither"
        );
    }
}

/// Writes keys of its own, one after the other, until told to stop; what each was answered.
async fn write_until(stop: Arc<AtomicBool>, to: SocketAddr, name: String) -> Vec<(String, u16)> {
    let mut answers = Vec::new();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let key = format!("{name}-{number}");
        // 0, cut off, says no more than 504.
        let answered = send(to, "PUT", &format!("/kv/{key}"), &[], "v")
            .await
            .map_or(0, |answer| answer.status.as_u16());
        answers.push((key, answered));
        let pause = if answered == 201 { 2 } else { 20 };
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    answers
}

/// All keys, page by page. They need no encoding.
async fn all_keys(member: &Member) -> BTreeSet<String> {
    let text = |value: &serde_json::Value| {
        let bytes = STANDARD.decode(value.as_str().unwrap()).unwrap();
        String::from_utf8(bytes).unwrap()
    };
    let (mut keys, mut start) = (BTreeSet::new(), String::new());
    loop {
        let path = format!("/kv?limit=1000&start={start}");
        let page = member.client("GET", &path, &[], "").await.json();
        let entries = page["entries"].as_array().unwrap();
        keys.extend(entries.iter().map(|entry| text(&entry["key"])));
        match page.get("next") {
            Some(next) => start = text(next),
            None => return keys,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_and_what_was_refused_is_not() {
    let mut cluster = Cluster::group(3, &["--request-timeout-ms=3000"]).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..9)
        .map(|at| {
            let member = &cluster.members[at % 3];
            let name = format!("{}-{at}", member.name);
            tokio::spawn(write_until(Arc::clone(&stop), member.at(7070), name))
        })
        .collect();
    for signal in [Signal::KILL, Signal::TERM, Signal::KILL] {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let at = cluster.leader_at().await;
        cluster.members[at].stop(signal).await;
        cluster.leader().await;
        cluster.members[at].start();
        cluster.members[at]
            .until("it is back", |status| status.ready)
            .await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut answers = Vec::new();
    for writer in writers {
        answers.extend(writer.await.unwrap());
    }
    let keys = all_keys(cluster.leader().await).await;
    let mut counts = BTreeMap::new();
    for (key, answered) in &answers {
        *counts.entry(*answered).or_insert(0) += 1;
        let there = keys.contains(key);
        match answered {
            201 => assert!(there, "{key} was acknowledged and is lost"),
            429 | 503 => assert!(!there, "{key} was refused with {answered} and is there"),
            0 | 504 => {}
            other => panic!("{key}: {other}"),
        }
    }
    println!("answers by status, 0 for none: {counts:?}");
    assert!(counts[&201] > 100, "{counts:?}");
    assert!(
        counts.get(&503).is_some_and(|count| *count > 0),
        "{counts:?}"
    );
}

#[tokio::test]
async fn a_member_that_was_away_too_long_takes_a_snapshot() {
    let flags = ["--compact-after-entries=100", "--keep-entries=10"];
    let mut cluster = Cluster::group(3, &flags).await;
    let away = (cluster.leader_at().await + 1) % 3;
    let leader = cluster.leader().await;
    leader.client("PUT", "/kv/old", &[], "old").await;
    cluster.members[away].stop(Signal::KILL).await;
    let leader = cluster.leader().await;
    leader.client("DELETE", "/kv/old", &[], "").await;
    for number in 0..300 {
        let written = leader
            .client("PUT", &format!("/kv/{number}"), &[], "v")
            .await;
        assert_eq!(written.status, 201, "{written:?}");
    }
    cluster.members[away].start();
    let back = &cluster.members[away];
    back.until("it is back", |status| status.ready).await;
    for (key, status) in [("/kv/0", 200), ("/kv/299", 200), ("/kv/old", 404)] {
        let read = back.client("GET", key, &[], "").await;
        assert_eq!(read.status, status, "{key}: {read:?}");
    }
    let metrics = back.health("/metrics").await.unwrap();
    assert!(
        metrics
            .told()
            .1
            .contains("quorate_group_snapshots_received_total 1"),
        "{metrics:?}"
    );
}

#[tokio::test]
async fn one_trace_leads_from_the_client_to_the_commit() {
    let debug = "--log-filter=info,quorate_node=debug,quorate_group=debug";
    let cluster = Cluster::group(3, &[debug, "--log-format=json"]).await;
    let leader = cluster.leader().await;
    let mut others = cluster.members.iter();
    let follower = others.find(|member| member.name != leader.name).unwrap();
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let parent = format!("00-{trace}-b7ad6b7169203331-01");
    let written = follower
        .client("PUT", "/kv/a", &[("traceparent", &parent)], "v")
        .await;
    assert_eq!(written.status, 201, "{written:?}");
    // The span of the request where the client asked, and that of the commit where the leader is.
    for (member, span) in [(follower, "request"), (leader, "commit")] {
        let begun = Instant::now();
        let found = loop {
            let log = member.logged();
            let lines = log.lines().map(|line| {
                serde_json::from_str::<serde_json::Value>(line)
                    .unwrap_or_else(|error| panic!("{error}: {line}"))
            });
            let in_span = |line: &serde_json::Value| {
                let spans = line["spans"].as_array().cloned().unwrap_or_default();
                spans.iter().any(|one| {
                    one["name"] == span
                        && one["trace"]
                            .as_str()
                            .is_some_and(|text| text.contains(trace))
                })
            };
            if lines.into_iter().any(|line| in_span(&line)) {
                break true;
            }
            if begun.elapsed() > DEADLINE {
                break false;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        assert!(
            found,
            "no span {span} at {}:\n{}",
            member.name,
            member.logged()
        );
    }
}

#[tokio::test]
async fn the_leader_refuses_what_would_harm_the_group() {
    let mut cluster = Cluster::group(3, &[]).await;
    let index = async |member: &Member| {
        let status = member.status().await.unwrap();
        status.groups[0].configuration.index
    };
    let leader = cluster.leader().await;
    let nobody = "00000000000000ff";
    let add = AddLearner {
        configuration_index: index(leader).await,
        id: nobody.into(),
        name: "m-9".into(),
        address: "m-9.peers.test:7071".into(),
    };
    assert_eq!(leader.admin("/admin/members", &add).await.status, 200);
    let decided = ChangeMember {
        configuration_index: index(leader).await,
    };
    let promoted = leader
        .admin(&format!("/admin/members/{nobody}/promote"), &decided)
        .await;
    assert_eq!(
        (promoted.status.as_u16(), promoted.problem().as_str()),
        (409, "member-lagging"),
        "it was never there"
    );
    let again = AddLearner {
        configuration_index: index(leader).await,
        ..add
    };
    let again = leader.admin("/admin/members", &again).await;
    assert_eq!(again.problem(), "already-member");

    // With one voter away, one more may not go.
    let at = cluster.leader_at().await;
    let (away, other) = ((at + 1) % 3, (at + 2) % 3);
    cluster.members[away].stop(Signal::KILL).await;
    let id = cluster.members[other].status().await.unwrap().incarnation;
    let gone = cluster.members[away].name.clone();
    let counted_on = |status: &MemberStatus| {
        let mut members = status.groups[0].configuration.members.iter();
        members.any(|member| member.name == gone && member.caught_up == Some(true))
    };
    let begun = Instant::now();
    loop {
        let leader = cluster.leader().await;
        leader
            .until("it notices who is gone", |status| !counted_on(status))
            .await;
        let leader = cluster.leader().await;
        let decided = ChangeMember {
            configuration_index: index(leader).await,
        };
        let removed = leader
            .admin(&format!("/admin/members/{id}/remove"), &decided)
            .await;
        match removed.problem().as_str() {
            "would-lose-quorum" => break,
            // It has just taken over and knows nothing of the others yet.
            "no-leader" => {}
            other => panic!("{other}: {removed:?}"),
        }
        assert!(begun.elapsed() < DEADLINE);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn the_admin_api_changes_the_group() {
    let cluster = Cluster::group(3, &[]).await;
    let leader = cluster.leader().await;
    let follower = cluster
        .members
        .iter()
        .find(|member| member.name != leader.name)
        .unwrap();
    let index = leader.status().await.unwrap().groups[0].configuration.index;
    let id = follower.status().await.unwrap().incarnation;
    let change = |index: u64| serde_json::json!({ "configurationIndex": index });

    let outdated = leader
        .admin(&format!("/admin/members/{id}/remove"), &change(index - 1))
        .await;
    assert_eq!(
        (outdated.status.as_u16(), outdated.problem().as_str()),
        (409, "configuration-outdated")
    );
    let elsewhere = follower
        .admin(&format!("/admin/members/{id}/remove"), &change(index))
        .await;
    assert_eq!(
        (
            elsewhere.status.as_u16(),
            elsewhere.json()["leader"].as_str()
        ),
        (503, Some(leader.name.as_str()))
    );
    let nobody = leader
        .admin("/admin/members/00000000000000ff/promote", &change(index))
        .await;
    assert_eq!(nobody.problem(), "no-such-member");
    assert_eq!(
        leader
            .admin("/admin/members/x/promote", &change(index))
            .await
            .json()["field"],
        "id"
    );
    assert_eq!(
        leader
            .admin("/admin/snapshot", &serde_json::json!({}))
            .await
            .status,
        200
    );

    let moved = leader
        .admin("/admin/leader", &serde_json::json!({ "to": id }))
        .await;
    assert_eq!(moved.status, 200, "{moved:?}");
    follower.until("it leads", leads).await;
    let again = serde_json::json!({ "group": 1, "incarnation": follower.status().await.unwrap().incarnation });
    assert_eq!(
        follower.admin("/admin/bootstrap", &again).await.status,
        200,
        "idempotent"
    );
    let other = serde_json::json!({ "group": 1, "incarnation": "00000000000000ff" });
    assert_eq!(follower.admin("/admin/bootstrap", &other).await.status, 409);

    let old = leader.status().await.unwrap().incarnation;
    let left = cluster
        .change(
            &format!("/admin/members/{old}/remove"),
            |configuration_index| quorate_wire::ChangeMember {
                configuration_index,
            },
        )
        .await;
    assert!(
        !left.members.iter().any(|member| member.id == old) || left.joint,
        "{left:?}"
    );
    let begun = std::time::Instant::now();
    while follower.status().await.unwrap().groups[0]
        .configuration
        .members
        .len()
        != 2
    {
        assert!(begun.elapsed() < DEADLINE);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let listed = send(follower.at(7072), "GET", "/admin/members", &[], "")
        .await
        .unwrap()
        .json();
    assert_eq!(listed["members"].as_array().unwrap().len(), 2);
}
