//! The one task that owns the groups. Each round takes in all that is at hand, lets the groups think, and hands out
//! what is to be done; nothing in it waits for a disk, a peer or a client.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quorate_group_core::{
    Effect, GroupId, Groups, Input, PeerBody, PeerMessage, Refused, Reply, Request, Task,
    TaskResult,
};
use quorate_raft::{Contact, MemberId, Now, Ticket, WriteId};
use tokio::sync::mpsc;
use tokio::time::Sleep;

use crate::budget::Budget;
use crate::events::{Admission, Event};
use crate::fatal::Fatal;
use crate::handle::{Call, PROPOSAL, Pending};
use crate::lanes::Lanes;
use crate::latency::Latencies;
use crate::metrics::Metrics;
use crate::spans::{Spans, outcome};
use crate::status::Publisher;
use crate::transport::door::Delivery;
use crate::transport::outbox::Outgoing;
use crate::transport::peers::Peers;
use crate::writer::{Job, Writer};

/// So many of each kind are taken into one round at most, so that a round stays far below a heartbeat.
const MAX_ROUND: usize = 1024;
const MAX_ROUND_FRAMES: usize = 16;
/// Longer than any deadline of the groups.
const IDLE: Duration = Duration::from_secs(3600);

/// The driver's queues.
pub(crate) struct Inbox {
    pub(crate) events: mpsc::UnboundedReceiver<Event>,
    pub(crate) deliveries: mpsc::Receiver<Delivery>,
    pub(crate) calls: mpsc::UnboundedReceiver<Call>,
}

/// What one round takes in.
#[derive(Default)]
struct Round {
    events: Vec<Event>,
    deliveries: Vec<Delivery>,
    calls: Vec<Call>,
}

/// The driver.
pub(crate) struct Driver {
    pub(crate) groups: Groups,
    pub(crate) origin: Instant,
    pub(crate) inbox: Inbox,
    pub(crate) budget: Arc<Budget>,
    pub(crate) writer: Option<Writer>,
    pub(crate) lanes: Lanes,
    pub(crate) peers: Peers,
    pub(crate) publisher: Publisher,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) desk: Desk,
    pub(crate) timer: Pin<Box<Sleep>>,
}

/// What the driver itself remembers.
#[derive(Default)]
pub(crate) struct Desk {
    pending: HashMap<Ticket, Pending>,
    next_ticket: Ticket,
    /// Messages that wait for a write, by its number.
    held: BTreeMap<WriteId, Vec<(MemberId, Contact, PeerMessage)>>,
    durable: WriteId,
    logged: WriteId,
    tasks: usize,
    spans: Spans,
    latencies: Latencies,
    leaving: Option<Leaving>,
}

/// The member is about to stop.
struct Leaving {
    until: Now,
    transfers: BTreeSet<Ticket>,
}

impl Driver {
    /// Runs until the member has left, or cannot go on.
    pub(crate) async fn run(&mut self) -> Result<(), Fatal> {
        let mut round = Round::default();
        let mut effects = Vec::new();
        loop {
            self.gather(&mut round).await;
            let now = self.origin.elapsed();
            self.think(&mut round, now, &mut effects)?;
            let changed = self.carry_out(&mut effects)?;
            self.metrics.rounds.inc();
            if self.publisher.publish(&self.groups, now, changed) {
                self.tidy();
            }
            if self.has_left(now) {
                self.inbox.calls.close();
                while let Ok(call) = self.inbox.calls.try_recv() {
                    refuse(call);
                }
                return Ok(());
            }
        }
    }

    /// Waits until there is something to do, then takes in whatever else is at hand: one flush and one fsync
    /// serve it all.
    async fn gather(&mut self, round: &mut Round) {
        let leave = self.desk.leaving.as_ref().map(|leaving| leaving.until);
        let deadline = [self.groups.deadline(), self.publisher.deadline(), leave]
            .into_iter()
            .flatten()
            .min();
        let wake = tokio::time::Instant::from_std(
            self.origin + deadline.unwrap_or(self.origin.elapsed() + IDLE),
        );
        if self.timer.deadline() != wake {
            self.timer.as_mut().reset(wake);
        }
        let inbox = &mut self.inbox;
        tokio::select! {
            biased;
            _ = inbox.events.recv_many(&mut round.events, MAX_ROUND) => {}
            _ = inbox.deliveries.recv_many(&mut round.deliveries, MAX_ROUND_FRAMES) => {}
            _ = inbox.calls.recv_many(&mut round.calls, MAX_ROUND) => {}
            () = &mut self.timer => {}
        }
        fill(&mut round.events, MAX_ROUND, || {
            inbox.events.try_recv().ok()
        });
        fill(&mut round.deliveries, MAX_ROUND_FRAMES, || {
            inbox.deliveries.try_recv().ok()
        });
        fill(&mut round.calls, MAX_ROUND, || inbox.calls.try_recv().ok());
    }

