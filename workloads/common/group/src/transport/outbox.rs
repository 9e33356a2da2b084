//! What waits to be sent to one peer: bounded in messages and bytes, taken out in frames. The driver never waits
//! for a slow peer: what does not fit is dropped, which raft copes with.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use quorate_group_core::{Input, PeerBody, PeerMessage, Refused, Reply};
use quorate_node::trace::TraceContext;
use quorate_raft::{Body, Contact, MemberId, Payload};

use crate::events::{Event, Events};
use crate::options::TransportLimits;

/// A message on its way to a peer.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) message: PeerMessage,
    pub(crate) trace: Option<TraceContext>,
}

/// The queue of one peer.
#[derive(Debug)]
pub(crate) struct Outbox {
    limits: TransportLimits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<(usize, Outgoing)>,
    bytes: usize,
    /// Closed between a lost connection and the next attempt: what would wait so long is stale when it leaves.
    open: bool,
    /// The number of the latest connection; remnants of an earlier one must not take messages from it.
    connection: u64,
    waker: Option<Waker>,
}

impl Outbox {
    pub(crate) fn new(limits: TransportLimits) -> Self {
        Self {
            limits,
            state: Mutex::new(State {
                open: true,
                ..State::default()
            }),
        }
    }

    /// Takes a message, or gives it back: it will not be sent.
    pub(crate) fn push(&self, message: Outgoing) -> Result<(), Box<Outgoing>> {
        let size = approximate_size(&message.message);
        let mut state = self.state();
        let fits = state.queue.len() < self.limits.queue_messages
            && (state.bytes == 0 || state.bytes.saturating_add(size) <= self.limits.queue_bytes);
        if !state.open || !fits || size > self.limits.max_message_bytes() {
            return Err(Box::new(message));
        }
        state.bytes += size;
        state.queue.push_back((size, message));
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Takes messages again, for a new connection; answers its number.
    pub(crate) fn open(&self) -> u64 {
        let mut state = self.state();
        state.open = true;
        state.connection
    }

    /// Takes nothing more, and gives back what waits: it will not be sent.
    pub(crate) fn close(&self) -> impl ExactSizeIterator<Item = Outgoing> + use<> {
        let mut state = self.state();
        let next = State {
            connection: state.connection + 1,
            ..State::default()
        };
        let old = std::mem::replace(&mut *state, next);
        drop(state);
        if let Some(waker) = old.waker {
            waker.wake();
        }
        old.queue.into_iter().map(|(_, message)| message)
    }

    /// Moves messages for one frame to `frame`, in order: at least one, and no more bytes than a frame's share.
    /// False when the connection of this number has ended.
    pub(crate) fn poll_take(
        &self,
        connection: u64,
        cx: &Context<'_>,
        frame: &mut Vec<Outgoing>,
    ) -> Poll<bool> {
        let mut state = self.state();
        if state.connection != connection {
            return Poll::Ready(false);
        }
        if state.queue.is_empty() {
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let mut bytes = 0;
        while frame.len() < self.limits.frame_messages
            && let Some((size, _)) = state.queue.front()
            && (frame.is_empty() || bytes + size <= self.limits.frame_bytes)
            && let Some((size, message)) = state.queue.pop_front()
        {
            bytes += size;
            state.bytes -= size;
            frame.push(message);
        }
        Poll::Ready(true)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a message takes on the wire, near enough for a bound: the payload, and something for the rest.
pub(crate) fn approximate_size(message: &PeerMessage) -> usize {
    const REST: usize = 96;
    let payload = match &message.body {
        PeerBody::Raft(raft) => match &raft.body {
            Body::Append { entries, .. } => entries
                .iter()
                .map(|entry| REST + payload_size(&entry.payload))
                .sum(),
            _ => 0,
        },
        PeerBody::Forward { command, .. } => command.len(),
        PeerBody::SnapshotChunk { snapshot, data, .. } => data.len() + configuration_size(snapshot),
        PeerBody::SnapshotOffer { snapshot, .. } | PeerBody::SnapshotWant { snapshot, .. } => {
            configuration_size(snapshot)
        }
        PeerBody::ForwardReply { .. } | PeerBody::YouWereRemoved => 0,
    };
    REST + payload
}

fn payload_size(payload: &Payload) -> usize {
    match payload {
        Payload::Empty => 0,
        Payload::Command(command) => command.len(),
        Payload::Configuration(configuration) => contacts_size(&configuration.contacts),
    }
}

fn configuration_size(snapshot: &quorate_group_core::SnapshotFile) -> usize {
    contacts_size(&snapshot.meta.configuration.contacts)
}

fn contacts_size(
    contacts: &std::collections::BTreeMap<quorate_raft::MemberId, quorate_raft::Contact>,
) -> usize {
    contacts
        .values()
        .map(|contact| 32 + contact.name.len() + contact.address.len())
        .sum()
}

/// A command that never left is refused in the name of the member that it was meant for: its client is told that it
/// was not applied, not that nobody knows.
pub(crate) fn give_back(to: MemberId, contact: &Contact, unsent: Outgoing, events: &Events) {
    let PeerMessage { group, body } = unsent.message;
    let PeerBody::Forward { id, .. } = body else {
        return;
    };
    let reply = Reply::Refused(Refused::NoLeader { hint: None });
    let body = PeerBody::ForwardReply { id, reply };
    events.send(Event::Input(Input::Peer {
        from: to,
        contact: contact.clone(),
        message: PeerMessage { group, body },
    }));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use bytes::Bytes;

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn limits() -> TransportLimits {
        TransportLimits {
            queue_messages: 4,
            queue_bytes: 4000,
            frame_messages: 2,
            frame_bytes: 2000,
            ..Default::default()
        }
    }

    fn forward(id: u64, bytes: usize) -> Outgoing {
        let body = PeerBody::Forward {
            term: 1,
            id,
            command: Bytes::from(vec![0; bytes]),
        };
        Outgoing {
            message: PeerMessage { group: 1, body },
            trace: None,
        }
    }

    fn take(outbox: &Outbox) -> (Vec<u64>, Arc<Wakes>) {
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut frame = Vec::new();
        let _ = outbox.poll_take(outbox.open(), &Context::from_waker(&waker), &mut frame);
        (frame.into_iter().map(id).collect(), wakes)
    }

    fn id(outgoing: Outgoing) -> u64 {
        match outgoing.message.body {
            PeerBody::Forward { id, .. } => id,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn bounded_in_messages_and_bytes() {
        let outbox = Outbox::new(limits());
        let push = |id, bytes| outbox.push(forward(id, bytes)).is_ok();
        assert!((0..4).all(|id| push(id, 1)));
        assert!(!push(4, 1), "a fifth message");
        let back: Vec<_> = outbox.close().map(id).collect();
        assert_eq!(back, [0, 1, 2, 3], "what was not sent comes back");
        outbox.open();
        assert!(push(0, 3000));
        assert!(!push(1, 3000), "too many bytes");
        assert_eq!(take(&outbox).0, [0]);
        assert!(
            push(2, 6000),
            "one message is always taken when nothing waits"
        );
        let huge = limits().max_message_bytes();
        assert_eq!(outbox.close().len(), 1);
        outbox.open();
        assert!(!push(3, huge), "a receiver would refuse its frame");
    }

    #[test]
    fn frames_keep_the_order_and_their_bounds() {
        let outbox = Outbox::new(limits());
        for (id, bytes) in [(0, 1), (1, 1), (2, 1500), (3, 1500)] {
            outbox.push(forward(id, bytes)).unwrap();
        }
        assert_eq!(take(&outbox).0, [0, 1]);
        assert_eq!(take(&outbox).0, [2]);
        assert_eq!(take(&outbox).0, [3]);
    }

    #[test]
    fn the_first_message_wakes_the_sender_once() {
        let outbox = Outbox::new(limits());
        let (none, wakes) = take(&outbox);
        assert!(none.is_empty());
        outbox.push(forward(0, 1)).unwrap();
        outbox.push(forward(1, 1)).unwrap();
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_closed_box_takes_nothing() {
        let outbox = Outbox::new(limits());
        let first = outbox.open();
        assert_eq!(outbox.close().len(), 0);
        assert!(outbox.push(forward(0, 1)).is_err());
        let second = outbox.open();
        outbox.push(forward(0, 1)).unwrap();
        let cx = Context::from_waker(Waker::noop());
        let mut frame = Vec::new();
        assert_eq!(
            outbox.poll_take(first, &cx, &mut frame),
            Poll::Ready(false),
            "a remnant takes nothing"
        );
        assert_eq!(outbox.poll_take(second, &cx, &mut frame), Poll::Ready(true));
    }
}
