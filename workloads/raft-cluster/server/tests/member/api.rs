//! The client API on a group of one, row by row of the issue's table.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cluster::Cluster;

#[tokio::test]
async fn one_key() {
    let cluster = Cluster::group(1, &[]).await;
    let member = &cluster.members[0];
    let put = async |path: &str, headers: &[(&str, &str)], body: &str| {
        member.client("PUT", path, headers, body).await
    };
    let get =
        async |path: &str, headers: &[(&str, &str)]| member.client("GET", path, headers, "").await;
    let delete = async |path: &str, headers: &[(&str, &str)]| {
        member.client("DELETE", path, headers, "").await
    };

    let created = put("/kv/a", &[], "one").await;
    assert_eq!(
        (
            created.status.as_u16(),
            created.header("etag"),
            created.revision()
        ),
        (201, "\"1\"", 1)
    );
    let replaced = put("/kv/a", &[], "one").await;
    assert_eq!(
        (
            replaced.status.as_u16(),
            replaced.header("etag"),
            replaced.revision()
        ),
        (200, "\"2\"", 2),
        "the same value is a change"
    );
    put("/kv/b", &[], "").await;

    let read = get("/kv/a", &[]).await;
    assert_eq!(
        (read.told(), read.header("etag"), read.revision()),
        ((200, "one"), "\"2\"", 3)
    );
    let head = member.client("HEAD", "/kv/a", &[], "").await;
    assert_eq!(
        (
            head.told(),
            head.header("etag"),
            head.header("content-length")
        ),
        ((200, ""), "\"2\"", "3")
    );
    assert_eq!(
        get("/kv/a", &[("if-none-match", "\"2\"")]).await.told(),
        (304, "")
    );
    assert_eq!(
        get("/kv/a", &[("if-none-match", "\"1\"")]).await.status,
        200
    );
    assert_eq!(get("/kv/none", &[]).await.problem(), "no-such-key");
    assert_eq!(
        member.client("HEAD", "/kv/none", &[], "").await.told(),
        (404, "")
    );

    assert_eq!(
        put("/kv/a", &[("if-match", "\"1\"")], "x").await.problem(),
        "condition-failed"
    );
    assert_eq!(put("/kv/none", &[("if-match", "*")], "x").await.status, 412);
    assert_eq!(
        put("/kv/none", &[("if-match", "\"0\"")], "x").await.status,
        412
    );
    assert_eq!(
        put("/kv/a", &[("if-none-match", "*")], "x").await.status,
        412
    );
    assert_eq!(delete("/kv/a", &[("if-match", "\"1\"")]).await.status, 412);
    assert_eq!(
        delete("/kv/none", &[("if-match", "\"1\"")]).await.problem(),
        "no-such-key"
    );
    assert_eq!(delete("/kv/none", &[]).await.status, 404);
    assert_eq!(
        get("/kv/b", &[]).await.revision(),
        3,
        "nothing of this was a change"
    );
    for (path, name, tag, status) in [
        ("/kv/a?consistency=stale", "if-match", "\"2\"", 200),
        ("/kv/a?consistency=stale", "if-match", "\"1\"", 412),
        ("/kv/a?consistency=stale", "if-none-match", "\"2\"", 304),
        ("/kv/none?consistency=stale", "if-match", "\"1\"", 404),
    ] {
        let stale = get(path, &[(name, tag)]).await;
        assert!(
            stale.status == status && !stale.header("quorate-max-age-ms").is_empty(),
            "{path} {name}: {stale:?}"
        );
    }

    assert_eq!(
        put("/kv/a", &[("if-match", "\"2\"")], "two")
            .await
            .revision(),
        4
    );
    assert_eq!(
        put("/kv/c", &[("if-none-match", "*")], "new").await.status,
        201
    );
    let deleted = delete("/kv/a", &[("if-match", "\"4\"")]).await;
    assert_eq!((deleted.told(), deleted.revision()), ((204, ""), 6));
    assert_eq!(put("/kv/a", &[], "again").await.status, 201);
}

