//! One simulation: the event loop, and how members run.

use std::collections::BTreeMap;

use bytes::Bytes;
use fastrand::Rng;
use quorate_group_core::{Input, decode_message};
use quorate_raft::{Contact, MemberId, Ticket};

use super::GROUP;
use super::admin::Admin;
use super::client::{Client, Op};
use super::counters::{Counters, Reached};
use super::machine::NotedMachine;
use super::nemesis::Nemesis;
use super::network::Network;
use super::oracle::{Order, Protocol};
use super::process::{CLOCK_SPEEDS, Slot};
use super::queue::{Queue, Time, ms};
use super::swarm::{MAX_MEMBERS, Swarm};
use super::trace::{Trace, fingerprint};
use crate::runs::Outcome;

/// Runs one simulation to its end. Panics when a property does not hold; `print` says everything that happens.
pub(super) fn simulate(seed: u64, print: bool) -> Outcome<Counters> {
    let mut world = World::new(seed, print);
    world.begin();
    while !world.is_over() {
        let Some(event) = world.queue.next() else {
            panic!("liveness: nothing will ever happen again")
        };
        world.take(event);
    }
    Outcome {
        counters: world.counters,
        hash: world.trace.hash(),
        length: world.trace.events(),
    }
}

/// What happens.
#[derive(Debug)]
pub(super) enum Event {
    /// A member runs.
    Wake { slot: usize, life: u64 },
    /// A message comes.
    Deliver {
        from: MemberId,
        contact: Contact,
        to: MemberId,
        slot: usize,
        bytes: Bytes,
    },
    /// A member learns that it cannot reach another.
    Unreachable {
        slot: usize,
        life: u64,
        to: MemberId,
    },
    /// A sync ends.
    Synced { slot: usize, life: u64 },
    /// A task is done.
    TaskDue { slot: usize, life: u64, task: u64 },
    /// A member starts.
    Start { slot: usize },
    /// A client does something.
    Client { client: usize },
    /// A client has waited long enough, or its connection broke.
    GiveUp { client: usize, ticket: Ticket },
    /// The administrator looks at the group.
    Admin,
    /// A fault happens.
    Fault,
    /// The network's cuts are mended.
    Mend,
    /// Faults end.
    EndOfFaults,
    /// Whether all is well is looked at.
    Check,
}

/// Who asked.
#[derive(Clone, Debug)]
pub(super) enum Asker {
    Client { client: usize, op: Op, since: Time },
    Admin,
    Nemesis,
}

/// A request that was given to a member.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub asker: Asker,
    pub slot: usize,
    pub life: u64,
}

/// How far the simulation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Anything may fail.
    Faults,
    /// Nothing fails any more; clients go on.
    Healing,
    /// Clients have stopped.
    Draining,
    /// All that was demanded has come.
    Over,
}

pub(super) struct World {
    pub rng: Rng,
    pub swarm: Swarm,
    pub queue: Queue<Event>,
    pub network: Network,
    pub slots: Vec<Slot>,
    pub clients: Vec<Client>,
    pub admin: Admin,
    pub nemesis: Nemesis,
    pub protocol: Protocol,
    pub order: Order,
    pub machine: NotedMachine,
    pub counters: Counters,
    pub trace: Trace,
    pub tickets: BTreeMap<Ticket, Asked>,
    pub next_mark: u64,
    pub phase: Phase,
    pub phase_since: Time,
}

impl World {
    fn new(seed: u64, print: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let swarm = Swarm::draw(&mut rng);
        let slots = (0..MAX_MEMBERS).map(|number| {
            let speed = if swarm.skew {
                rng.u64(CLOCK_SPEEDS)
            } else {
                1000
            };
            Slot::new(format!("m-{number}"), speed)
        });
        let slots: Vec<Slot> = slots.collect();
        World {
            network: Network::new(slots.len(), &swarm),
            clients: (0..swarm.clients).map(Client::new).collect(),
            admin: Admin::new(swarm.members),
            nemesis: Nemesis::default(),
            protocol: Protocol::default(),
            order: Order::default(),
            machine: NotedMachine::default(),
            counters: Counters::default(),
            trace: Trace::new(print),
            tickets: BTreeMap::new(),
            next_mark: 1,
            phase: Phase::Faults,
            phase_since: 0,
            queue: Queue::default(),
            slots,
            swarm,
            rng,
        }
    }

