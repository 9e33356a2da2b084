mod over_h2;

use std::sync::atomic::AtomicUsize;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

async fn start(
    max_connections: usize,
    routes: Router,
) -> (
    std::net::SocketAddr,
    CancellationToken,
    tokio::task::JoinHandle<()>,
) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let registry = Registry::new();
    let connections = ConnectionMetrics::new(&registry).unwrap();
    let requests = HttpMetrics::new(&registry).unwrap();
    let server = Server {
        name: "client",
        listener,
        tls: None,
        demand: Demand::Nothing,
        callers: Callers::default(),
        max_connections,
        routes,
        connections,
        requests,
    };
    (address, stop.clone(), tokio::spawn(server.run(stop)))
}

async fn ask(stream: &mut TcpStream) -> String {
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let mut answer = [0; 1024];
    let read = stream.read(&mut answer).await.unwrap();
    String::from_utf8(answer[..read].to_vec()).unwrap()
}

#[tokio::test]
async fn a_connection_above_the_limit_is_told_so() {
    let (address, _stop, _server) = start(
        1,
        Router::new().route("/", axum::routing::get(|| async { "hello" })),
    )
    .await;
    let mut first = TcpStream::connect(address).await.unwrap();
    assert!(ask(&mut first).await.ends_with("hello"));
    let mut second = TcpStream::connect(address).await.unwrap();
    let answer = ask(&mut second).await;
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.contains("max-connections"),
        "{answer}"
    );
    drop((first, second));
    for _ in 0..100 {
        if ask(&mut TcpStream::connect(address).await.unwrap())
            .await
            .ends_with("hello")
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("a closed connection makes no room");
}

#[tokio::test]
async fn who_asks_nothing_loses_the_connection() {
    let (address, _stop, _server) = start(
        8,
        Router::new().route("/", axum::routing::get(|| async { "hello" })),
    )
    .await;
    // Silent, amid what might become HTTP/2, and amid a head.
    for begun in ["", "PRI * HT", "GET / HTTP/1.1\r\nhost:"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        let ended = timeout(FIRST_HEAD * 10, stream.read(&mut [0])).await;
        let ended = ended.expect("the connection stays");
        assert!(matches!(ended, Ok(0) | Err(_)), "{begun:?}: {ended:?}");
    }
    let mut kept = TcpStream::connect(address).await.unwrap();
    assert!(ask(&mut kept).await.ends_with("hello"));
    tokio::time::sleep(FIRST_HEAD + Duration::from_millis(200)).await;
    assert!(
        ask(&mut kept).await.ends_with("hello"),
        "who has asked may be idle for longer"
    );
}

#[tokio::test]
async fn what_is_no_request_is_answered_with_a_problem() {
    let hello = Router::new().route("/", axum::routing::get(|| async { "hello" }));
    let (address, _stop, _server) = start(8, hello).await;
    let long = "a".repeat(70 << 10);
    let headers = "x: y\r\n".repeat(101);
    for (head, status, word) in [
        ("GET /\u{1} HTTP/1.1\r\n\r\n".into(), 400, "control byte"),
        ("GET / HTTP/1.1\r\n: no name\r\n\r\n".into(), 400, "header"),
        (format!("GET /{long} HTTP/1.1\r\n\r\n"), 414, "64 KiB"),
        (
            format!("GET / HTTP/1.1\r\n{headers}\r\n"),
            431,
            "100 headers",
        ),
        (
            format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", long.repeat(20)),
            431,
            "400 KiB",
        ),
    ] {
        for asked_before in [false, true] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            if asked_before {
                assert!(ask(&mut stream).await.ends_with("hello"));
            }
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
            for header in [
                "content-type: application/problem+json".to_owned(),
                format!("content-length: {}", body.len()),
            ] {
                assert_eq!(head.matches(&header).count(), 1, "{header} in {answer}");
            }
            let problem: quorate_wire::Problem = serde_json::from_str(body).unwrap();
            assert_eq!(problem.status, status);
            assert!(problem.detail.contains(word), "{problem:?}");
        }
    }
    for asked_before in [false, true] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        if asked_before {
            assert!(ask(&mut stream).await.ends_with("hello"));
        }
        for part in ["HE", "AD / HTTP/1.1\r\n: no name\r\n\r\n"] {
            stream.write_all(part.as_bytes()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.ends_with("\r\n\r\n"), "HEAD has no body: {answer}");
    }
}

