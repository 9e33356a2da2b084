//! The incoming side of the transport: who may come in, and what they bring.

use std::collections::BTreeMap;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use quorate_group_core::{PeerMessage, decode_message};
use quorate_node::conn::{Conn, Demand};
use quorate_node::trace::TraceContext;
use quorate_raft::{Contact, MemberId};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use tower::Service;

use super::guard::Guarded;
use super::proto::peer_server::{Peer, PeerServer};
use super::proto::{self, FromReceiver, FromSender, from_receiver, from_sender, refusal::Reason};
use crate::events::{Admission, Event, Events};
use crate::metrics::Metrics;
use crate::options::Options;

/// Who connects says hello within this time, or leaves.
const HELLO: Duration = Duration::from_secs(5);
const MAX_NAME_BYTES: usize = 253;
/// A listener that fails (out of file descriptors, say) is tried again after this.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The messages of a frame, and who sent it.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) from: MemberId,
    pub(crate) contact: Contact,
    pub(crate) messages: Vec<(PeerMessage, Option<TraceContext>)>,
}

/// Lets peers in.
pub(crate) struct Door {
    pub(crate) options: Arc<Options>,
    pub(crate) me: MemberId,
    pub(crate) events: Events,
    pub(crate) deliveries: mpsc::Sender<Delivery>,
    pub(crate) metrics: Arc<Metrics>,
    /// The one call of each sender.
    pub(crate) calls: Mutex<BTreeMap<MemberId, Call>>,
}

/// A call that goes on.
pub(crate) struct Call {
    number: u64,
    end: CancellationToken,
}

