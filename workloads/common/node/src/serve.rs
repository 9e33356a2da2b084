//! Serving HTTP on a listener: a bounded number of connections, with or without TLS, drained at the end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::response::IntoResponse;
use http::{HeaderValue, StatusCode, header};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::conn::{Conn, Demand};
use crate::http::problem::Refusal;
use crate::stall::Impatient;
use crate::tls::Tls;
use crate::unreadable::{Answered, Explained, Turn};

/// Whoever has not sent the head of a first request within this time loses the connection. (In tests sooner.)
const FIRST_HEAD: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });
/// Whoever does not send the head of a next request within this time loses the connection; idle ones too, since hyper
/// does not tell a head that comes slowly from one that has not begun.
const NEXT_HEAD: Duration = Duration::from_secs(30);
/// An HTTP/2 connection that answers no ping for this long is gone.
const PING: Duration = Duration::from_secs(20);
/// A client that takes nothing of its answer for this long is gone.
const STALL: Duration = Duration::from_secs(30);
/// The head of an HTTP/2 request: room for keys whose bytes are all percent-encoded.
const MAX_HEAD_BYTES: u32 = 128 << 10;
/// Requests under way on one HTTP/2 connection.
const MAX_STREAMS: u32 = 256;
/// So many connections above the limit are told so; those beyond are closed without a word.
const TOLD: usize = 64;
/// After an accept that failed (no file descriptors, say) the next try waits.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a listener serves.
pub struct Server {
    /// In logs and metrics, as `client`.
    pub name: &'static str,
    /// An open listener.
    pub listener: TcpListener,
    /// Certificates, when it speaks TLS, and what it demands.
    pub tls: Option<Arc<Tls>>,
    /// What clients must show.
    pub demand: Demand,
    /// The most connections at a time.
    pub max_connections: usize,
    /// The routes.
    pub routes: Router,
    /// Counts connections.
    pub metrics: ConnectionMetrics,
}

/// Connections by listener.
#[derive(Clone, Debug)]
pub struct ConnectionMetrics {
    open: IntGaugeVec,
    refused: IntCounterVec,
}

impl ConnectionMetrics {
    /// Registers them.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let open = IntGaugeVec::new(
            Opts::new("quorate_connections", "Open connections"),
            &["listener"],
        )?;
        let refused = IntCounterVec::new(
            Opts::new(
                "quorate_connections_refused_total",
                "Connections refused: over the limit, or the TLS handshake failed",
            ),
            &["listener", "reason"],
        )?;
        registry.register(Box::new(open.clone()))?;
        registry.register(Box::new(refused.clone()))?;
        Ok(Self { open, refused })
    }
}

