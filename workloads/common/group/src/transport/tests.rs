//! Couriers and doors over loopback, without groups behind them.

mod certificates;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use prometheus::Registry;
use quorate_group_core::{Config, Input, PeerBody, PeerMessage, Refused, Reply};
use quorate_node::resolve::Resolver;
use quorate_node::tls::Tls;
use quorate_node::trace::TraceContext;
use quorate_raft::{Contact, MemberId};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::door::{Delivery, Door};
use super::outbox::Outgoing;
use super::peers::Peers;
use super::proto::peer_server::{Peer, PeerServer};
use super::proto::{FromReceiver, FromSender, Welcome, from_receiver, from_sender};
use crate::events::{Admission, Event, Events};
use crate::metrics::Metrics;
use crate::options::{Options, TransportLimits};

/// Long enough for a machine that does eight other things.
const PATIENCE: Duration = Duration::from_secs(20);

/// One member's transport.
struct End {
    me: MemberId,
    contact: Contact,
    options: Arc<Options>,
    peers: Peers,
    inputs: mpsc::UnboundedReceiver<Input>,
    deliveries: mpsc::Receiver<Delivery>,
    registry: Registry,
    stop: CancellationToken,
    _tasks: tokio::task::JoinSet<()>,
}

/// What is different in a test.
#[derive(Clone)]
struct Setup {
    cluster: &'static str,
    ip: &'static str,
    at: Option<SocketAddr>,
    tls: Option<Arc<Tls>>,
    resolver: Arc<Resolver>,
    removed: Option<MemberId>,
    max_frame_bytes: usize,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            cluster: "c-1",
            ip: "127.0.0.1",
            at: None,
            tls: None,
            resolver: Arc::default(),
            removed: None,
            max_frame_bytes: TransportLimits::default().max_frame_bytes,
        }
    }
}

impl End {
    async fn open(id: u64, setup: Setup) -> Self {
        let ip: IpAddr = setup.ip.parse().unwrap();
        let listener = TcpListener::bind(setup.at.unwrap_or(SocketAddr::new(ip, 0)))
            .await
            .unwrap();
        let contact = Contact {
            name: format!("m-{id}"),
            address: listener.local_addr().unwrap().to_string(),
        };
        let core = Config {
            election_timeout: Duration::from_millis(600),
            ..Config::new(contact.clone(), id)
        };
        let mut options = Options::new(setup.cluster, core, ip);
        options.tls = setup.tls;
        options.resolver = setup.resolver;
        options.transport.max_frame_bytes = setup.max_frame_bytes;
        let options = Arc::new(options);
        let registry = Registry::new();
        let metrics = Arc::new(Metrics::new(&registry).unwrap());
        let (events, mut told) = mpsc::unbounded_channel();
        let (events, me) = (Events(events), MemberId(id));
        let (delivered, deliveries) = mpsc::channel(8);
        let (inputs_sender, inputs) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let door = Arc::new(Door {
            options: Arc::clone(&options),
            me,
            events: events.clone(),
            deliveries: delivered,
            metrics: Arc::clone(&metrics),
            calls: Default::default(),
        });
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(door.serve(listener, stop.clone()));
        tasks.spawn(async move {
            while let Some(event) = told.recv().await {
                match event {
                    Event::Hello { from, answer, .. } if setup.removed == Some(from) => {
                        answer.send(Admission::Removed(vec![3, 4])).unwrap();
                    }
                    Event::Hello { answer, .. } => answer.send(Admission::Welcome).unwrap(),
                    Event::Input(input) => drop(inputs_sender.send(input)),
                    other => panic!("{other:?}"),
                }
            }
        });
        let peers = Peers::new(Arc::clone(&options), me, events, metrics);
        Self {
            me,
            contact,
            options,
            peers,
            inputs,
            deliveries,
            registry,
            stop,
            _tasks: tasks,
        }
    }

    fn send(&mut self, to: &End, text: &str) {
        self.send_as(to.me, to.contact.clone(), text, None);
    }

    fn send_as(&mut self, to: MemberId, contact: Contact, text: &str, trace: Option<TraceContext>) {
        let body = PeerBody::Forward {
            term: 1,
            id: 1,
            command: Bytes::copy_from_slice(text.as_bytes()),
        };
        self.peers.send(
            to,
            contact,
            Outgoing {
                message: PeerMessage { group: 7, body },
                trace,
            },
        );
    }