    fn begin(&mut self) {
        let swarm = format!("{:?}", self.swarm);
        self.trace
            .event(0, &[fingerprint(swarm.as_bytes())], || swarm);
        for slot in 0..self.slots.len() {
            self.queue.at(0, Event::Start { slot });
        }
        for client in 0..self.clients.len() {
            self.queue.at(ms(20), Event::Client { client });
        }
        self.queue.at(ms(1), Event::Admin);
        self.queue.at(ms(400), Event::Fault);
        self.queue
            .at(ms(400) + self.swarm.faults_for, Event::EndOfFaults);
    }

    pub fn now(&self) -> Time {
        self.queue.now()
    }

    pub fn mark(&mut self) -> u64 {
        self.next_mark += 1;
        self.next_mark
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Wake { slot, life } => self.wake(slot, life),
            Event::Deliver {
                from,
                contact,
                to,
                slot,
                bytes,
            } => self.deliver(from, contact, to, slot, bytes),
            Event::Unreachable { slot, life, to } => {
                if self.lives(slot, life) {
                    self.give(slot, Input::Unreachable(to));
                }
            }
            Event::Synced { slot, life } => self.synced(slot, life),
            Event::TaskDue { slot, life, task } => self.task_due(slot, life, task),
            Event::Start { slot } => self.start(slot),
            Event::Client { client } => self.client_acts(client),
            Event::GiveUp { client, ticket } => self.client_gives_up(client, ticket),
            Event::Admin => self.administrate(),
            Event::Fault => self.fault(),
            Event::Mend => self.network.mend(),
            Event::EndOfFaults => self.end_faults(),
            Event::Check => self.check(),
        }
    }

    /// Whether the process of that life is still there.
    pub fn lives(&self, slot: usize, life: u64) -> bool {
        self.slots[slot].life == life && self.slots[slot].process.is_some()
    }

    fn start(&mut self, slot: usize) {
        if self.slots[slot].process.is_some() {
            return;
        }
        let now = self.now();
        let started = match self.slots[slot].start(now, &self.swarm, &mut self.rng) {
            Ok(started) => started,
            Err(why) => return self.start_failed(slot, &why),
        };
        let place = &self.slots[slot];
        let identity = place.identity.map_or(0, |id| id.0);
        self.trace
            .event(now, &[1, slot as u64, identity, place.life], || {
                format!(
                    "{} starts as {identity:016x}{}",
                    place.name,
                    if started.torn.is_some() {
                        ", torn tail cut"
                    } else {
                        ""
                    }
                )
            });
        if place.life > 1 {
            self.counters.hit(Reached::Restart);
        }
        if started.torn.is_some() {
            self.counters.hit(Reached::TornTail);
        }
        if started.stood_aside {
            let damaged = self.slots[slot].damaged;
            self.counters.hit(match damaged {
                true => Reached::SetAside,
                false => Reached::StoodAside,
            });
        }
        self.inspect_start(slot);
        self.poke(slot, now);
    }

    /// Only a disk that was told to fail may keep a member from starting.
    fn start_failed(&mut self, slot: usize, why: &str) {
        let place = &mut self.slots[slot];
        assert!(
            place.sync_fails,
            "recovery: {} does not start: {why}",
            place.name
        );
        place.sync_fails = false;
        place.disk.fail_syncs(0);
        place.disk.kill();
        let delay = ms(self.rng.u64(1..50));
        self.queue.after(delay, Event::Start { slot });
    }

    /// A member that started holds what was durable, or says that it is damaged.
    fn inspect_start(&mut self, slot: usize) {
        let place = &mut self.slots[slot];
        let Some(process) = &place.process else {
            return;
        };
        if process.log.is_none() {
            assert!(
                place.damaged,
                "recovery: {} reports damage where there is none: {:?}",
                place.name,
                process.groups.reason()
            );
            self.counters.hit(Reached::Damaged);
            return;
        }
        if place.damaged {
            // In padding, or in what nobody reads at a start (a snapshot file).
            place.damaged = false;
        }
        let raft = process.groups.raft(GROUP);
        let entries = place.mirror.restart(raft);
        if let Some(id) = place.identity {
            self.protocol
                .restarted(id, &entries, raft.map_or(0, |raft| raft.log_start().index));
        }
    }

    /// Gives a member something to take in.
    pub fn give(&mut self, slot: usize, input: Input) {
        let now = self.now();
        let Some(process) = &mut self.slots[slot].process else {
            return;
        };
        process.inbox.push(input);
        let pause = self.rng.u64(..300);
        self.poke(slot, now + pause);
    }

    /// Lets a member run at a time, or earlier if it was to run earlier.
    pub fn poke(&mut self, slot: usize, time: Time) {
        let place = &mut self.slots[slot];
        let time = time.max(place.paused_until).max(self.queue.now());
        let Some(process) = &mut place.process else {
            return;
        };
        if process.wake_at.is_none_or(|at| time < at) {
            process.wake_at = Some(time);
            self.queue.at(
                time,
                Event::Wake {
                    slot,
                    life: place.life,
                },
            );
        }
    }

    fn wake(&mut self, slot: usize, life: u64) {
        let now = self.now();
        if !self.lives(slot, life) {
            return;
        }
        let clock = self.slots[slot].clock(now);
        let place = &mut self.slots[slot];
        let paused = now < place.paused_until;
        let Some(process) = &mut place.process else {
            return;
        };
        if process.wake_at != Some(now) {
            return;
        }
        process.wake_at = None;
        if paused {
            let until = place.paused_until;
            return self.poke(slot, until);
        }
        let mut effects = Vec::new();
        let inputs = std::mem::take(&mut process.inbox);
        let count = inputs.len();
        for input in inputs {
            process.groups.step(input, clock, &mut effects);
        }
        if process
            .groups
            .deadline()
            .is_some_and(|deadline| deadline <= clock)
        {
            process.groups.step(Input::Tick, clock, &mut effects);
        }
        process.groups.flush(clock, &mut effects);
        let name = &place.name;
        self.trace.event(
            now,
            &[2, slot as u64, count as u64, effects.len() as u64],
            || format!("{name} takes {count} in, asks for {} things", effects.len()),
        );
        self.carry_out(slot, effects);
        self.observe(slot);
        self.sleep(slot);
    }

    /// Looks at the member's core after a round.
    fn observe(&mut self, slot: usize) {
        let Some(process) = &self.slots[slot].process else {
            return;
        };
        if let Some(raft) = process.groups.raft(GROUP).filter(|_| process.log.is_some()) {
            self.protocol.observe(raft, &mut self.counters);
        }
    }

    fn sleep(&mut self, slot: usize) {
        let now = self.now();
        let place = &self.slots[slot];
        let Some(process) = &place.process else {
            return;
        };
        if let Some(deadline) = process.groups.deadline() {
            // A deadline that stays in the past must not stop the simulated time.
            let time = place.time_of(deadline, now).max(now + 100);
            self.poke(slot, time);
        }
    }

    fn deliver(
        &mut self,
        from: MemberId,
        contact: Contact,
        to: MemberId,
        slot: usize,
        bytes: Bytes,
    ) {
        let now = self.now();
        let place = &self.slots[slot];
        // The transport refuses what is for another identity than the one that lives here.
        if place.process.is_none() || place.identity != Some(to) {
            return;
        }
        self.trace
            .event(now, &[3, slot as u64, from.0, fingerprint(&bytes)], || {
                format!(
                    "{} <- {}: {:?}",
                    place.name,
                    contact.name,
                    decode_message(bytes.clone())
                        .ok()
                        .map(|message| message.body)
                )
            });
        match decode_message(bytes) {
            Ok(message) => self.give(
                slot,
                Input::Peer {
                    from,
                    contact,
                    message,
                },
            ),
            Err(error) => panic!("a message cannot be decoded: {error}"),
        }
    }

    /// The process of a slot dies. With `power_loss` the machine does too.
    pub fn kill(&mut self, slot: usize, power_loss: bool) {
        let now = self.now();
        let place = &mut self.slots[slot];
        if place.process.take().is_none() {
            return;
        }
        self.trace
            .event(now, &[4, slot as u64, u64::from(power_loss)], || {
                format!(
                    "{} dies{}",
                    place.name,
                    if power_loss { " of a power loss" } else { "" }
                )
            });
        if power_loss {
            self.counters.hit(Reached::PowerLoss);
            place.disk.crash(&mut self.rng);
            place.store.crash(&mut self.rng);
        } else {
            // Memtables die with the process; what was written to files does not.
            place.disk.kill();
            place.store.crash(&mut self.rng);
        }
        place.paused_until = 0;
        let life = place.life;
        let broken: Vec<Ticket> = self
            .tickets
            .iter()
            .filter(|(_, asked)| asked.slot == slot && asked.life == life)
            .map(|(at, _)| *at)
            .collect();
        for ticket in broken {
            if let Some(Asked {
                asker: Asker::Client { client, .. },
                ..
            }) = self.tickets.remove(&ticket)
            {
                self.queue.after(ms(1), Event::GiveUp { client, ticket });
            }
        }
    }

    fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }
}