impl Server {
    /// Serves until `stop`, then lets the requests under way end. Bound the wait for it with
    /// [`crate::shutdown::drain`]; what is still open when the future is dropped is cut off with the runtime.
    pub async fn run(self, stop: CancellationToken) {
        let (within, above) = (
            Arc::new(Semaphore::new(self.max_connections)),
            Arc::new(Semaphore::new(TOLD)),
        );
        let full = Router::new().fallback(refuse(self.max_connections));
        let connections = GracefulShutdown::new();
        loop {
            let (stream, from) = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        tracing::warn!(listener = self.name, %error, "cannot accept connections");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                },
            };
            if let Ok(permit) = within.clone().try_acquire_owned() {
                self.connection(stream, from, permit, self.routes.clone(), &connections);
            } else {
                self.metrics
                    .refused
                    .with_label_values(&[self.name, "limit"])
                    .inc();
                if let Ok(permit) = above.clone().try_acquire_owned() {
                    self.connection(stream, from, permit, full.clone(), &connections);
                }
            }
        }
        drop(self.listener);
        connections.shutdown().await;
    }

    /// Serves one connection in a task of its own: a slow handshake holds up nobody else.
    fn connection(
        &self,
        stream: TcpStream,
        from: SocketAddr,
        permit: OwnedSemaphorePermit,
        routes: Router,
        all: &GracefulShutdown,
    ) {
        let (tls, demand, name, watcher) =
            (self.tls.clone(), self.demand, self.name, all.watcher());
        let (open, refused) = (
            self.metrics.open.with_label_values(&[name]),
            self.metrics.refused.clone(),
        );
        tokio::spawn(async move {
            let _permit = permit;
            // Answers are small and a client waits for each.
            let _ = stream.set_nodelay(true);
            let conn = match Conn::accept(stream, tls.as_ref(), demand).await {
                Ok(conn) => conn,
                Err(error) => {
                    refused.with_label_values(&[name, "tls"]).inc();
                    tracing::info!(listener = name, %from, %error, hint = hint(demand), "a TLS handshake failed");
                    return;
                }
            };
            open.inc();
            let mut builder = auto::Builder::new(TokioExecutor::new());
            builder
                .http1()
                .timer(TokioTimer::new())
                .header_read_timeout(NEXT_HEAD);
            builder
                .http2()
                .timer(TokioTimer::new())
                .keep_alive_interval(PING)
                .max_header_list_size(MAX_HEAD_BYTES)
                .max_concurrent_streams(MAX_STREAMS);
            let asked = AtomicBool::new(false);
            let routes = TowerToHyperService::new(routes);
            let turn = Turn::default();
            let service = service_fn(|request| {
                asked.store(true, Ordering::Relaxed);
                let (answering, answer) = (turn.begin(), routes.call(request));
                async {
                    let mut answer = answer.await?;
                    // axum counts the bytes of every body; of what was not modified the length would be that of what was.
                    if answer.status() == StatusCode::NOT_MODIFIED {
                        answer.headers_mut().remove(header::CONTENT_LENGTH);
                    }
                    Ok::<_, Infallible>(answer.map(|body| Answered::new(body, answering)))
                }
            });
            let conn = Explained::new(Impatient::new(conn, STALL), turn.clone());
            let served = builder.serve_connection(TokioIo::new(conn), service);
            let mut served = pin!(watcher.watch(served));
            // hyper-util waits without end for the bytes that tell HTTP/1 from HTTP/2.
            let ended = match timeout(FIRST_HEAD, &mut served).await {
                Ok(ended) => ended,
                Err(_) if asked.load(Ordering::Relaxed) => served.await,
                Err(late) => Err(late.into()),
            };
            if let Err(error) = ended {
                tracing::debug!(listener = name, %error, "connection ended");
            }
            open.dec();
        });
    }
}

/// What the other side may have missed.
fn hint(demand: Demand) -> &'static str {
    match demand {
        Demand::Nothing => "this listener speaks TLS; the client must trust ca.crt of tls-dir",
        Demand::Certificate => {
            "clients of this listener must show a certificate of the authority in ca.crt of tls-dir"
        }
    }
}

/// Answers every request: too many connections.
fn refuse(limit: usize) -> axum::routing::MethodRouter {
    axum::routing::any(move || async move {
        let detail = format!(
            "This member already has {limit} connections. Close some, use another member, or raise max-connections."
        );
        let refusal = Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too-many-connections",
            "Too many connections",
            detail,
        );
        let close = [(header::CONNECTION, HeaderValue::from_static("close"))];
        (close, refusal.retry_after(Duration::from_secs(1))).into_response()
    })
}

#[cfg(test)]
mod tests {
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
        let metrics = ConnectionMetrics::new(&Registry::new()).unwrap();
        let server = Server {
            name: "client",
            listener,
            tls: None,
            demand: Demand::Nothing,
            max_connections,
            routes,
            metrics,
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
            let head = format!("{method} / HTTP/1.1\r\nconnection: close\r\n\r\n");
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
            let head = format!("GET {path} HTTP/1.1\r\nconnection: close\r\n\r\n");
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
}