    /// Sends until something arrives: what is sent while there is no connection is dropped.
    async fn send_until(&mut self, to: &mut End, text: &str) {
        timeout(PATIENCE, async {
            loop {
                self.send_as(to.me, to.contact.clone(), text, None);
                tokio::select! {
                    delivery = to.deliveries.recv() => if delivery.is_some_and(|delivery| delivery.from == self.me) { break },
                    () = sleep(Duration::from_millis(50)) => {}
                }
            }
        })
        .await
        .unwrap();
    }

    async fn delivery(&mut self) -> Delivery {
        timeout(PATIENCE, self.deliveries.recv())
            .await
            .unwrap()
            .unwrap()
    }

    async fn input(&mut self, wanted: impl Fn(&Input) -> bool) -> Input {
        timeout(PATIENCE, async {
            loop {
                let input = self.inputs.recv().await.unwrap();
                if wanted(&input) {
                    return input;
                }
            }
        })
        .await
        .unwrap()
    }

    async fn unreachable(&mut self, peer: MemberId) {
        self.input(|input| matches!(input, Input::Unreachable(id) if *id == peer))
            .await;
    }

    /// Nothing comes in for a while, although there were attempts.
    async fn nothing_came(&mut self) {
        let quiet = timeout(Duration::from_millis(300), self.deliveries.recv()).await;
        assert!(quiet.is_err(), "{quiet:?}");
    }

    fn connections(&self) -> f64 {
        let families = self.registry.gather();
        let family = families
            .iter()
            .find(|family| family.name() == "quorate_group_peer_connections_total")
            .unwrap();
        family.get_metric()[0].get_counter().get_value()
    }
}

fn texts(delivery: &Delivery) -> Vec<String> {
    let text = |message: &PeerMessage| match &message.body {
        PeerBody::Forward { command, .. } => String::from_utf8_lossy(command).into_owned(),
        other => panic!("{other:?}"),
    };
    delivery
        .messages
        .iter()
        .map(|(message, _)| text(message))
        .collect()
}

#[tokio::test]
async fn messages_come_in_order_over_one_connection_with_sender_and_trace() {
    let (mut a, mut b) = (
        End::open(1, Setup::default()).await,
        End::open(2, Setup::default()).await,
    );
    let trace = TraceContext::root();
    a.send_as(b.me, b.contact.clone(), "0", Some(trace));
    (1..100).for_each(|number| a.send(&b, &number.to_string()));
    let mut got = Vec::new();
    let mut traces = Vec::new();
    while got.len() < 100 {
        let delivery = b.delivery().await;
        assert_eq!((delivery.from, &delivery.contact), (a.me, &a.contact));
        got.extend(texts(&delivery));
        traces.extend(delivery.messages.iter().filter_map(|(_, trace)| *trace));
    }
    assert_eq!(
        got,
        (0..100)
            .map(|number| number.to_string())
            .collect::<Vec<_>>()
    );
    assert_eq!(traces, [trace]);
    b.send_until(&mut a, "the other way").await;
    assert_eq!((a.connections(), b.connections()), (1.0, 1.0));
}

#[tokio::test]
async fn large_messages_pass_and_too_large_ones_never_leave() {
    let (mut a, mut b) = (
        End::open(1, Setup::default()).await,
        End::open(2, Setup::default()).await,
    );
    let largest = "x".repeat(a.options.transport.max_message_bytes() - 200);
    a.send(&b, &largest);
    assert_eq!(texts(&b.delivery().await)[0].len(), largest.len());
    a.send(&b, &"x".repeat(a.options.transport.max_message_bytes()));
    a.unreachable(b.me).await;
    a.send_until(&mut b, "the connection stands").await;
    assert_eq!(a.connections(), 1.0);
}

#[tokio::test]
async fn a_receiver_takes_no_larger_frame_whatever_the_sender_thinks() {
    let small = Setup {
        max_frame_bytes: 1 << 20,
        ..Setup::default()
    };
    let mut a = End::open(1, Setup::default()).await;
    let mut b = End::open(2, small).await;
    a.send_until(&mut b, "the connection stands").await;
    a.send(&b, &"x".repeat(2 << 20));
    a.unreachable(b.me).await;
    b.nothing_came().await;
    a.send_until(&mut b, "and comes back").await;
    assert_eq!(a.connections(), 2.0);
}