#[tokio::test]
async fn what_is_not_modified_has_no_length() {
    let unmodified = axum::routing::get(|| async { StatusCode::NOT_MODIFIED });
    let (address, _stop, _server) = start(8, Router::new().route("/", unmodified)).await;
    for method in ["GET", "HEAD"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("{method} / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 304") && !answer.contains("content-length"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn an_answer_that_looks_like_a_refusal_of_hyper_is_left_alone() {
    const ALIKE: &str = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
    let pieces = || async {
        let (mut sender, body) = tokio::io::duplex(1 << 10);
        tokio::spawn(async move {
            for _ in 0..3 {
                tokio::time::sleep(Duration::from_millis(30)).await;
                sender.write_all(ALIKE.as_bytes()).await.unwrap();
            }
        });
        let length = [(header::CONTENT_LENGTH, (ALIKE.len() * 3).to_string())];
        (length, axum::body::Body::new(Pieces(body)))
    };
    let refused = || async { StatusCode::BAD_REQUEST };
    let routes = Router::new()
        .route("/", axum::routing::get(pieces))
        .route("/refused", axum::routing::get(refused));
    let (address, _stop, _server) = start(8, routes).await;
    for (path, end) in [("/", ALIKE.repeat(3)), ("/refused", "\r\n\r\n".to_owned())] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(
            answer.ends_with(&end) && !answer.contains("problem"),
            "{answer}"
        );
    }
}

/// A body of what arrives, piece by piece.
struct Pieces(tokio::io::DuplexStream);

impl hyper::body::Body for Pieces {
    type Data = hyper::body::Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<std::io::Result<hyper::body::Frame<Self::Data>>>> {
        let mut piece = [0; 1 << 10];
        let mut piece = tokio::io::ReadBuf::new(&mut piece);
        std::task::ready!(tokio::io::AsyncRead::poll_read(
            std::pin::Pin::new(&mut self.0),
            cx,
            &mut piece
        ))?;
        let piece = hyper::body::Bytes::copy_from_slice(piece.filled());
        std::task::Poll::Ready((!piece.is_empty()).then(|| Ok(hyper::body::Frame::data(piece))))
    }
}

#[tokio::test]
async fn a_request_under_way_is_answered_before_the_end() {
    let slow = axum::routing::get(|| async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        "hello"
    });
    let (address, stop, server) = start(8, Router::new().route("/", slow)).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut idle = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(30)).await;
    stop.cancel();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("hello"), "{answer}");
    assert_eq!(
        idle.read(&mut [0]).await.unwrap(),
        0,
        "an idle connection is closed"
    );
    server.await.unwrap();
    assert!(
        TcpStream::connect(address).await.is_err(),
        "nobody listens any more"
    );
}

/// One request on a connection of its own, and all that comes back.
async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

/// Routes that count how often a handler is asked.
fn counted() -> (Router, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&asked);
    let handler = move |body: hyper::body::Bytes| async move {
        counting.fetch_add(1, Ordering::SeqCst);
        body
    };
    (Router::new().fallback(handler), asked)
}

