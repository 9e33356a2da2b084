//! Requests over a scripted group: what it is asked, and what is refused before it is asked. What comes of a write
//! in a real group is tested on the binary (`tests/`).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::response::Response;
use http_body_util::BodyExt;
use quorate_group_core::{GroupId, Outcome, Write};
use quorate_node::config::{Loaded, Program, load_from};
use quorate_raft_cluster_core::{
    Answer, Applied, Command, Condition, Expect, Operation, OperationResult, Verdict,
};
use quorate_store::{MapStore, Read, StateError, StateStore};
use quorate_wire::GroupStatus;
use tower::ServiceExt;

use super::*;

#[derive(Clone, Default)]
struct Script {
    asked: Arc<Mutex<Vec<Request>>>,
    replies: Arc<Mutex<VecDeque<Reply>>>,
}

impl GroupAccess for Script {
    fn id(&self) -> GroupId {
        crate::GROUP
    }

    async fn request(&self, request: Request) -> Reply {
        self.asked.lock().unwrap().push(request);
        self.replies
            .lock()
            .unwrap()
            .pop_front()
            .unwrap_or(Reply::Unknown)
    }

    fn view(&self) -> Result<Option<Box<dyn Read>>, StateError> {
        MapStore::default().view().map(Some)
    }

    fn damaged(&self, _why: String) {}

    fn now(&self) -> Duration {
        Duration::from_millis(1500)
    }

    fn status(&self) -> Option<GroupStatus> {
        None
    }
}

fn settings() -> MemberSettings {
    let flags = [
        "m",
        "--cluster=c",
        "--name=a-0",
        "--data-dir=/d",
        "--bind-address=127.1.0.1",
        "--peer-address=a-0.a:7071",
    ];
    let limits = [
        "--max-key-bytes=8",
        "--max-value-bytes=16",
        "--max-batch-operations=2",
        "--max-page-entries=50",
    ];
    let arguments = flags.iter().chain(&limits).map(Into::into).collect();
    match load_from(
        Program {
            name: "m",
            version: "1",
            about: "",
        },
        arguments,
        &|_| None,
    )
    .unwrap()
    {
        Loaded::Run(settings) => settings,
        Loaded::Print(text) => panic!("{text}"),
    }
}

/// One request; the answer, its body, and what the group was asked.
async fn send(
    request: ::http::Request<Body>,
    replies: Vec<Reply>,
) -> (Response<()>, String, Vec<Request>) {
    let script = Script {
        replies: Arc::new(Mutex::new(replies.into())),
        ..Script::default()
    };
    let routes = Api::new(script.clone(), settings()).routes();
    let (head, body) = routes.oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let asked = std::mem::take(&mut *script.asked.lock().unwrap());
    (
        Response::from_parts(head, ()),
        String::from_utf8(body.to_vec()).unwrap(),
        asked,
    )
}

fn request(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> ::http::Request<Body> {
    let mut request = ::http::Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::from(body.to_owned())).unwrap()
}

fn applied(previous: &[u64]) -> Reply {
    let results = previous
        .iter()
        .map(|previous| OperationResult {
            previous: *previous,
        })
        .collect();
    let answer = Answer {
        revision: 7,
        verdict: Some(Verdict::Applied(Applied { results })),
    };
    Reply::Outcome {
        index: 1,
        outcome: Outcome::Answer(answer.to_bytes()),
    }
}