#[tokio::test]
async fn a_hello_that_is_too_large_is_not_read() {
    // Both are of this cluster: nothing but the size is against it.
    let wordy = Setup {
        cluster: "x".repeat(8 << 10).leak(),
        ..Setup::default()
    };
    let mut a = End::open(1, wordy.clone()).await;
    let mut b = End::open(2, wordy).await;
    a.send(&b, "never");
    a.unreachable(b.me).await;
    b.nothing_came().await;
}

#[tokio::test]
async fn a_peer_that_comes_back_is_found_again() {
    let (mut a, mut b) = (
        End::open(1, Setup::default()).await,
        End::open(2, Setup::default()).await,
    );
    a.send_until(&mut b, "before").await;
    let at = Some(b.contact.address.parse().unwrap());
    b.stop.cancel();
    drop(b);
    a.unreachable(MemberId(2)).await;
    let mut b = End::open(
        2,
        Setup {
            at,
            ..Setup::default()
        },
    )
    .await;
    a.send_until(&mut b, "after").await;
}

#[tokio::test]
async fn a_silent_peer_is_noticed() {
    let mut a = End::open(1, Setup::default()).await;
    // It accepts, and then says nothing, as a stopped process does.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let contact = Contact {
        name: "m-2".into(),
        address: silent.local_addr().unwrap().to_string(),
    };
    a.send_as(MemberId(2), contact, "x", None);
    let begun = std::time::Instant::now();
    a.unreachable(MemberId(2)).await;
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_command_that_never_left_is_refused_and_not_unknown() {
    let mut a = End::open(1, Setup::default()).await;
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let contact = Contact {
        name: "m-2".into(),
        address: gone.local_addr().unwrap().to_string(),
    };
    drop(gone);
    let reply = Reply::Refused(Refused::NoLeader { hint: None });
    let body = PeerBody::ForwardReply { id: 1, reply };
    let refusal = PeerMessage { group: 7, body };
    // The first waits for a connection that is not made; the second may find the box closed.
    a.send_as(MemberId(2), contact.clone(), "x", None);
    let first = a.input(|_| true).await;
    assert!(
        matches!(&first, Input::Peer { from: MemberId(2), message, .. } if *message == refusal),
        "the refusal comes before the news that makes the rest unknown: {first:?}"
    );
    a.unreachable(MemberId(2)).await;
    a.send_as(MemberId(2), contact, "x", None);
    a.input(|input| matches!(input, Input::Peer { message, .. } if *message == refusal))
        .await;
}

/// A receiver that welcomes everybody, as one with a fault might.
struct Lenient {
    cluster: &'static str,
    receiver: u64,
    got: mpsc::UnboundedSender<FromSender>,
}

#[tonic::async_trait]
impl Peer for Lenient {
    type DeliverStream = ReceiverStream<Result<FromReceiver, Status>>;

    async fn deliver(
        &self,
        request: Request<Streaming<FromSender>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        let welcome = Welcome {
            cluster: self.cluster.into(),
            receiver: self.receiver,
        };
        let (answer, answers) = mpsc::channel(1);
        let kind = Some(from_receiver::Kind::Welcome(welcome));
        answer.try_send(Ok(FromReceiver { kind })).unwrap();
        let (got, mut stream) = (self.got.clone(), request.into_inner());
        tokio::spawn(async move {
            while let Ok(Some(item)) = stream.message().await {
                let _ = got.send(item);
            }
            drop(answer);
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}

#[tokio::test]
async fn the_sender_too_refuses_another_cluster_and_another_identity() {
    for (cluster, receiver, right) in [("c-1", 2, true), ("c-2", 2, false), ("c-1", 3, false)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let contact = Contact {
            name: "m-2".into(),
            address: listener.local_addr().unwrap().to_string(),
        };
        let (got, mut received) = mpsc::unbounded_channel();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let service = PeerServer::new(Lenient {
                    cluster,
                    receiver,
                    got: got.clone(),
                });
                let connection = http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(tcp), TowerToHyperService::new(service));
                tokio::spawn(connection);
            }
        });
        let mut a = End::open(1, Setup::default()).await;
        a.send_as(MemberId(2), contact, "x", None);
        if !right {
            a.unreachable(MemberId(2)).await;
        }
        let hello = timeout(PATIENCE, received.recv()).await.unwrap().unwrap();
        assert!(matches!(hello.kind, Some(from_sender::Kind::Hello(_))));
        let next = if right {
            timeout(PATIENCE, received.recv()).await.unwrap()
        } else {
            received.try_recv().ok()
        };
        let frame = next.is_some_and(|item| matches!(item.kind, Some(from_sender::Kind::Frame(_))));
        assert_eq!(frame, right, "{cluster} {receiver}");
    }
}

