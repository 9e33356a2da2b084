//! Clients: they read and write at any member, retry in sessions, and hold every answer against the order.

use bytes::Bytes;
use fastrand::Rng;
use quorate_group_core::{Input, Outcome, Refused, Reply, Request, Write, read_state};
use quorate_raft::{Index, Role, Ticket};
use quorate_raft_cluster_core::{Answer, Command, Condition, Expect, Operation, Verdict, View};

use super::GROUP;
use super::counters::Reached;
use super::process::{CLOCK_SPEEDS, ELECTION_MS};
use super::queue::{Time, ms};
use super::world::{Asked, Asker, Event, Phase, World};

/// A client.
#[derive(Debug)]
pub(super) struct Client {
    number: usize,
    session: Option<Session>,
    op: Option<Op>,
    ticket: Option<Ticket>,
    /// The revision that it saw last, for conditions.
    revision: u64,
    /// What it has finished since faults ended.
    pub reads_done: u64,
    pub writes_done: u64,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    id: u64,
    next: u64,
    lifetime_ms: u64,
    /// When its latest renewal was asked for.
    renewed: Time,
}

/// What a client wants.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Read {
        key: Bytes,
        floor: Index,
    },
    Stale {
        key: Bytes,
    },
    Write {
        command: Bytes,
        session: Option<(u64, u64)>,
        maybe: bool,
    },
    Open {
        lifetime_ms: u64,
    },
    Close {
        session: u64,
    },
}

impl Client {
    pub fn new(number: usize) -> Self {
        Client {
            number,
            session: None,
            op: None,
            ticket: None,
            revision: 0,
            reads_done: 0,
            writes_done: 0,
        }
    }

    pub fn is_idle(&self) -> bool {
        self.op.is_none()
    }
}

fn key(rng: &mut Rng) -> Bytes {
    Bytes::from(format!("k{}", rng.u8(..5)))
}

impl World {
    pub(super) fn client_acts(&mut self, number: usize) {
        if self.clients[number].ticket.is_some() {
            return;
        }
        if self.clients[number].op.is_none() {
            if self.phase >= Phase::Draining {
                return;
            }
            let op = self.choose(number);
            self.clients[number].op = Some(op);
        }
        self.attempt(number);
    }

    fn choose(&mut self, number: usize) -> Op {
        let mark = self.mark();
        let short = self.swarm.short_sessions;
        let floor = self.order.floor();
        let (client, rng) = (&mut self.clients[number], &mut self.rng);
        let Some(session) = client.session else {
            if rng.u8(..3) > 0 {
                return Op::Open {
                    lifetime_ms: if short { rng.u64(20..400) } else { 60_000 },
                };
            }
            return Op::Read {
                key: key(rng),
                floor,
            };
        };
        match rng.u8(..20) {
            0..=7 => Op::Read {
                key: key(rng),
                floor,
            },
            8 => Op::Stale { key: key(rng) },
            9..=10 => Op::Write {
                command: command(client, mark, rng),
                session: None,
                maybe: false,
            },
            11 if rng.u8(..4) == 0 => Op::Close {
                session: session.id,
            },
            _ => {
                let command = command(client, mark, rng);
                client.session = Some(Session {
                    next: session.next + 1,
                    ..session
                });
                Op::Write {
                    command,
                    session: Some((session.id, session.next)),
                    maybe: false,
                }
            }
        }
    }

    fn attempt(&mut self, number: usize) {
        let now = self.now();
        let slot = self.some_slot();
        let Some(op) = self.clients[number].op.clone() else {
            return;
        };
        if self.slots[slot].process.is_none() {
            // The connection is refused.
            let delay = ms(self.rng.u64(1..10));
            return self.queue.after(delay, Event::Client { client: number });
        }
        let request = match &op {
            Op::Read { .. } => Request::Read,
            Op::Stale { .. } => Request::StaleRead,
            Op::Write {
                command, session, ..
            } => Request::Write(Write {
                session: *session,
                command: command.clone(),
            }),
            Op::Open { lifetime_ms } => Request::OpenSession {
                lifetime_ms: *lifetime_ms,
            },
            Op::Close { session } => Request::CloseSession { session: *session },
        };
        let ticket = self.ask(
            slot,
            Asker::Client {
                client: number,
                op,
                since: now,
            },
            request,
        );
        self.clients[number].ticket = Some(ticket);
        let patience = ms(self.rng.u64(50..900));
        self.queue.after(
            patience,
            Event::GiveUp {
                client: number,
                ticket,
            },
        );
    }

