//! The one outgoing connection to one peer, kept up for as long as the peer is needed.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use quorate_group_core::{Input, PeerBody, PeerMessage, encode_message};
use quorate_raft::{Contact, MemberId};
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::timeout;
use tokio_stream::Stream;
use tonic::{Status, Streaming};

use super::dial::{DialError, dial};
use super::outbox::{Outbox, Outgoing, give_back};
use super::proto::peer_client::PeerClient;
use super::proto::{self, FromReceiver, FromSender, from_receiver, from_sender, refusal::Reason};
use crate::events::{Event, Events};
use crate::metrics::PeerMetrics;
use crate::options::Options;

/// The receiver's answers are small.
const MAX_ANSWER_BYTES: usize = 64 << 10;
const FIRST_RETRY: Duration = Duration::from_millis(20);
const LAST_RETRY: Duration = Duration::from_secs(1);

/// How long to wait before the next attempt: longer each time.
struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST_RETRY }
    }
}

impl Backoff {
    /// With jitter: members that lost the same peer at the same moment must not come back together.
    fn pause(&mut self) -> Duration {
        let longest = self.next;
        self.next = (longest * 2).min(LAST_RETRY);
        longest.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

/// Keeps the connection to one peer up and moves what waits in its outbox.
pub(crate) struct Courier {
    pub(crate) options: Arc<Options>,
    pub(crate) me: MemberId,
    pub(crate) peer: MemberId,
    pub(crate) contact: watch::Receiver<Contact>,
    pub(crate) outbox: Arc<Outbox>,
    /// The peer is there: do not wait out the time before the next attempt.
    pub(crate) nudge: Arc<Notify>,
    pub(crate) events: Events,
    pub(crate) metrics: PeerMetrics,
}

/// Why a connection was not made, or ended.
#[derive(Debug, thiserror::Error)]
enum Parting {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("HTTP/2: {0}")]
    Http(#[from] hyper::Error),
    #[error("{address} is no address of an HTTP server: {source}")]
    Origin {
        address: String,
        source: http::Error,
    },
    #[error("{0}")]
    Call(String),
    #[error("refused: {}", .0.detail)]
    Refused(proto::Refusal),
    #[error(
        "the member there is {0}, of cluster {1}: the address leads to another member than it did"
    )]
    Stranger(MemberId, String),
    #[error("it did not answer within {0:?}")]
    Silent(Duration),
    #[error("the connection ended: {0}")]
    Lost(String),
}

impl Courier {
    /// Runs until it is aborted.
    pub(crate) async fn run(mut self) {
        let mut backoff = Backoff::default();
        let mut told = String::new();
        loop {
            let number = self.outbox.open();
            let mut welcomed = false;
            let parting = self
                .session(number, &mut welcomed)
                .await
                .map_or_else(|parting| parting, |never| match never {});
            self.give_back();
            self.events
                .send(Event::Input(Input::Unreachable(self.peer)));
            if welcomed {
                backoff = Backoff::default();
                told.clear();
            }
            self.tell(&parting, &mut told);
            if let Parting::Refused(refusal) = &parting {
                self.stand_aside(refusal);
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.pause()) => {}
                () = self.nudge.notified() => {}
                _ = self.contact.changed() => {}
            }
        }
    }

    /// What waits is stale when there is a connection again.
    fn give_back(&self) {
        let contact = self.contact.borrow().clone();
        for unsent in self.outbox.close() {
            self.metrics.dropped.inc();
            give_back(self.peer, &contact, unsent, &self.events);
        }
    }

    /// One connection, from the first byte to the last; it only ever ends for a reason.
    async fn session(
        &mut self,
        number: u64,
        welcomed: &mut bool,
    ) -> Result<std::convert::Infallible, Parting> {
        let contact = self.contact.borrow_and_update().clone();
        let silence = self.options.silence();
        let conn = dial(&self.options, &contact.address).await?;
        self.metrics.connections.inc();
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(silence)
            .keep_alive_timeout(silence)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(conn))
            .await?;
        let origin = http::Uri::builder()
            .scheme("http")
            .authority(contact.address.as_str())
            .path_and_query("/")
            .build()
            .map_err(|source| Parting::Origin {
                address: contact.address.clone(),
                source,
            })?;
        let service = tower::service_fn(move |request| {
            let mut sender = sender.clone();
            async move { sender.send_request(request).await }
        });
        let client = PeerClient::with_origin(service, origin)
            .max_decoding_message_size(MAX_ANSWER_BYTES)
            .max_encoding_message_size(self.options.transport.max_frame_bytes);
        let mut connection = pin!(connection);
        tokio::select! {
            ended = &mut connection => {
                Err(Parting::Lost(ended.err().map_or_else(|| "closed by the peer".into(), |error| error.to_string())))
            }
            parting = self.deliver(client, number, &contact, welcomed) => parting,
        }
    }

    async fn deliver<S>(
        &self,
        mut client: PeerClient<S>,
        number: u64,
        contact: &Contact,
        welcomed: &mut bool,
    ) -> Result<std::convert::Infallible, Parting>
    where
        S: tonic::client::GrpcService<tonic::body::Body>,
        S::ResponseBody: hyper::body::Body<Data = bytes::Bytes> + Send + 'static,
        <S::ResponseBody as hyper::body::Body>::Error:
            Into<Box<dyn std::error::Error + Send + Sync>> + Send,
    {
        // The receiver looks at a hello at once; only a stopped one needs longer than this.
        let patience = self.options.silence() * 2;
        let (start, started) = oneshot::channel();
        let frames = Frames {
            opening: Opening::Hello(self.hello()),
            started,
            outbox: Arc::clone(&self.outbox),
            number,
            batch: Vec::new(),
            metrics: self.metrics.clone(),
        };
        let silent = |_| Parting::Silent(patience);
        let mut answers = timeout(patience, client.deliver(frames))
            .await
            .map_err(silent)?
            .map_err(call)?
            .into_inner();
        self.check(
            timeout(patience, answers.message())
                .await
                .map_err(silent)?
                .map_err(call)?,
        )?;
        *welcomed = true;
        tracing::info!(peer = %self.peer, name = contact.name, address = contact.address, "connected to peer");
        let _ = start.send(());
        Err(ended(&mut answers).await)
    }

    fn hello(&self) -> proto::Hello {
        let contact = &self.options.core.contact;
        proto::Hello {
            protocol: proto::PROTOCOL,
            cluster: self.options.cluster.clone(),
            sender: self.me.0,
            name: contact.name.clone(),
            address: contact.address.clone(),
            receiver: self.peer.0,
        }
    }

    /// Both sides refuse a stranger: a receiver of an older version might not look.
    fn check(&self, answer: Option<FromReceiver>) -> Result<(), Parting> {
        match answer.and_then(|answer| answer.kind) {
            Some(from_receiver::Kind::Welcome(welcome))
                if welcome.cluster == self.options.cluster && welcome.receiver == self.peer.0 =>
            {
                Ok(())
            }
            Some(from_receiver::Kind::Welcome(welcome)) => Err(Parting::Stranger(
                MemberId(welcome.receiver),
                welcome.cluster,
            )),
            Some(from_receiver::Kind::Refusal(refusal)) => Err(Parting::Refused(refusal)),
            None => Err(Parting::Call("it answered nothing".into())),
        }
    }

    /// A removed member is not let in any more, so nobody else could tell its groups.
    fn stand_aside(&self, refusal: &proto::Refusal) {
        if refusal.reason() != Reason::Removed {
            return;
        }
        for group in &refusal.groups {
            self.events.send(Event::Input(Input::Peer {
                from: self.peer,
                contact: self.contact.borrow().clone(),
                message: PeerMessage {
                    group: *group,
                    body: PeerBody::YouWereRemoved,
                },
            }));
        }
    }

    /// Said once per change: a peer that stays away for a day is one line, not a hundred thousand.
    fn tell(&self, parting: &Parting, told: &mut String) {
        let text = parting.to_string();
        let contact = self.contact.borrow();
        if *told == text {
            tracing::debug!(peer = %self.peer, name = contact.name, "still no connection to peer: {text}");
        } else {
            tracing::warn!(peer = %self.peer, name = contact.name, address = contact.address, "no connection to peer: {text}");
            *told = text;
        }
    }
}