#[tokio::test]
async fn a_member_of_another_cluster_is_refused() {
    let mut a = End::open(1, Setup::default()).await;
    let mut b = End::open(
        2,
        Setup {
            cluster: "c-2",
            ..Setup::default()
        },
    )
    .await;
    a.send(&b, "x");
    a.unreachable(b.me).await;
    b.nothing_came().await;
}

#[tokio::test]
async fn another_identity_at_a_known_address_is_refused() {
    let (mut a, mut b) = (
        End::open(1, Setup::default()).await,
        End::open(3, Setup::default()).await,
    );
    // Member 2 was at this address; its disk is empty now and drew 3.
    a.send_as(MemberId(2), b.contact.clone(), "x", None);
    a.unreachable(MemberId(2)).await;
    b.nothing_came().await;
    a.send_until(&mut b, "under its new identity it is welcome")
        .await;
}

#[tokio::test]
async fn a_removed_sender_is_told_for_each_group() {
    let mut a = End::open(1, Setup::default()).await;
    let mut b = End::open(
        2,
        Setup {
            removed: Some(a.me),
            ..Setup::default()
        },
    )
    .await;
    a.send(&b, "x");
    for wanted in [3, 4] {
        let told = |input: &Input| matches!(input, Input::Peer { message, .. } if message.body == PeerBody::YouWereRemoved);
        let input = a.input(told).await;
        let Input::Peer { from, message, .. } = input else {
            panic!("{input:?}")
        };
        assert_eq!(
            (from, message),
            (
                b.me,
                PeerMessage {
                    group: wanted,
                    body: PeerBody::YouWereRemoved
                }
            )
        );
    }
    b.nothing_came().await;
}

#[tokio::test]
async fn a_sender_has_one_call_and_the_newer_one_counts() {
    let (mut old, mut b) = (
        End::open(1, Setup::default()).await,
        End::open(2, Setup::default()).await,
    );
    old.send_until(&mut b, "old").await;
    // The same identity connects again: its old process is gone, though its connection may linger.
    let mut new = End::open(1, Setup::default()).await;
    new.send_until(&mut b, "new").await;
    old.unreachable(b.me).await;
}

#[tokio::test]
async fn strangers_are_sent_away() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut b = End::open(2, Setup::default()).await;
    let mut stranger = tokio::net::TcpStream::connect(&b.contact.address)
        .await
        .unwrap();
    stranger
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, stranger.read_to_end(&mut answer))
        .await
        .unwrap();
    b.nothing_came().await;
}

#[tokio::test]
async fn connections_leave_from_the_bind_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let contact = Contact {
        name: "m-2".into(),
        address: listener.local_addr().unwrap().to_string(),
    };
    let mut a = End::open(
        1,
        Setup {
            ip: "127.7.6.5",
            ..Setup::default()
        },
    )
    .await;
    a.send_as(MemberId(2), contact, "x", None);
    let (_, from) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    assert_eq!(from.ip(), "127.7.6.5".parse::<IpAddr>().unwrap());
}

#[tokio::test]
async fn a_peer_that_moves_is_found_under_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let hosts = dir.path().join("hosts");
    std::fs::write(&hosts, "127.3.0.1 b.peers.test\n").unwrap();
    let resolver = Arc::new(Resolver::new(Some(hosts.clone())));
    let mut a = End::open(
        1,
        Setup {
            resolver,
            ..Setup::default()
        },
    )
    .await;
    let mut b = End::open(
        2,
        Setup {
            ip: "127.3.0.1",
            ..Setup::default()
        },
    )
    .await;
    let port = b.contact.address.parse::<SocketAddr>().unwrap().port();
    b.contact.address = format!("b.peers.test:{port}");
    a.send_until(&mut b, "here").await;
    drop(b);
    let at = Some(SocketAddr::new("127.3.0.2".parse().unwrap(), port));
    let mut b = End::open(
        2,
        Setup {
            ip: "127.3.0.2",
            at,
            ..Setup::default()
        },
    )
    .await;
    b.contact.address = format!("b.peers.test:{port}");
    std::fs::write(&hosts, "127.3.0.2 b.peers.test # it moved\n").unwrap();
    a.send_until(&mut b, "there").await;
}
