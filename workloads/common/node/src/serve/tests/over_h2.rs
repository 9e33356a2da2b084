//! What HTTP/2 has of its own.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::http::admission::Admission;

/// A frame of HTTP/2 on stream 1 (or, for SETTINGS, on the connection).
fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let stream = if kind == SETTINGS { 0 } else { 1 };
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags, 0, 0, 0, stream]);
    frame.extend(payload);
    frame
}

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM_AND_HEADERS: u8 = 5;

/// Sends a request over HTTP/2 as no client would (RFC 7541, section 6.2.2: literal and not indexed), and reads the kind of
/// frame that answers it.
async fn answered_over_h2(address: SocketAddr, fields: &[(&str, &str)]) -> u8 {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.as_bytes());
        }
    }
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    sent.extend(frame(SETTINGS, 0, &[]));
    sent.extend(frame(HEADERS, END_STREAM_AND_HEADERS, &block));
    stream.write_all(&sent).await.unwrap();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await.unwrap();
        if [HEADERS, RST_STREAM, GOAWAY].contains(&head[3]) {
            return head[3];
        }
    }
}

/// What RFC 9113, section 8, calls malformed: refused by a problem, or by the reset of its stream, and nothing done.
#[tokio::test]
async fn a_malformed_request_over_http2_is_refused() {
    const PUT: (&str, &str) = (":method", "PUT");
    const HTTP: (&str, &str) = (":scheme", "http");
    const A: (&str, &str) = (":authority", "a");
    const KEY: (&str, &str) = (":path", "/kv/a");
    let (routes, asked) = counted();
    let (address, _stop, _server) = start(64, routes).await;
    let table: &[(&[(&str, &str)], bool)] = &[
        (&[PUT, HTTP, A, KEY], true),
        (&[PUT, HTTP, KEY, ("host", "a")], true),
        // 8.3.1: the target has no fragment, begins with a slash, and is not empty.
        (&[PUT, HTTP, A, (":path", "/kv/a#b")], false),
        (&[PUT, HTTP, A, (":path", "/kv?prefix=a#&limit=5")], false),
        (&[PUT, HTTP, A, (":path", "#")], false),
        (&[PUT, HTTP, A, (":path", "")], false),
        (&[PUT, HTTP, A, (":path", "kv/a")], false),
        (&[PUT, HTTP, A, (":path", "?a")], false),
        (&[PUT, HTTP, A, (":path", "*")], false),
        // 8.3.1: who is asked is named, once and without a user.
        (&[PUT, HTTP, KEY], false),
        (&[PUT, HTTP, A, KEY, ("host", "b")], false),
        (&[PUT, HTTP, A, KEY, ("host", "a"), ("host", "a")], false),
        (&[PUT, HTTP, (":authority", "u@a"), KEY], false),
        // 8.3: pseudo-headers are all there, once, known and first.
        (&[HTTP, A, KEY], false),
        (&[PUT, A, KEY], false),
        (&[PUT, HTTP, A], false),
        (&[PUT, HTTP, A, KEY, KEY], false),
        (&[PUT, HTTP, A, KEY, (":status", "200")], false),
        (&[PUT, HTTP, A, KEY, (":other", "x")], false),
        (&[PUT, HTTP, A, ("x", "y"), KEY], false),
        // 8.2: names are in lower case, and nothing is about the connection.
        (&[PUT, HTTP, A, KEY, ("X", "y")], false),
        (&[PUT, HTTP, A, KEY, ("connection", "close")], false),
        (
            &[PUT, HTTP, A, KEY, ("transfer-encoding", "chunked")],
            false,
        ),
        (&[PUT, HTTP, A, KEY, ("te", "gzip")], false),
        // 8.1.1: the length is the body's.
        (&[PUT, HTTP, A, KEY, ("content-length", "1")], false),
        // RFC 9110, 14.5 and 8.4.
        (
            &[PUT, HTTP, A, KEY, ("content-range", "bytes 3-5/6")],
            false,
        ),
        (&[PUT, HTTP, A, KEY, ("content-encoding", "gzip")], false),
    ];
    for (fields, served) in table {
        let before = asked.load(Ordering::SeqCst);
        let kind = answered_over_h2(address, fields).await;
        let done = asked.load(Ordering::SeqCst) - before;
        assert_eq!(done, usize::from(*served), "{fields:?}: frame {kind}");
        assert!(!served || kind == HEADERS, "{fields:?}: frame {kind}");
    }
}

/// `third-party/README.md`: over HTTP/2 nobody but the crate `http` sees the fragment.
#[test]
fn a_fragment_in_a_target_is_refused() {
    for target in ["/a#b", "/a?b#c", "http://a#b", "#"] {
        assert!(target.parse::<http::Uri>().is_err(), "{target}");
    }
}

#[tokio::test]
async fn no_content_has_no_length() {
    let nothing = axum::routing::delete(|| async { StatusCode::NO_CONTENT });
    let (address, _stop, _server) = start(8, Router::new().route("/", nothing)).await;
    let request = http::Request::delete("http://a/").body(axum::body::Body::empty());
    let mut sender = client(address, 1 << 16).await;
    let answer = sender.send_request(request.unwrap()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    assert_eq!(answer.headers().get(header::CONTENT_LENGTH), None);
    let answer = exchange(
        address,
        "DELETE / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(
        answer.starts_with("HTTP/1.1 204") && !answer.contains("content-length"),
        "{answer}"
    );
}

/// A client of HTTP/2 that opens a window of so many bytes for each answer.
async fn client(
    address: SocketAddr,
    window: u32,
) -> hyper::client::conn::http2::SendRequest<axum::body::Body> {
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(window)
        .handshake(stream)
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

async fn status_of(
    sender: &mut hyper::client::conn::http2::SendRequest<axum::body::Body>,
) -> (StatusCode, Incoming) {
    let request = http::Request::get("http://a/").body(axum::body::Body::empty());
    let answer = sender.send_request(request.unwrap()).await.unwrap();
    (answer.status(), answer.into_body())
}

#[tokio::test]
async fn an_answer_that_does_not_flow_costs_its_connection() {
    const LENGTH: usize = 100_000;
    let admission = Arc::new(Admission::new(8, LENGTH));
    let large = move |held: Held| {
        let answer = admission.answer(&held, vec![b'x'; LENGTH].into());
        async { answer }
    };
    let routes = Router::new().route("/", axum::routing::get(large));
    let (address, _stop, _server) = start(8, routes).await;
    // Not a byte is taken; some are, and then no more.
    for window in [0, 10] {
        let mut sender = client(address, window).await;
        let (status, answer) = status_of(&mut sender).await;
        assert_eq!(status, 200, "window {window}");
        let mut other = client(address, 1 << 20).await;
        assert_eq!(status_of(&mut other).await.0, 429, "it holds all");
        let closed = async {
            while sender.ready().await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let closed = timeout(STALL * 10, closed).await;
        assert!(closed.is_ok(), "window {window}: the connection stays");
        drop(answer);
    }
    // Who reads keeps the connection, idle or not, and finds room again.
    let mut sender = client(address, 1 << 16).await;
    for _ in 0..2 {
        let (status, body) = status_of(&mut sender).await;
        assert_eq!(status, 200);
        let read = axum::body::to_bytes(axum::body::Body::new(body), LENGTH);
        assert_eq!(read.await.unwrap().len(), LENGTH);
        tokio::time::sleep(STALL + STALL / 2).await;
    }
}