impl Door {
    /// Takes connections until `stop`.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(self.options.transport.incoming_connections));
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = connections.join_next() => continue,
                accepted = listener.accept() => accepted,
            };
            match (accepted, Arc::clone(&places).try_acquire_owned()) {
                (Ok((tcp, _)), Ok(place)) => {
                    connections.spawn(Arc::clone(&self).connection(tcp, place));
                }
                (Ok((_, from)), Err(_)) => {
                    tracing::warn!(%from, limit = self.options.transport.incoming_connections, "too many peer connections: one was closed");
                }
                (Err(error), _) => {
                    tracing::warn!(%error, "the peer listener cannot take a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn connection(self: Arc<Self>, tcp: TcpStream, _place: OwnedSemaphorePermit) {
        let from = tcp
            .peer_addr()
            .map_or_else(|_| "?".into(), |address| address.to_string());
        if let Err(error) = self.converse(tcp).await {
            tracing::debug!(from, %error, "a peer's connection ended");
        }
    }

    async fn converse(self: Arc<Self>, tcp: TcpStream) -> io::Result<()> {
        tcp.set_nodelay(true)?;
        let silence = self.options.silence();
        let from = tcp.peer_addr()?;
        let conn = Conn::accept(tcp, self.options.tls.as_ref(), Demand::Certificate)
            .await
            .inspect_err(|error| tracing::info!(%from, %error, "a peer's TLS handshake failed"))?;
        let greeted = Arc::new(AtomicBool::new(false));
        let max_frame = self.options.transport.max_frame_bytes;
        let window = u32::try_from(self.options.transport.frame_bytes.saturating_mul(4))
            .unwrap_or(u32::MAX)
            .min(1 << 30);
        let service = PeerServer::new(Reception {
            door: Arc::clone(&self),
            greeted: Arc::clone(&greeted),
        })
        .max_decoding_message_size(max_frame);
        let guarding = Arc::clone(&greeted);
        let service = tower::service_fn(move |request: http::Request<Incoming>| {
            let guarding = Arc::clone(&guarding);
            service
                .clone()
                .call(request.map(|body| Guarded::new(body, guarding)))
        });
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(silence)
            .keep_alive_timeout(silence)
            .initial_stream_window_size(window)
            .initial_connection_window_size(window)
            .max_concurrent_streams(2)
            .serve_connection(TokioIo::new(conn), TowerToHyperService::new(service));
        let mut connection = pin!(connection);
        match timeout(HELLO, &mut connection).await {
            Ok(ended) => ended,
            Err(_) if !greeted.load(Ordering::Relaxed) => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(_) => connection.await,
        }
        .map_err(io::Error::other)
    }

    /// Whether the sender of this hello may come in.
    async fn admit(&self, hello: &proto::Hello) -> Result<(), proto::Refusal> {
        let sender = MemberId(hello.sender);
        if hello.protocol != proto::PROTOCOL {
            let spoken = proto::PROTOCOL;
            return Err(refuse(
                Reason::Protocol,
                format!(
                    "this member speaks version {spoken} of the peer protocol, not {}",
                    hello.protocol
                ),
            ));
        }
        if hello.cluster != self.options.cluster {
            return Err(refuse(
                Reason::Cluster,
                format!(
                    "this member belongs to cluster {}, not {}: correct the address or the claim",
                    self.options.cluster, hello.cluster
                ),
            ));
        }
        if hello.receiver != self.me.0 {
            return Err(refuse(
                Reason::Identity,
                format!(
                    "the identity on this disk is {}, not {}: remove that one from the group and add this one",
                    self.me,
                    MemberId(hello.receiver)
                ),
            ));
        }
        if sender == self.me || sender.0 == 0 {
            return Err(refuse(
                Reason::Identity,
                format!("{sender} cannot be the sender's identity here: was a disk copied?"),
            ));
        }
        if hello.name.len() > MAX_NAME_BYTES || hello.address.len() > MAX_NAME_BYTES + 6 {
            return Err(refuse(
                Reason::Malformed,
                format!("name and address may have {MAX_NAME_BYTES} bytes"),
            ));
        }
        let (answer, asked) = oneshot::channel();
        self.events.send(Event::Hello {
            from: sender,
            name: hello.name.clone(),
            answer,
        });
        match asked.await {
            Ok(Admission::Welcome) => Ok(()),
            Ok(Admission::Known(known)) => {
                let detail = format!(
                    "{sender} is {known}, not {}: its disk is a copy of that member's; remove it and give it an empty folder",
                    hello.name
                );
                Err(refuse(Reason::Identity, detail))
            }
            Ok(Admission::Removed(groups)) => {
                let detail =
                    format!("{sender} was removed from the group: its data is to be set aside");
                Err(proto::Refusal {
                    groups,
                    ..refuse(Reason::Removed, detail)
                })
            }
            Err(_) => Err(refuse(Reason::Busy, "this member is stopping".into())),
        }
    }

    /// Registers the sender's call; an earlier one ends: its connection is a remnant.
    fn register(&self, from: MemberId) -> Result<(u64, CancellationToken), proto::Refusal> {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if calls.len() >= self.options.transport.incoming_connections && !calls.contains_key(&from)
        {
            return Err(refuse(
                Reason::Busy,
                format!("{} senders are connected already", calls.len()),
            ));
        }
        let end = CancellationToken::new();
        let number = calls.get(&from).map_or(0, |call| call.number + 1);
        if let Some(earlier) = calls.insert(
            from,
            Call {
                number,
                end: end.clone(),
            },
        ) {
            earlier.end.cancel();
        }
        self.metrics.incoming.set(calls.len() as i64);
        Ok((number, end))
    }

    fn unregister(&self, from: MemberId, number: u64) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if calls.get(&from).is_some_and(|call| call.number == number) {
            calls.remove(&from);
        }
        self.metrics.incoming.set(calls.len() as i64);
    }

    /// Takes frames until the call ends. When the driver does not keep up, HTTP/2's window stops the sender.
    async fn receive(
        &self,
        from: MemberId,
        contact: Contact,
        mut stream: Streaming<FromSender>,
    ) -> Result<(), Status> {
        while let Some(item) = stream.message().await? {
            let Some(from_sender::Kind::Frame(frame)) = item.kind else {
                return Err(Status::invalid_argument("only frames may follow a hello"));
            };
            let messages = decode(frame)?;
            self.metrics.received.inc_by(messages.len() as u64);
            let delivery = Delivery {
                from,
                contact: contact.clone(),
                messages,
            };
            if self.deliveries.send(delivery).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}

fn decode(frame: proto::Frame) -> Result<Vec<(PeerMessage, Option<TraceContext>)>, Status> {
    let one = |envelope: proto::Envelope| {
        let trace = TraceContext::from_bytes(&envelope.trace);
        let message = decode_message(envelope.message)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        Ok((message, trace))
    };
    frame.messages.into_iter().map(one).collect()
}

fn refuse(reason: Reason, detail: String) -> proto::Refusal {
    proto::Refusal {
        reason: reason.into(),
        detail,
        groups: Vec::new(),
    }
}

/// The service of one connection.
struct Reception {
    door: Arc<Door>,
    greeted: Arc<AtomicBool>,
}

type Answers = ReceiverStream<Result<FromReceiver, Status>>;

impl Reception {
    async fn hello(
        &self,
        stream: &mut Streaming<FromSender>,
    ) -> Result<proto::Hello, proto::Refusal> {
        let late = |_| refuse(Reason::Malformed, format!("no hello within {HELLO:?}"));
        match timeout(HELLO, stream.message()).await.map_err(late)? {
            Ok(Some(FromSender {
                kind: Some(from_sender::Kind::Hello(hello)),
            })) => Ok(hello),
            Ok(_) => Err(refuse(
                Reason::Malformed,
                "the first message must be a hello".into(),
            )),
            Err(status) => Err(refuse(Reason::Malformed, status.message().to_owned())),
        }
    }

    async fn enter(
        &self,
        stream: &mut Streaming<FromSender>,
    ) -> Result<(proto::Hello, u64, CancellationToken), proto::Refusal> {
        let hello = self.hello(stream).await?;
        self.door.admit(&hello).await.inspect_err(|refusal| {
            tracing::debug!(name = hello.name, sender = %MemberId(hello.sender), "a peer was refused: {}", refusal.detail);
        })?;
        let (number, end) = self.door.register(MemberId(hello.sender))?;
        Ok((hello, number, end))
    }
}

#[tonic::async_trait]
impl Peer for Reception {
    type DeliverStream = Answers;

    async fn deliver(
        &self,
        request: Request<Streaming<FromSender>>,
    ) -> Result<Response<Answers>, Status> {
        let mut stream = request.into_inner();
        let (answer, answers) = mpsc::channel(1);
        let entered = self.enter(&mut stream).await;
        let kind = match &entered {
            Ok(_) => from_receiver::Kind::Welcome(proto::Welcome {
                cluster: self.door.options.cluster.clone(),
                receiver: self.door.me.0,
            }),
            Err(refusal) => from_receiver::Kind::Refusal(refusal.clone()),
        };
        let _ = answer.try_send(Ok(FromReceiver { kind: Some(kind) }));
        if let Ok((hello, number, end)) = entered {
            self.greeted.store(true, Ordering::Relaxed);
            let door = Arc::clone(&self.door);
            tokio::spawn(async move {
                let from = MemberId(hello.sender);
                let contact = Contact {
                    name: hello.name,
                    address: hello.address,
                };
                let name = contact.name.clone();
                tokio::select! {
                    () = end.cancelled() => tracing::debug!(%from, name, "a newer connection took this one's place"),
                    received = door.receive(from, contact, stream) => if let Err(status) = received {
                        tracing::info!(%from, name, "a peer's messages ended: {}", status.message());
                        let _ = answer.try_send(Err(status));
                    },
                }
                door.unregister(from, number);
            });
        }
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}