    fn think(
        &mut self,
        round: &mut Round,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Fatal> {
        for event in round.events.drain(..) {
            self.take_event(event, now, effects)?;
        }
        for delivery in round.deliveries.drain(..) {
            self.take_delivery(delivery, now, effects);
        }
        for call in round.calls.drain(..) {
            self.take_call(call, now, effects);
        }
        if self
            .groups
            .deadline()
            .is_some_and(|deadline| deadline <= now)
        {
            self.groups.step(Input::Tick, now, effects);
        }
        self.groups.flush(now, effects);
        Ok(())
    }

    fn take_event(
        &mut self,
        event: Event,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Fatal> {
        match event {
            Event::Input(input) => {
                self.note(&input);
                self.groups.step(input, now, effects);
            }
            Event::Hello { from, name, answer } => {
                self.peers.nudge(from);
                let known = self.groups.contact(from).map(|contact| &contact.name);
                let _ = answer.send(if self.groups.is_removed(from) {
                    Admission::Removed(self.groups.ids().collect())
                } else if let Some(known) = known.filter(|known| **known != name) {
                    Admission::Known(known.clone())
                } else {
                    Admission::Welcome
                });
            }
            Event::Leave(patience) => self.leave(patience, now, effects),
            Event::Fatal(fatal) => return Err(fatal),
        }
        Ok(())
    }

    /// What the shell itself learns from an input.
    fn note(&mut self, input: &Input) {
        match input {
            Input::Written(durable) => {
                let last = durable
                    .writes
                    .last()
                    .map_or(self.desk.durable, |(id, _)| *id);
                self.desk.durable = self.desk.durable.max(last);
                let later = self.desk.held.split_off(&(self.desk.durable + 1));
                for (to, contact, message) in std::mem::replace(&mut self.desk.held, later)
                    .into_values()
                    .flatten()
                {
                    self.send(to, contact, message);
                }
            }
            Input::Done { group, result } => {
                self.desk.tasks = self.desk.tasks.saturating_sub(1);
                if let TaskResult::Applied { index, .. } = result {
                    self.desk.latencies.applied(
                        *group,
                        *index,
                        Instant::now(),
                        &self.metrics.apply_seconds,
                    );
                    self.publisher.moved();
                }
            }
            _ => {}
        }
    }

    fn take_delivery(&mut self, delivery: Delivery, now: Now, effects: &mut Vec<Effect>) {
        let Delivery {
            from,
            contact,
            messages,
        } = delivery;
        for (message, trace) in messages {
            if let Some(trace) = trace {
                self.desk.spans.came(from, &message, trace);
            }
            self.groups.step(
                Input::Peer {
                    from,
                    contact: contact.clone(),
                    message,
                },
                now,
                effects,
            );
        }
    }

    fn take_call(&mut self, call: Call, now: Now, effects: &mut Vec<Effect>) {
        if self.desk.leaving.is_some() {
            return refuse(call);
        }
        let ticket = self.desk.ticket();
        self.desk.pending.insert(ticket, call.pending);
        let input = Input::Request {
            ticket,
            group: call.group,
            request: call.request,
        };
        self.groups.step(input, now, effects);
        if let Some(trace) = call.trace
            && let Some((to, id)) = self.groups.forwarded(call.group, ticket)
        {
            self.desk.spans.forwarded(to, id, trace);
        }
    }

    /// Hands over every group that is led here, and takes no more requests.
    fn leave(&mut self, patience: Duration, now: Now, effects: &mut Vec<Effect>) {
        let led: Vec<_> = self
            .groups
            .ids()
            .filter(|group| {
                self.groups
                    .status(*group)
                    .is_some_and(|status| status.role == quorate_wire::Role::Leader)
            })
            .collect();
        tracing::info!(
            groups_led = led.len(),
            patience_ms = patience.as_millis() as u64,
            "leaving: leadership is handed over"
        );
        let mut leaving = Leaving {
            until: now + patience,
            transfers: BTreeSet::new(),
        };
        for group in led {
            let ticket = self.desk.ticket();
            leaving.transfers.insert(ticket);
            let request = Request::Transfer { to: None };
            self.groups.step(
                Input::Request {
                    ticket,
                    group,
                    request,
                },
                now,
                effects,
            );
        }
        self.desk.leaving = Some(leaving);
    }

    fn has_left(&self, now: Now) -> bool {
        self.desk.leaving.as_ref().is_some_and(|leaving| {
            now >= leaving.until || (leaving.transfers.is_empty() && self.desk.pending.is_empty())
        })
    }

    /// Carries the effects out, in order; true if the status changed.
    fn carry_out(&mut self, effects: &mut Vec<Effect>) -> Result<bool, Fatal> {
        let mut changed = false;
        for effect in effects.drain(..) {
            match effect {
                Effect::Log { id, records } => self.log(id, records)?,
                Effect::Send {
                    to,
                    contact,
                    message,
                    after,
                } => match after.filter(|id| *id > self.desk.durable) {
                    Some(id) => self
                        .desk
                        .held
                        .entry(id)
                        .or_default()
                        .push((to, contact, message)),
                    None => self.send(to, contact, message),
                },
                Effect::Task { group, task } => self.start(group, task)?,
                Effect::Reply { ticket, reply } => self.answer(ticket, reply),
                Effect::DropSegments { below } => self.write(Job::DropBelow(below))?,
                Effect::Changed => changed = true,
            }
        }
        Ok(changed)
    }

    fn log(&mut self, id: WriteId, records: Vec<quorate_group_core::Record>) -> Result<(), Fatal> {
        self.desk.latencies.logged(&records, Instant::now());
        self.desk.logged = id;
        self.metrics.log_rounds.inc();
        self.publisher.moved();
        self.write(Job::Append(id, records))
    }

    fn write(&self, job: Job) -> Result<(), Fatal> {
        let writer = self.writer.as_ref().ok_or(Fatal::NoLog)?;
        writer
            .jobs
            .send(job)
            .map_err(|_| Fatal::Ended("the log writer"))
    }

    fn send(&mut self, to: MemberId, contact: Contact, message: PeerMessage) {
        if let PeerBody::SnapshotChunk {
            snapshot,
            offset,
            data,
            ..
        } = &message.body
            && offset + data.len() as u64 == snapshot.size
        {
            self.metrics.snapshots_sent.inc();
        }
        let trace = self.desk.spans.sends(to, &message);
        self.peers.send(to, contact, Outgoing { message, trace });
    }

    fn start(&mut self, group: GroupId, task: Task) -> Result<(), Fatal> {
        if let Task::Apply(entries) = &task {
            self.desk.latencies.committed(
                group,
                entries,
                Instant::now(),
                &self.metrics.commit_seconds,
            );
        }
        self.desk.tasks += 1;
        self.lanes.run(group, task)
    }

    fn answer(&mut self, ticket: Ticket, reply: Reply) {
        let Some(pending) = self.desk.pending.remove(&ticket) else {
            if let Some(leaving) = &mut self.desk.leaving {
                leaving.transfers.remove(&ticket);
            }
            return;
        };
        self.metrics
            .requests
            .with_label_values(&[pending.kind, outcome(&reply)])
            .inc();
        if pending.kind == PROPOSAL {
            self.metrics
                .request_seconds
                .observe(pending.begun.elapsed().as_secs_f64());
        }
        let _ = pending.answer.send(reply);
    }

    /// Now and then: connections that nobody wants, depths of queues.
    fn tidy(&mut self) {
        let status = self.publisher.latest();
        self.peers.retain(|id| status.contacts.contains_key(&id));
        let depth = |queue: &str, value: usize| {
            self.metrics
                .queue
                .with_label_values(&[queue])
                .set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        depth("requests", self.budget.requests());
        depth("request_bytes", self.budget.bytes());
        depth("events", self.inbox.events.len());
        depth("deliveries", self.inbox.deliveries.len());
        depth("tasks", self.desk.tasks);
        depth(
            "log",
            (self.desk.logged - self.desk.durable.min(self.desk.logged)) as usize,
        );
    }
}

impl Desk {
    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        self.next_ticket
    }
}

fn fill<T>(items: &mut Vec<T>, max: usize, mut next: impl FnMut() -> Option<T>) {
    while items.len() < max
        && let Some(item) = next()
    {
        items.push(item);
    }
}

fn refuse(call: Call) {
    let _ = call
        .pending
        .answer
        .send(Reply::Refused(Refused::OutOfService(
            "this member is stopping".into(),
        )));
}
