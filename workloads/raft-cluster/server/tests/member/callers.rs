//! Who may call a member, over all of its listeners that change something.

use crate::client::send;
use crate::cluster::Cluster;

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn a_web_page_cannot_write() {
    let flags = [
        "--allowed-hosts=store.example",
        "--allowed-origins=https://panel.example",
    ];
    let cluster = Cluster::group(1, &flags).await;
    let member = &cluster.members[0];
    let foreign = ("origin", "http://evil.example");
    let form = ("content-type", "text/plain");
    for (method, path) in [
        ("POST", "/kv:batch"),
        ("POST", "/sessions"),
        ("PUT", "/kv/a"),
        ("DELETE", "/kv/a"),
    ] {
        for page in [
            foreign,
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
        ] {
            let answer = member.client(method, path, &[form, page], "{}").await;
            assert_eq!(answer.status, 403, "{method} {path} {page:?}: {answer:?}");
            assert_eq!(answer.problem(), "foreign-origin");
        }
        let rebound = ("host", "evil.example:7070");
        let answer = member.client(method, path, &[rebound], "{}").await;
        assert_eq!(answer.problem(), "foreign-host", "{method} {path}");
    }
    let read = member.client("GET", "/kv/a", &[("host", "evil.example")], "");
    assert_eq!(read.await.problem(), "foreign-host");
    let page = member.client("GET", "/kv", &[], "").await;
    assert_eq!(page.revision(), 0, "nothing was done: {page:?}");

    let admin = async |more: (&str, &str)| {
        send(
            member.at(7072),
            "POST",
            "/admin/snapshot",
            &[JSON, more],
            "{}",
        )
        .await
        .unwrap()
    };
    assert_eq!(admin(foreign).await.problem(), "foreign-origin");
    assert_eq!(
        admin(("host", "evil.example")).await.problem(),
        "foreign-host"
    );
    assert_eq!(admin(("host", "m-0.peers.test:7072")).await.status, 200);

    for allowed in [
        ("host", "store.example"),
        ("host", "M-0.peers.test:7070"),
        ("origin", "https://panel.example"),
    ] {
        let answer = member.client("PUT", "/kv/a", &[allowed], "v").await;
        assert!(answer.status.is_success(), "{allowed:?}: {answer:?}");
    }
}