#[tokio::test]
async fn keys_are_bytes() {
    let cluster = Cluster::group(1, &[]).await;
    let member = &cluster.members[0];
    let status = async |method: &str, path: &str| {
        member.client(method, path, &[], "v").await.status.as_u16()
    };
    assert_eq!(status("PUT", "/kv/a%2Fb").await, 201);
    assert_eq!(
        status("PUT", "/kv/a/b").await,
        200,
        "a raw slash belongs to the key"
    );
    assert_eq!(status("PUT", "/kv/%FF%00").await, 201);
    assert_eq!(status("GET", "/kv/%ff%00").await, 200);
    assert_eq!(status("PUT", "/kv//").await, 201);
    assert_eq!(status("GET", "/kv/%2F").await, 200);
    let longest = "%FF".repeat(4096);
    assert_eq!(status("PUT", &format!("/kv/{longest}")).await, 201);
    let too_long = member
        .client("PUT", &format!("/kv/{longest}a"), &[], "")
        .await;
    assert_eq!(
        (too_long.status.as_u16(), too_long.problem().as_str()),
        (414, "key-too-long")
    );
    assert!(
        too_long.told().1.contains("max-key-bytes allows 4096"),
        "{too_long:?}"
    );
    let largest = "x".repeat(1 << 20);
    assert_eq!(
        member
            .client("PUT", "/kv/large", &[], &largest)
            .await
            .status,
        201
    );
    assert_eq!(
        member.client("GET", "/kv/large", &[], "").await.body,
        largest
    );
    let too_large = member
        .client("PUT", "/kv/large", &[], &(largest + "x"))
        .await;
    assert!(
        too_large.status == 413 && too_large.told().1.contains("max-value-bytes"),
        "{too_large:?}"
    );
}

