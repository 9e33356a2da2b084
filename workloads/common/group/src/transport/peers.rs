//! The outgoing side of the transport: one courier per peer, made when there is first something to send.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quorate_group_core::Input;
use quorate_raft::{Contact, MemberId};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::courier::Courier;
use super::outbox::{Outbox, Outgoing, give_back};
use crate::events::{Event, Events};
use crate::metrics::{Metrics, PeerMetrics};
use crate::options::Options;

/// A peer outside of every configuration (a new member's leader, a removed one) keeps its connection this long.
const UNUSED: Duration = Duration::from_secs(60);

/// All peers that were ever sent to, as long as they are wanted.
pub(crate) struct Peers {
    options: Arc<Options>,
    me: MemberId,
    events: Events,
    metrics: Arc<Metrics>,
    known: BTreeMap<MemberId, Peer>,
    couriers: JoinSet<()>,
}

struct Peer {
    contact: Contact,
    moved: watch::Sender<Contact>,
    outbox: Arc<Outbox>,
    nudge: Arc<Notify>,
    courier: tokio::task::AbortHandle,
    metrics: PeerMetrics,
    used: Instant,
    /// When the groups were last told that messages are dropped.
    told: Option<Instant>,
}

impl Peers {
    pub(crate) fn new(
        options: Arc<Options>,
        me: MemberId,
        events: Events,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            options,
            me,
            events,
            metrics,
            known: BTreeMap::new(),
            couriers: JoinSet::new(),
        }
    }

    /// Hands a message to the peer's courier, or drops it and tells the groups. Never waits.
    pub(crate) fn send(&mut self, to: MemberId, contact: Contact, message: Outgoing) {
        if !self.known.contains_key(&to) {
            let peer = self.employ(to, contact.clone());
            self.known.insert(to, peer);
        }
        let Some(peer) = self.known.get_mut(&to) else {
            return;
        };
        if peer.contact != contact {
            peer.contact = contact.clone();
            peer.moved.send_replace(contact);
        }
        peer.used = Instant::now();
        if let Err(unsent) = peer.outbox.push(message) {
            peer.metrics.dropped.inc();
            give_back(to, &peer.contact, *unsent, &self.events);
            // Not for each message: a group may answer by sending, and the two would never end.
            if peer
                .told
                .is_none_or(|told| told.elapsed() >= self.options.core.heartbeat_interval)
            {
                peer.told = Some(peer.used);
                self.events.send(Event::Input(Input::Unreachable(to)));
            }
        }
    }

    /// The peer has just called us: whoever waits for the next attempt to reach it may try now.
    pub(crate) fn nudge(&self, id: MemberId) {
        if let Some(peer) = self.known.get(&id) {
            peer.nudge.notify_one();
        }
    }

    /// Ends the connections to all whom nobody wants any more.
    pub(crate) fn retain(&mut self, wanted: impl Fn(MemberId) -> bool) {
        self.known.retain(|id, peer| {
            let keep = wanted(*id) || peer.used.elapsed() < UNUSED;
            if !keep {
                peer.courier.abort();
                tracing::info!(peer = %id, name = peer.contact.name, "connection to a former member ended");
            }
            keep
        });
        while self.couriers.try_join_next().is_some() {}
    }

    fn employ(&mut self, to: MemberId, contact: Contact) -> Peer {
        let outbox = Arc::new(Outbox::new(self.options.transport));
        let nudge = Arc::new(Notify::new());
        let metrics = self.metrics.peer(&contact.name);
        let (moved, watched) = watch::channel(contact.clone());
        let courier = Courier {
            options: Arc::clone(&self.options),
            me: self.me,
            peer: to,
            contact: watched,
            outbox: Arc::clone(&outbox),
            nudge: Arc::clone(&nudge),
            events: self.events.clone(),
            metrics: metrics.clone(),
        };
        Peer {
            contact,
            moved,
            outbox,
            nudge,
            courier: self.couriers.spawn(courier.run()),
            metrics,
            used: Instant::now(),
            told: None,
        }
    }
}