/// What RFC 9110 and 9112 demand of a server on targets, Host, framing and ranges: each row a MUST (or what is refused so
/// that no MUST is broken), as bytes on the wire.
#[tokio::test]
async fn a_request_that_says_something_else_than_it_seems_is_refused() {
    let (routes, asked) = counted();
    let (address, _stop, _server) = start(8, routes).await;
    const SERVED: u16 = 200;
    let table: &[(&str, &str, u16)] = &[
        // RFC 9112, section 3.2: a target has no fragment, and is one of four forms.
        ("9112 3.2", "PUT /kv/a#b HTTP/1.1\r\nHost: a\r\n", 400),
        ("9112 3.2", "DELETE /kv/a#e HTTP/1.1\r\nHost: a\r\n", 400),
        (
            "9112 3.2",
            "GET /kv?prefix=a#&limit=5 HTTP/1.1\r\nHost: a\r\n",
            400,
        ),
        ("9112 3.2", "GET http://a#b HTTP/1.1\r\nHost: a\r\n", 400),
        ("9112 3.2", "GET /kv/%23 HTTP/1.1\r\nHost: a\r\n", SERVED),
        ("9112 3.2", "GET /a b HTTP/1.1\r\nHost: a\r\n", 400),
        ("9112 3.2.1", "GET a HTTP/1.1\r\nHost: a\r\n", 400),
        (
            "9112 3.2.2",
            "GET http://a/b HTTP/1.1\r\nHost: b\r\n",
            SERVED,
        ),
        (
            "9110 4.2.4",
            "GET http://u:p@a/b HTTP/1.1\r\nHost: a\r\n",
            400,
        ),
        ("9112 3.2.4", "GET * HTTP/1.1\r\nHost: a\r\n", 400),
        // RFC 9112, section 3.2: one Host, and a sound one.
        ("9112 3.2", "GET / HTTP/1.1\r\n", 400),
        ("9112 3.2", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n", 400),
        ("9112 3.2", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n", 400),
        ("9112 3.2", "GET / HTTP/1.1\r\nHost: a/b\r\n", 400),
        ("9112 3.2", "GET http://a/ HTTP/1.1\r\n", 400),
        ("9110 4.2.1", "GET / HTTP/1.1\r\nHost:\r\n", 400),
        ("9112 3.2", "GET / HTTP/1.0\r\n", SERVED),
        // RFC 9112, section 5: header lines.
        ("9112 5.1", "GET / HTTP/1.1\r\nHost : a\r\n", 400),
        (
            "9112 5.2",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n",
            400,
        ),
        ("9112 2.2", "GET / HTTP/1.1\r\n Host: a\r\n", 400),
        ("9110 5.5", "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n", 400),
        // RFC 9112, section 6: where a body ends, and what it is.
        (
            "9112 6.1",
            "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n",
            501,
        ),
        (
            "9112 6.1",
            "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n",
            400,
        ),
        (
            "9112 6.1",
            "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            400,
        ),
        (
            "9112 6.3",
            "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n",
            400,
        ),
        (
            "9112 6.3",
            "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n",
            400,
        ),
        (
            "9112 6.1",
            "PUT / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n",
            400,
        ),
        (
            "9112 6.3",
            "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
            400,
        ),
        (
            "9112 6.3",
            "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 2\r\n",
            400,
        ),
        (
            "9110 8.6",
            "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n",
            400,
        ),
        (
            "9110 8.6",
            "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n",
            400,
        ),
        // RFC 9110, section 14: a part is not the whole; with other methods, and of reads, ranges are ignored.
        (
            "9110 14.5",
            "PUT / HTTP/1.1\r\nHost: a\r\nContent-Range: bytes 3-5/6\r\nContent-Length: 0\r\n",
            400,
        ),
        (
            "9110 14.4",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Range: bytes 3-5/6\r\nContent-Length: 0\r\n",
            SERVED,
        ),
        (
            "9110 14.2",
            "GET / HTTP/1.1\r\nHost: a\r\nRange: bytes=1-2\r\n",
            SERVED,
        ),
        // RFC 9110, section 8.4.
        (
            "9110 8.4",
            "PUT / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n",
            415,
        ),
    ];
    for (section, head, status) in table {
        let before = asked.load(Ordering::SeqCst);
        // A body in chunks, for those who read one.
        let body = match head.contains("chunked") {
            true => "1\r\nx\r\n0\r\n\r\n",
            false => "",
        };
        let request = format!("{head}Connection: close\r\n\r\n{body}");
        let answer = exchange(address, &request).await;
        let told = answer.split(' ').nth(1).unwrap_or_default();
        assert_eq!(told, status.to_string(), "RFC {section}: {head}\n{answer}");
        let served = asked.load(Ordering::SeqCst) - before;
        assert_eq!(served, usize::from(*status == SERVED), "{head}");
        if *status != SERVED {
            assert!(
                answer.contains("application/problem+json"),
                "{head}\n{answer}"
            );
        }
    }
}

/// Where a body ends is said in two ways, or a coding was refused: the connection is not used again (RFC 9112, 6.1).
#[tokio::test]
async fn no_request_follows_one_whose_end_is_in_doubt() {
    let (routes, asked) = counted();
    let (address, _stop, _server) = start(8, routes).await;
    for (framing, served) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", 1),
        ("Transfer-Encoding: gzip, chunked", 0),
        ("Transfer-Encoding: chunked, chunked", 0),
    ] {
        let before = asked.load(Ordering::SeqCst);
        let next = "PUT /next HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
        let request = format!("PUT / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n0\r\n\r\n{next}");
        let answer = exchange(address, &request).await;
        assert_eq!(
            answer.matches("HTTP/1.1 ").count(),
            1,
            "{framing}: {answer}"
        );
        assert_eq!(asked.load(Ordering::SeqCst) - before, served, "{framing}");
    }
}