#[tokio::test]
async fn pages() {
    let cluster = Cluster::group(1, &[]).await;
    let member = &cluster.members[0];
    for key in ["a", "b%2F1", "b%2F2", "b%2F%FF", "c"] {
        member.client("PUT", &format!("/kv/{key}"), &[], key).await;
    }
    let page = async |query: &str| member.client("GET", &format!("/kv{query}"), &[], "").await;
    let keys = |page: &serde_json::Value| -> Vec<String> {
        page["entries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["key"].as_str().unwrap().to_owned())
            .collect()
    };
    let first = page("?prefix=b/&limit=2").await;
    assert_eq!((first.status.as_u16(), first.revision()), (200, 5));
    let first = first.json();
    assert_eq!(
        (
            keys(&first),
            first["next"].as_str(),
            first["revision"].as_u64()
        ),
        (vec!["Yi8x".into(), "Yi8y".into()], Some("Yi//"), Some(5))
    );
    assert_eq!(
        first["entries"][0],
        serde_json::json!({"key": "Yi8x", "value": "YiUyRjE=", "revision": 2, "createRevision": 2, "version": 1})
    );
    let second = page("?prefix=b%2F&limit=2&start=b%2F%FF").await.json();
    assert_eq!(
        (keys(&second), second.get("next")),
        (vec!["Yi//".into()], None)
    );
    assert_eq!(keys(&page("").await.json()).len(), 5);
    assert_eq!(page("?limit=1001").await.problem(), "bad-request");
}

#[tokio::test]
async fn batches() {
    let cluster = Cluster::group(1, &[]).await;
    let member = &cluster.members[0];
    let batch = async |body: &str| member.client("POST", "/kv:batch", &[], body).await;
    let put = |key: &str| format!(r#"{{"put": {{"key": "{key}", "value": "dg=="}}}}"#);
    let both = batch(&format!(
        r#"{{"operations": [{}, {}]}}"#,
        put("YQ=="),
        put("Yg==")
    ))
    .await;
    assert_eq!(
        (both.status.as_u16(), both.revision()),
        (200, 1),
        "one revision for all"
    );
    assert_eq!(
        both.json()["results"],
        serde_json::json!([{"existed": false}, {"existed": false}])
    );
    let tag = |answer: crate::client::Answer| answer.header("etag").to_owned();
    assert_eq!(
        tag(member.client("GET", "/kv/a", &[], "").await),
        tag(member.client("GET", "/kv/b", &[], "").await)
    );

    let failed = batch(&format!(
        r#"{{"conditions": [{{"key": "Yg==", "revision": 9}}], "operations": [{}]}}"#,
        put("Yw==")
    ))
    .await;
    assert_eq!(
        (
            failed.problem().as_str(),
            member.client("GET", "/kv/c", &[], "").await.status.as_u16()
        ),
        ("condition-failed", 404)
    );
    let judged_before = format!(
        r#"{{"conditions": [{{"key": "Yw==", "exists": false}}], "operations": [{}]}}"#,
        put("Yw==")
    );
    assert_eq!(batch(&judged_before).await.revision(), 2);
    let nothing = batch(r#"{"operations": [{"delete": {"key": "eg=="}}]}"#).await;
    assert_eq!(
        (
            nothing.revision(),
            nothing.json()["results"][0]["existed"].as_bool()
        ),
        (2, Some(false))
    );
    let twice = batch(&format!(
        r#"{{"operations": [{}, {}]}}"#,
        put("YQ=="),
        put("YQ==")
    ))
    .await;
    assert_eq!(
        (
            twice.status.as_u16(),
            twice.json()["field"].as_str().map(str::to_owned)
        ),
        (400, Some("operations[1].put.key".into()))
    );
}

#[tokio::test]
async fn more_than_may_wait_is_told_when_to_come_back() {
    let cluster = Cluster::group(1, &["--max-pending-requests=1"]).await;
    let member = &cluster.members[0];
    let head = "PUT /kv/slow HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 2\r\n\r\n";
    let begun = Instant::now();
    let (mut slow, busy) = loop {
        // A request whose body is still on its way takes the only place, if it comes before the next one.
        let mut slow = TcpStream::connect(member.at(7070)).await.unwrap();
        slow.write_all(head.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let answer = member.client("GET", "/kv/a", &[], "").await;
        if answer.status == 429 {
            break (slow, answer);
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{answer:?}");
    };
    assert_eq!(
        (busy.problem().as_str(), busy.header("retry-after")),
        ("busy", "1")
    );
    assert!(busy.told().1.contains("max-pending-requests"), "{busy:?}");
    slow.write_all(b"ok").await.unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert_eq!(
        member.client("GET", "/kv/slow", &[], "").await.told(),
        (200, "ok")
    );
}

#[tokio::test]
async fn whoever_sends_too_much_still_gets_the_answer() {
    let cluster = Cluster::group(1, &[]).await;
    let member = &cluster.members[0];
    let length = 4 << 20;
    let told = format!("content-length: {length}");
    // Without a length the limit is met on the way.
    for (framing, size) in [
        (told.as_str(), String::new()),
        ("transfer-encoding: chunked", format!("{length:x}\r\n")),
    ] {
        let mut stream = TcpStream::connect(member.at(7070)).await.unwrap();
        let head = format!(
            "PUT /kv/a HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{framing}\r\n\r\n{size}"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // All of it is sent before a byte of the answer is read, as many clients do.
        stream.write_all(&vec![b'x'; length]).await.unwrap();
        if !size.is_empty() {
            stream.write_all(b"\r\n0\r\n\r\n").await.unwrap();
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 413") && answer.contains("max-value-bytes"),
            "{framing}: {answer}"
        );
    }
}

#[tokio::test]
async fn no_more_connections_than_may_be() {
    let cluster = Cluster::group(1, &["--max-connections=1"]).await;
    let member = &cluster.members[0];
    let only = TcpStream::connect(member.at(7070)).await.unwrap();
    let begun = Instant::now();
    let refused = loop {
        let answer = member.client("GET", "/kv/a", &[], "").await;
        if answer.status == 503 {
            break answer;
        }
        assert!(begun.elapsed() < Duration::from_secs(3), "{answer:?}");
    };
    assert_eq!(refused.problem(), "too-many-connections");
    assert!(refused.told().1.contains("max-connections"), "{refused:?}");
    assert!(member.health("/livez").await.is_some(), "its own listener");
    drop(only);
    while member.client("GET", "/kv/a", &[], "").await.status != 404 {
        assert!(begun.elapsed() < Duration::from_secs(20), "no room");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