fn call(status: Status) -> Parting {
    Parting::Call(status.message().to_owned())
}

/// Waits for the end of the call; the receiver says nothing more before.
async fn ended(answers: &mut Streaming<FromReceiver>) -> Parting {
    match answers.message().await {
        Ok(_) => Parting::Lost("the peer ended the call".into()),
        Err(status) => Parting::Lost(status.message().to_owned()),
    }
}

/// What the call sends: a hello, then frames as soon as the receiver has welcomed us.
struct Frames {
    opening: Opening,
    started: oneshot::Receiver<()>,
    outbox: Arc<Outbox>,
    number: u64,
    batch: Vec<Outgoing>,
    metrics: PeerMetrics,
}

enum Opening {
    Hello(proto::Hello),
    Waiting,
    Started,
}

impl Stream for Frames {
    type Item = FromSender;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<FromSender>> {
        let this = self.get_mut();
        if let Opening::Hello(hello) = &mut this.opening {
            let hello = std::mem::take(hello);
            this.opening = Opening::Waiting;
            return Poll::Ready(Some(FromSender {
                kind: Some(from_sender::Kind::Hello(hello)),
            }));
        }
        if matches!(this.opening, Opening::Waiting) {
            if ready!(Pin::new(&mut this.started).poll(cx)).is_err() {
                return Poll::Ready(None);
            }
            this.opening = Opening::Started;
        }
        if !ready!(this.outbox.poll_take(this.number, cx, &mut this.batch)) {
            return Poll::Ready(None);
        }
        this.metrics.sent.inc_by(this.batch.len() as u64);
        let messages = this.batch.drain(..).map(envelope).collect();
        Poll::Ready(Some(FromSender {
            kind: Some(from_sender::Kind::Frame(proto::Frame { messages })),
        }))
    }
}

fn envelope(outgoing: Outgoing) -> proto::Envelope {
    proto::Envelope {
        message: encode_message(&outgoing.message),
        trace: outgoing
            .trace
            .map(quorate_node::trace::TraceContext::to_bytes)
            .unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_differ() {
        let mut all = Vec::new();
        for _ in 0..50 {
            let mut backoff = Backoff::default();
            let pauses: Vec<_> = (0..10).map(|_| backoff.pause()).collect();
            for (pause, longest) in pauses.iter().zip([20, 40, 80, 160, 320, 640, 1000, 1000]) {
                let longest = Duration::from_millis(longest);
                assert!(
                    *pause >= longest / 2 && *pause <= longest,
                    "{pause:?} of {longest:?}"
                );
            }
            all.extend(pauses.last().copied());
        }
        let spread = all
            .iter()
            .max()
            .unwrap()
            .saturating_sub(*all.iter().min().unwrap());
        assert!(spread > LAST_RETRY / 10, "{spread:?}");
    }
}