    /// A slot that shall hold a member; now and then any.
    fn some_slot(&mut self) -> usize {
        let nth = self.rng.usize(..self.admin.wanted.len());
        let wanted = self
            .admin
            .wanted
            .iter()
            .nth(nth)
            .copied()
            .filter(|_| self.rng.u8(..10) > 0);
        wanted.unwrap_or_else(|| self.rng.usize(..self.slots.len()))
    }

    /// Gives a request to a member.
    pub(super) fn ask(&mut self, slot: usize, asker: Asker, request: Request) -> Ticket {
        let now = self.now();
        let ticket = self.mark();
        let place = &self.slots[slot];
        self.trace.event(now, &[6, slot as u64, ticket], || {
            format!("{} is asked for {request:?}", place.name)
        });
        let life = place.life;
        self.tickets.insert(ticket, Asked { asker, slot, life });
        self.give(
            slot,
            Input::Request {
                ticket,
                group: GROUP,
                request,
            },
        );
        ticket
    }

    /// The client waits no longer: it does not know what came of it.
    pub(super) fn client_gives_up(&mut self, number: usize, ticket: Ticket) {
        if self.clients[number].ticket == Some(ticket) {
            self.clients[number].ticket = None;
            self.unknown(number);
        }
    }

    fn unknown(&mut self, number: usize) {
        self.counters.hit(Reached::Unknown);
        match &mut self.clients[number].op {
            Some(Op::Write {
                session: Some(_),
                maybe,
                ..
            }) => *maybe = true,
            Some(Op::Write { session: None, .. }) => return self.finish(number),
            _ => {}
        }
        self.again(number);
    }

    fn again(&mut self, number: usize) {
        let delay = ms(self.rng.u64(1..30));
        self.queue.after(delay, Event::Client { client: number });
    }

    fn finish(&mut self, number: usize) {
        self.clients[number].op = None;
        let delay = self.rng.u64(..2 * self.swarm.think);
        self.queue.after(delay, Event::Client { client: number });
    }

    pub(super) fn client_hears(
        &mut self,
        number: usize,
        ticket: Ticket,
        slot: usize,
        op: &Op,
        since: Time,
        reply: Reply,
    ) {
        let current = self.clients[number].ticket == Some(ticket);
        if current {
            self.clients[number].ticket = None;
        }
        match (op, reply) {
            (Op::Write { command, .. }, Reply::Outcome { index, outcome }) => {
                self.write_answered(number, slot, op, command, index, outcome, since, current);
            }
            // Whoever does not listen any more learns nothing else.
            _ if !current => {}
            (_, Reply::Unknown) => self.unknown(number),
            (op, Reply::Refused(why)) => self.refused(number, op, &why),
            (Op::Read { key, floor }, Reply::Ready) => self.read(number, slot, key, *floor, true),
            (Op::Stale { key }, Reply::Stale { sent }) => {
                if let Some(sent) = sent {
                    self.counters.hit(Reached::StaleRead);
                    let asked = self.slots[slot].time_of_past(sent);
                    let floor = self.order.floor_at(asked);
                    self.read(number, slot, key, floor, false);
                } else {
                    self.finish(number);
                }
            }
            (
                Op::Open { .. },
                Reply::Outcome {
                    outcome:
                        Outcome::Opened {
                            session,
                            lifetime_ms,
                        },
                    ..
                },
            ) => {
                self.clients[number].session = Some(Session {
                    id: session,
                    next: 1,
                    lifetime_ms,
                    renewed: since,
                });
                self.finish(number);
            }
            (
                Op::Open { .. },
                Reply::Outcome {
                    outcome: Outcome::SessionsFull,
                    ..
                },
            ) => self.again(number),
            (
                Op::Close { .. },
                Reply::Outcome {
                    outcome: Outcome::Closed | Outcome::SessionGone,
                    ..
                },
            ) => {
                self.clients[number].session = None;
                self.finish(number);
            }
            (op, reply) => panic!("{reply:?} is no answer to {op:?}"),
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one answer with all that is known of its question"
    )]
    fn write_answered(
        &mut self,
        number: usize,
        slot: usize,
        op: &Op,
        command: &Bytes,
        index: Index,
        outcome: Outcome,
        since: Time,
        current: bool,
    ) {
        let now = self.now();
        match outcome {
            Outcome::Answer(answer) => {
                self.note_written(slot);
                if self.order.answered(now, command, index, &answer) {
                    self.counters.hit(Reached::RetryAnswered);
                }
                let Ok((revision, verdict)) = Answer::from_bytes(&answer) else {
                    panic!("the answer cannot be read")
                };
                if matches!(verdict, Verdict::Failed(_)) {
                    self.counters.hit(Reached::ConditionFailed);
                }
                let client = &mut self.clients[number];
                client.revision = client.revision.max(revision);
                if current {
                    client.writes_done += 1;
                    if let (
                        Some(session),
                        Op::Write {
                            session: Some(_), ..
                        },
                    ) = (&mut client.session, op)
                    {
                        session.renewed = session.renewed.max(since);
                    }
                    self.finish(number);
                }
            }
            Outcome::SessionGone if current => {
                self.session_gone(number);
                self.counters.hit(Reached::SessionExpired);
                if let Op::Write { maybe: false, .. } = op {
                    self.order.refuse(command.clone());
                }
                self.clients[number].session = None;
                self.finish(number);
            }
            // An attempt that was given up may come after the session ended, or after later writes.
            Outcome::SessionGone => {}
            Outcome::SequenceTooLow { .. } if !current => {}
            outcome => panic!("{outcome:?} is no answer to {op:?}"),
        }
    }

