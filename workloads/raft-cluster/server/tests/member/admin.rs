//! What the admin listener refuses, and what it says then.

use serde_json::json;

use crate::client::send;
use crate::cluster::Cluster;

#[tokio::test]
async fn who_is_alone_has_nobody_to_hand_over_to() {
    let cluster = Cluster::group(1, &[]).await;
    let answer = cluster.members[0]
        .admin("/admin/leader", &serde_json::json!({}))
        .await;
    assert_eq!(
        (answer.status.as_u16(), answer.problem().as_str()),
        (409, "no-successor")
    );
    assert!(
        answer.told().1.contains("nobody to hand leadership to"),
        "{answer:?}"
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_change_is_named() {
    let cluster = Cluster::group(1, &[]).await;
    let member = &cluster.members[0];
    let add = |address: &str| json!({"configurationIndex": 1, "id": "00000000000000ff", "name": "m-9", "address": address});
    let long = format!("{}:7071", "a".repeat(254));
    let table = [
        ("members", add("m-9.peers.test"), "address"),
        ("members", add("http://m-9.peers.test:7071"), "address"),
        ("members", add("m-9.peers.test:0"), "address"),
        ("members", add("127.0.0.1:7071"), "address"),
        ("members", add(&long), "address"),
        (
            "members",
            json!({"configurationIndex": 1, "id": "00000000000000ff", "name": "m 9", "address": "a.b:1"}),
            "name",
        ),
        ("members", json!({"configurationIndex": 1}), "id"),
        (
            "members",
            json!([1, "00000000000000ff", "m-9", "a.b:1"]),
            "body",
        ),
        ("bootstrap", json!({"group": "1"}), "group"),
        (
            "bootstrap",
            json!({"group": 2, "incarnation": "00000000000000ff"}),
            "group",
        ),
        ("leader", json!({"too": "x"}), "too"),
        ("leader", json!({"to": "x"}), "to"),
        ("set-aside", json!({"incarnation": "x"}), "incarnation"),
        (
            "members/00000000000000ff/remove",
            json!({}),
            "configurationIndex",
        ),
        ("members/%FF/remove", json!({"configurationIndex": 1}), "id"),
    ];
    for (path, body, field) in table {
        let answer = member.admin(&format!("/admin/{path}"), &body).await;
        assert_eq!(
            (answer.status.as_u16(), answer.problem().as_str()),
            (400, "bad-request"),
            "{path} {body}: {answer:?}"
        );
        assert_eq!(answer.json()["field"], field, "{path} {body}: {answer:?}");
    }
    let ask = async |method: &str, path: &str, headers: &[(&str, &str)], body: &str| {
        send(member.at(7072), method, path, headers, body.to_owned())
            .await
            .unwrap()
    };
    for path in ["/admin/leader", "/admin/snapshot"] {
        let untyped = ask("POST", path, &[], "{}").await;
        assert_eq!(untyped.json()["field"], "content-type", "{untyped:?}");
    }
    let json = [("content-type", "application/json; charset=utf-8")];
    let large = ask("POST", "/admin/leader", &json, &" ".repeat(65 << 10)).await;
    assert_eq!(
        (large.status.as_u16(), large.problem().as_str()),
        (413, "too-large")
    );
    let identity = member.status().await.unwrap().incarnation;
    let sound = json!({"incarnation": identity});
    let sound = member.admin("/admin/set-aside", &sound).await;
    assert_eq!(
        (sound.status.as_u16(), sound.problem().as_str()),
        (409, "not-set-aside")
    );
    let nowhere = ask("GET", "/kv/a", &[], "").await;
    assert_eq!(nowhere.problem(), "no-such-path");
    assert!(nowhere.told().1.contains("/admin/members"), "{nowhere:?}");
    let how = ask("PUT", "/admin/members", &[], "").await;
    assert_eq!(how.problem(), "no-such-method");
    assert_eq!(how.header("allow"), "GET,HEAD,POST");
}
