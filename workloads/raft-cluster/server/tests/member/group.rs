//! Three members.

use rustix::process::Signal;

use crate::client::send;
use crate::cluster::{Cluster, DEADLINE, leads};

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
    let metrics = cluster.members[0].health("/metrics").await.unwrap();
    let text = metrics.told().1;
    for name in [
        "quorate_http_requests_total{",
        "quorate_group_fsync_seconds",
        "quorate_connections{",
        "quorate_build_info{",
    ] {
        assert!(text.contains(name), "{name} is not in\n{text}");
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
    for at in [1, 2] {
        cluster.members[at].stop(Signal::KILL).await;
    }
    let left = &cluster.members[0];
    let written = left.client("PUT", "/kv/a", &[], "w").await;
    assert!([503, 504].contains(&written.status.as_u16()), "{written:?}");
    assert!(
        written.status == 504 || !written.header("retry-after").is_empty(),
        "{written:?}"
    );
    assert_eq!(left.client("GET", "/kv/a", &[], "").await.status, 503);
    assert_eq!(
        left.client("GET", "/kv/a?consistency=stale", &[], "")
            .await
            .status,
        200
    );
    left.until("it is not ready", |status| !status.ready).await;
    assert_eq!(
        left.health("/livez").await.unwrap().status,
        200,
        "alive all the same"
    );
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