    /// A session must not be lost before its time.
    fn session_gone(&self, number: usize) {
        let Some(session) = self.clients[number].session else {
            return;
        };
        let idle_ms = (self.now() - session.renewed).div_ceil(1000);
        // A leader's clock may be a little fast, and a jump of it counts for an election timeout at most.
        let jumped = self.nemesis.jumps_since(session.renewed) * ELECTION_MS;
        let least = (session.lifetime_ms * 1000 / CLOCK_SPEEDS.end).saturating_sub(jumped);
        assert!(
            idle_ms >= least,
            "sessions: {} was lost after {idle_ms} ms of {}",
            session.id,
            session.lifetime_ms
        );
    }

    fn note_written(&mut self, slot: usize) {
        self.counters.hit(Reached::Written);
        if !self.leads(slot) {
            self.counters.hit(Reached::Forwarded);
        }
    }

    pub(super) fn leads(&self, slot: usize) -> bool {
        let raft = self.slots[slot]
            .process
            .as_ref()
            .and_then(|process| process.groups.raft(GROUP));
        raft.is_some_and(|raft| raft.role() == Role::Leader)
    }

    fn refused(&mut self, number: usize, op: &Op, why: &Refused) {
        self.counters.hit(Reached::Refused);
        if *why == Refused::ReadOnly {
            self.counters.hit(Reached::ReadOnly);
        }
        if let Op::Write {
            command,
            session,
            maybe: false,
        } = op
            && (session.is_none() || self.rng.u8(..3) == 0)
        {
            self.order.refuse(command.clone());
            if let (Some(session), Some((_, number_used))) =
                (&mut self.clients[number].session, session)
            {
                // A refused write uses no number up.
                session.next = *number_used;
            }
            return self.finish(number);
        }
        self.again(number);
    }

    fn read(&mut self, number: usize, slot: usize, key: &Bytes, floor: Index, linearizable: bool) {
        let now = self.now();
        let found = match read_state(&self.slots[slot].store, GROUP) {
            Ok(Some(state)) => {
                let view = View::new(state.as_ref(), GROUP);
                view.revision()
                    .and_then(|revision| Ok((revision, view.get(key)?)))
            }
            Ok(None) if linearizable => {
                panic!("a member serves reads while a snapshot is being installed")
            }
            Ok(None) => return self.finish(number),
            Err(error) => Err(error),
        };
        let Ok((revision, record)) = found else {
            assert!(self.slots[slot].damaged, "a read failed: {found:?}");
            return self.again(number);
        };
        self.order.read(
            floor,
            key,
            revision,
            record.map(|record| (record.mod_revision, record.value)),
        );
        let client = &mut self.clients[number];
        client.revision = client.revision.max(revision);
        if linearizable {
            client.reads_done += 1;
            self.order.show_revision(now, revision);
            let leads = self.leads(slot);
            self.counters.hit(if leads {
                Reached::ReadByLeader
            } else {
                Reached::ReadByFollower
            });
        }
        self.finish(number);
    }
}

/// A command that no other equals.
fn command(client: &Client, mark: u64, rng: &mut Rng) -> Bytes {
    let value = Bytes::from(format!(
        "{}-{mark}-{}",
        client.number,
        "x".repeat(rng.usize(..40))
    ));
    let put = key(rng);
    let mut command = Command::single(
        Vec::new(),
        Operation::Put {
            key: put.clone(),
            value,
        },
    );
    let delete = key(rng);
    if rng.u8(..4) == 0 && delete != put {
        command.operations.push(Operation::Delete { key: delete });
    }
    if rng.u8(..4) == 0 {
        let expect = match rng.u8(..3) {
            0 => Expect::Missing,
            1 => Expect::Exists,
            _ => Expect::Revision(client.revision),
        };
        command.conditions.push(Condition {
            key: key(rng),
            expect,
        });
    }
    command.encode()
}
