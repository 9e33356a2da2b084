//! Retries that are applied once.

use std::time::Duration;

use crate::client::Answer;
use crate::cluster::{Cluster, Member};

async fn open(member: &Member, body: &str) -> String {
    let opened = member.client("POST", "/sessions", &[], body).await;
    assert_eq!(opened.status, 201, "{opened:?}");
    opened.revision();
    opened.json()["id"].as_str().unwrap().to_owned()
}

async fn put(
    member: &Member,
    session: &str,
    number: &str,
    path: &str,
    more: &[(&str, &str)],
    body: &str,
) -> Answer {
    let mut headers = vec![("quorate-session", session), ("quorate-seq", number)];
    headers.extend(more);
    member.client("PUT", path, &headers, body).await
}

#[tokio::test]
async fn a_retry_gets_the_first_answer() {
    let cluster = Cluster::group(1, &[]).await;
    let member = &cluster.members[0];
    let session = open(member, "").await;
    let first = put(member, &session, "1", "/kv/a", &[], "one").await;
    assert_eq!((first.status.as_u16(), first.revision()), (201, 1));
    member.client("PUT", "/kv/a", &[], "another's").await;
    let again = put(member, &session, "1", "/kv/a", &[], "one").await;
    assert_eq!(
        (
            again.status.as_u16(),
            again.revision(),
            again.header("etag")
        ),
        (201, 1, "\"1\"")
    );
    assert_eq!(
        member.client("GET", "/kv/a", &[], "").await.body,
        "another's",
        "applied once"
    );

    assert_eq!(
        put(member, &session, "1", "/kv/a", &[], "other")
            .await
            .problem(),
        "sequence-reused"
    );
    let failed = [("if-match", "\"1\"")];
    assert_eq!(
        put(member, &session, "5", "/kv/a", &failed, "x")
            .await
            .status,
        412,
        "numbers may leap"
    );
    member.client("DELETE", "/kv/a", &[], "").await;
    member.client("PUT", "/kv/a", &[], "again").await;
    assert_eq!(
        put(member, &session, "5", "/kv/a", &failed, "x")
            .await
            .status,
        412,
        "a 412 is kept too"
    );
    let lower = put(member, &session, "4", "/kv/a", &[], "x").await;
    assert_eq!(
        (lower.status.as_u16(), lower.problem().as_str()),
        (409, "sequence-too-low")
    );

    let refused = put(member, &session, "6", "/kv/a", &[("if-match", "bad")], "x").await;
    assert_eq!(
        (
            refused.status.as_u16(),
            put(member, &session, "6", "/kv/a", &[], "x")
                .await
                .status
                .as_u16()
        ),
        (400, 200),
        "a 400 uses no number up"
    );
}

#[tokio::test]
async fn a_session_ends() {
    let cluster = Cluster::group(1, &["--max-sessions=2"]).await;
    let member = &cluster.members[0];
    let gone = put(member, "999999", "1", "/kv/a", &[], "x").await;
    assert_eq!(
        (gone.status.as_u16(), gone.problem().as_str()),
        (410, "session-gone")
    );
    let session = open(member, "").await;
    let closed = member
        .client("DELETE", &format!("/sessions/{session}"), &[], "")
        .await;
    assert_eq!(closed.told(), (204, ""));
    assert_eq!(
        put(member, &session, "1", "/kv/a", &[], "x").await.status,
        410
    );

    // Long enough for two more requests on a machine that does other things.
    let short = open(member, r#"{"lifetimeMs": 4000}"#).await;
    open(member, "").await;
    let full = member.client("POST", "/sessions", &[], "").await;
    assert!(
        full.status == 429 && !full.header("retry-after").is_empty(),
        "{full:?}"
    );
    assert_eq!(
        put(member, &short, "1", "/kv/a", &[], "x").await.status,
        201,
        "alive"
    );
    tokio::time::sleep(Duration::from_millis(4500)).await;
    assert_eq!(
        put(member, &short, "2", "/kv/a", &[], "x").await.status,
        410,
        "expired"
    );
    assert_eq!(
        member.client("GET", "/kv/a", &[], "").await.header("etag"),
        "\"1\"",
        "and not applied"
    );
}
