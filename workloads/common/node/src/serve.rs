//! Serving HTTP on a listener: a bounded number of connections, with or without TLS, drained at the end.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::IntoResponse;
use http::{HeaderValue, StatusCode, Version, header};
use hyper::body::Incoming;
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
use crate::flow::Flow;
use crate::http::admission::Held;
use crate::http::callers::{Callers, let_in};
use crate::http::linger::linger;
use crate::http::metrics::HttpMetrics;
use crate::http::observe::{Observed, observe};
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
/// A client that takes nothing of its answer for this long is gone. (In tests sooner.)
const STALL: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 30 });
/// The head of an HTTP/2 request: room for keys whose bytes are all percent-encoded.
const MAX_HEAD_BYTES: u32 = 128 << 10;
/// Requests under way on one HTTP/2 connection.
const MAX_STREAMS: u32 = 256;
/// So many connections above the limit are told so; those beyond are closed without a word.
pub(crate) const TOLD: usize = 64;
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
    /// Who may call.
    pub callers: Callers,
    /// The most connections at a time.
    pub max_connections: usize,
    /// The routes.
    pub routes: Router,
    /// Counts connections.
    pub connections: ConnectionMetrics,
    /// Counts requests.
    pub requests: HttpMetrics,
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
    pub async fn run(mut self, stop: CancellationToken) {
        self.routes = self.guarded();
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
                self.connections
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

    /// The routes, and before them what every listener demands: what is not let in is counted and told all the same, to
    /// clients that still send too.
    fn guarded(&mut self) -> Router {
        let callers = Arc::new(std::mem::take(&mut self.callers));
        let routes = std::mem::take(&mut self.routes)
            .layer(from_fn_with_state(callers, let_in))
            .layer(from_fn(linger));
        let observed = Observed {
            listener: self.name,
            metrics: self.requests.clone(),
        };
        observe(routes, observed)
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
            self.connections.open.with_label_values(&[name]),
            self.connections.refused.clone(),
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
            let (turn, held, flow) = (Turn::default(), Held::default(), Flow::default());
            let service = service_fn(|mut request: http::Request<Incoming>| {
                asked.store(true, Ordering::Relaxed);
                request.extensions_mut().insert(held.clone());
                let flow = (request.version() == Version::HTTP_2).then(|| flow.clone());
                let (answering, answer) = (turn.begin(), routes.call(request));
                async move {
                    let mut answer = answer.await?;
                    let sending = flow.map(|flow| flow.begin());
                    // axum counts the bytes of every body; of what was not modified the length would be that of what was,
                    // and of no content there is none to tell (RFC 9110, section 8.6).
                    let has_no_length = [StatusCode::NOT_MODIFIED, StatusCode::NO_CONTENT];
                    if has_no_length.contains(&answer.status()) {
                        answer.headers_mut().remove(header::CONTENT_LENGTH);
                    }
                    Ok::<_, Infallible>(answer.map(|body| Answered::new(body, answering, sending)))
                }
            });
            let conn = Explained::new(Impatient::new(conn, STALL), turn.clone());
            let served = builder.serve_connection(TokioIo::new(conn), service);
            let mut served = pin!(async {
                tokio::select! {
                    ended = watcher.watch(served) => ended,
                    () = flow.stalled(STALL) => Err(std::io::Error::from(ErrorKind::TimedOut).into()),
                }
            });
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
            "This member already has {limit} connections. Close some, use another member, or raise max-connections (and its limit of open files)."
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
mod tests;