fn command(asked: &[Request]) -> (Command, Option<(u64, u64)>) {
    match asked {
        [Request::Write(Write { session, command })] => {
            (Command::decode(&command[..]).unwrap(), *session)
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_put_is_a_command() {
    let headers = [
        ("if-match", "\"3\""),
        ("quorate-session", "5"),
        ("quorate-seq", "2"),
    ];
    let (answer, body, asked) = send(
        request("PUT", "/kv/a%2Fb/%FF", &headers, "value"),
        vec![applied(&[3])],
    )
    .await;
    assert_eq!((answer.status().as_u16(), body.as_str()), (200, ""));
    assert_eq!(
        (
            &answer.headers()["etag"],
            &answer.headers()["quorate-revision"]
        ),
        (&"\"7\"".parse().unwrap(), &"7".parse().unwrap())
    );
    let key = Bytes::from_static(b"a/b/\xff");
    let expected = Command::single(
        vec![Condition {
            key: key.clone(),
            expect: Expect::Revision(3),
        }],
        Operation::Put {
            key,
            value: Bytes::from_static(b"value"),
        },
    );
    assert_eq!(command(&asked), (expected, Some((5, 2))));
}

#[tokio::test]
async fn a_delete_is_a_command() {
    let (answer, _, asked) = send(
        request("DELETE", "/kv/a", &[("if-none-match", "*")], ""),
        vec![applied(&[3])],
    )
    .await;
    assert_eq!(
        (
            answer.status().as_u16(),
            &answer.headers()["quorate-revision"]
        ),
        (204, &"7".parse().unwrap())
    );
    let key = Bytes::from_static(b"a");
    let condition = Condition {
        key: key.clone(),
        expect: Expect::Missing,
    };
    assert_eq!(
        command(&asked),
        (
            Command::single(vec![condition], Operation::Delete { key }),
            None
        )
    );
}

#[tokio::test]
async fn a_batch_is_a_command() {
    let body = r#"{"conditions": [{"key": "YQ==", "exists": false}, {"key": "Yg==", "revision": 4}],
                   "operations": [{"put": {"key": "YQ==", "value": "/w=="}}, {"delete": {"key": "Yg=="}}]}"#;
    let (answer, answered, asked) = send(
        request("POST", "/kv:batch", &[], body),
        vec![applied(&[0, 4])],
    )
    .await;
    assert_eq!(answer.status(), 200);
    assert_eq!(
        answered,
        r#"{"revision":7,"results":[{"existed":false},{"existed":true,"previousRevision":4}]}"#
    );
    let (a, b) = (Bytes::from_static(b"a"), Bytes::from_static(b"b"));
    let expected = Command {
        conditions: vec![
            Condition {
                key: a.clone(),
                expect: Expect::Missing,
            },
            Condition {
                key: b.clone(),
                expect: Expect::Revision(4),
            },
        ],
        operations: vec![
            Operation::Put {
                key: a,
                value: Bytes::from_static(b"\xff"),
            },
            Operation::Delete { key: b },
        ],
        single: false,
    };
    assert_eq!(command(&asked), (expected, None));
}

#[tokio::test]
async fn what_is_wrong_is_refused_before_the_group_is_asked() {
    let put = r#"{"put": {"key": "YQ==", "value": ""}}"#;
    let table = [
        ("PUT", "/kv/", &[][..], "".into(), 400, "key"),
        ("PUT", "/kv/%zz", &[], "".into(), 400, "key"),
        ("PUT", "/kv/a?ttl=1", &[], "".into(), 400, "ttl"),
        (
            "PUT",
            "/kv/a",
            &[("if-match", "W/\"1\"")],
            "".into(),
            400,
            "if-match",
        ),
        (
            "PUT",
            "/kv/a",
            &[("if-none-match", "\"1\"")],
            "".into(),
            400,
            "if-none-match",
        ),
        (
            "PUT",
            "/kv/a",
            &[("quorate-session", "1")],
            "".into(),
            400,
            "quorate-seq",
        ),
        ("PUT", "/kv/123456789", &[], "".into(), 414, "key"),
        ("PUT", "/kv/a", &[], "x".repeat(17), 413, "body"),
        (
            "PUT",
            "/kv/a",
            &[("content-length", "17")],
            "".into(),
            413,
            "body",
        ),
        (
            "GET",
            "/kv/a?consistency=maybe",
            &[],
            "".into(),
            400,
            "consistency",
        ),
        (
            "GET",
            "/kv/a",
            &[("if-none-match", "\"1\", 2")],
            "".into(),
            400,
            "if-none-match",
        ),
        ("GET", "/kv?limit=0", &[], "".into(), 400, "limit"),
        ("GET", "/kv?limit=51", &[], "".into(), 400, "limit"),
        ("GET", "/kv?prefix=123456789", &[], "".into(), 414, "prefix"),
        ("POST", "/kv:batch", &[], "[".into(), 400, "body"),
        ("POST", "/kv:batch", &[], "{}".into(), 400, "operations"),
        ("POST", "/kv:batch", &[], "{} {}".into(), 400, "body"),
        (
            "POST",
            "/kv:batch",
            &[("if-match", "*")],
            "{}".into(),
            400,
            "if-match",
        ),
        (
            "POST",
            "/kv:batch",
            &[],
            format!(r#"{{"operations": [{put}, {put}]}}"#),
            400,
            "operations[1].put.key",
        ),
        (
            "POST",
            "/kv:batch",
            &[],
            format!(r#"{{"operations": [{put}, {put}, {put}]}}"#),
            400,
            "operations",
        ),
        (
            "POST",
            "/kv:batch",
            &[],
            r#"{"operations": [{"delete": {"key": "="}}]}"#.into(),
            400,
            "operations[0].delete.key",
        ),
        (
            "POST",
            "/kv:batch",
            &[],
            r#"{"operations": [{"delete": {"key": ""}}]}"#.into(),
            400,
            "operations[0].delete.key",
        ),
        (
            "POST",
            "/kv:batch",
            &[],
            r#"{"operations": [{"delete": {"key": "MTIzNDU2Nzg5"}}]}"#.into(),
            414,
            "operations[0].delete.key",
        ),
        ("POST", "/kv:batch", &[], "[[], []]".into(), 400, "body"),
        (
            "POST",
            "/kv:batch",
            &[],
            r#"{"conditions": [["YQ==", 1, null]]}"#.into(),
            400,
            "conditions[0]",
        ),
        (
            "POST",
            "/kv:batch",
            &[],
            r#"{"operations": [{"put": ["YQ==", "YQ=="]}]}"#.into(),
            400,
            "operations[0].put",
        ),
        (
            "POST",
            "/kv:batch",
            &[],
            r#"{"operations": [{"put": {"key": "YQ=="}}]}"#.into(),
            400,
            "operations[0].put.value",
        ),
        (
            "POST",
            "/kv:batch",
            &[],
            r#"{"conditions": [{"key": "YQ=="}]}"#.into(),
            400,
            "conditions[0]",
        ),
        (
            "POST",
            "/kv:batch",
            &[],
            r#"{"condition": []}"#.into(),
            400,
            "condition",
        ),
        (
            "POST",
            "/sessions",
            &[],
            r#"{"lifetimeMs": 1}"#.into(),
            400,
            "lifetimeMs",
        ),
        ("POST", "/sessions", &[], "{".into(), 400, "body"),
        ("POST", "/sessions", &[], "[1000]".into(), 400, "body"),
        (
            "POST",
            "/sessions",
            &[],
            r#"{"lifetime": 1}"#.into(),
            400,
            "lifetime",
        ),
        (
            "POST",
            "/sessions",
            &[],
            r#"{"lifetimeMs": "1"}"#.into(),
            400,
            "lifetimeMs",
        ),
        ("DELETE", "/sessions/x", &[], "".into(), 400, "session"),
        ("DELETE", "/sessions/%FF", &[], "".into(), 400, "session"),
    ];
    for (method, path, headers, body, status, field) in table {
        let name = format!("{method} {path} {headers:?} {body}");
        let (answer, told, asked) = send(request(method, path, headers, &body), vec![]).await;
        assert_eq!(
            answer.headers()["content-type"],
            "application/problem+json",
            "{name}: {told}"
        );
        let problem: quorate_wire::Problem = serde_json::from_str(&told).unwrap();
        assert_eq!(
            (problem.status, problem.field.as_deref()),
            (status, Some(field)),
            "{name}: {told}"
        );
        assert_eq!(
            (answer.status().as_u16(), asked),
            (status, vec![]),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_value_too_large_in_a_batch_is_named() {
    let value = "A".repeat(24);
    let body = format!(r#"{{"operations": [{{"put": {{"key": "YQ==", "value": "{value}"}}}}]}}"#);
    let (answer, told, _) = send(request("POST", "/kv:batch", &[], &body), vec![]).await;
    assert!(
        answer.status() == 413
            && told.contains("operations[0].put.value")
            && told.contains("max-value-bytes"),
        "{told}"
    );
}

#[tokio::test]
async fn reads_ask_first() {
    let (answer, _, asked) = send(request("GET", "/kv/a", &[], ""), vec![Reply::Ready]).await;
    assert_eq!(
        (answer.status().as_u16(), asked),
        (404, vec![Request::Read])
    );
    let (answer, body, asked) =
        send(request("GET", "/kv?prefix=a", &[], ""), vec![Reply::Ready]).await;
    assert_eq!(
        (answer.status().as_u16(), body.as_str(), asked),
        (200, r#"{"revision":0,"entries":[]}"#, vec![Request::Read])
    );
    assert_eq!(answer.headers()["quorate-revision"], "0");
    assert!(!answer.headers().contains_key(MAX_AGE));
}

#[tokio::test]
async fn a_stale_read_states_its_age() {
    let sent = Some(Duration::from_millis(1000));
    let (answer, _, asked) = send(
        request("GET", "/kv?consistency=stale", &[], ""),
        vec![Reply::Stale { sent }],
    )
    .await;
    assert_eq!(
        (&answer.headers()[MAX_AGE], asked),
        (&"501".parse().unwrap(), vec![Request::StaleRead])
    );
    let (answer, ..) = send(
        request("GET", "/kv?consistency=stale", &[], ""),
        vec![Reply::Stale { sent: None }],
    )
    .await;
    assert!(
        answer.status() == 200 && !answer.headers().contains_key(MAX_AGE),
        "no bound, no header"
    );
}

#[tokio::test]
async fn a_refusal_of_a_stale_read_states_its_age_too() {
    let sent = Some(Duration::from_millis(1000));
    let (answer, told, _) = send(
        request("GET", "/kv/a?consistency=stale", &[], ""),
        vec![Reply::Stale { sent }],
    )
    .await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()[MAX_AGE]),
        (404, &"501".parse().unwrap())
    );
    assert!(told.contains("no-such-key"), "{told}");
}

#[tokio::test]
async fn sessions_are_opened_and_closed() {
    let opened = Reply::Outcome {
        index: 1,
        outcome: Outcome::Opened {
            session: 9,
            lifetime_ms: 60_000,
        },
    };
    let (answer, body, asked) = send(request("POST", "/sessions", &[], ""), vec![opened]).await;
    assert_eq!(
        (answer.status().as_u16(), body.as_str()),
        (201, r#"{"id":"9","lifetimeMs":60000}"#)
    );
    assert_eq!(
        (&answer.headers()["location"], asked),
        (
            &"/sessions/9".parse().unwrap(),
            vec![Request::OpenSession {
                lifetime_ms: 60_000
            }]
        )
    );
    let closed = Reply::Outcome {
        index: 1,
        outcome: Outcome::Closed,
    };
    let (answer, _, asked) = send(request("DELETE", "/sessions/9", &[], ""), vec![closed]).await;
    assert_eq!(
        (answer.status().as_u16(), asked),
        (204, vec![Request::CloseSession { session: 9 }])
    );
}

#[tokio::test]
async fn an_unknown_outcome_is_504_of_a_write_and_503_of_a_read() {
    let (answer, told, _) = send(request("PUT", "/kv/a", &[], ""), vec![Reply::Unknown]).await;
    assert!(
        answer.status() == 504 && told.contains("https://quorate.dev/problems/outcome-unknown"),
        "{told}"
    );
    let (answer, ..) = send(request("GET", "/kv/a", &[], ""), vec![Reply::Unknown]).await;
    assert!(answer.status() == 503 && answer.headers().contains_key("retry-after"));
}

#[tokio::test]
async fn other_paths_and_methods_are_problems_too() {
    for (method, path, status) in [
        ("GET", "/", 404),
        ("POST", "/kv/a", 405),
        ("PUT", "/kv", 405),
        ("GET", "/sessions", 405),
    ] {
        let (answer, told, _) = send(request(method, path, &[], ""), vec![]).await;
        assert_eq!(answer.status().as_u16(), status, "{method} {path}: {told}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
    }
}
