//! What clients and administrators ask of a group.

use bytes::Bytes;
use quorate_raft::{Change, Index, Input as CoreInput, MemberId, Role, Ticket};

use super::Group;
use crate::ask::{Refused, Reply, Request};
use crate::command::{Body, Command};
use crate::message::PeerBody;
use crate::planted::planted;
use crate::requests::{Copy, Kind, Origin};
use crate::round::Round;

impl Group {
    /// Takes a request in; [`Request::Bootstrap`] and [`Request::SetAside`] are for all groups.
    pub(crate) fn request(&mut self, ticket: Ticket, request: Request, round: &mut Round<'_>) {
        if self.gone {
            let why = "this member was removed from the group".to_owned();
            return round.reply(ticket, Reply::Refused(Refused::OutOfService(why)));
        }
        let max_sessions = round.shared.config.max_sessions;
        let taken = match request {
            Request::Write(write) => self.command(ticket, Body::write(write), round),
            Request::OpenSession { lifetime_ms } => {
                let body = Body::Open {
                    lifetime_ms,
                    max_sessions,
                };
                self.command(ticket, body, round)
            }
            Request::CloseSession { session } => {
                self.command(ticket, Body::Close { session }, round)
            }
            Request::Read => self.read(ticket, round),
            Request::StaleRead => {
                let sent = self.reads.stale(round.shared, round.now);
                round.reply(ticket, Reply::Stale { sent });
                Ok(())
            }
            Request::Change { expected, change } => self.change(ticket, expected, change, round),
            Request::Transfer { to } => self
                .admit(Origin::Client(ticket), Kind::Transfer, 0, round)
                .map(|mark| {
                    self.core(CoreInput::Transfer { ticket: mark, to }, round);
                }),
            Request::Snapshot => round.shared.admit(0).map(|()| {
                self.flush_first.push(ticket);
                self.compaction.ask(0);
            }),
            // The group is here already.
            Request::Bootstrap { .. } => {
                round.reply(ticket, Reply::Done);
                Ok(())
            }
            Request::SetAside { .. } => Err(Refused::SetAside("this member is sound".into())),
        };
        if let Err(refused) = taken {
            round.reply(ticket, Reply::Refused(refused));
        }
    }

    /// A command of a client here: appended if this member leads, else sent to the leader, once.
    fn command(
        &mut self,
        ticket: Ticket,
        body: Body,
        round: &mut Round<'_>,
    ) -> Result<(), Refused> {
        if round.shared.read_only {
            return Err(Refused::ReadOnly);
        }
        if self.raft.role() == Role::Leader {
            return self.propose(Origin::Client(ticket), body, round);
        }
        let command = Command { led_ms: 0, body }.encode();
        let leader = self.raft.leader().ok_or_else(|| self.no_leader())?;
        let mark = self.admit(Origin::Client(ticket), Kind::Command, command.len(), round)?;
        self.requests.forwarded(mark, leader);
        self.forward(leader, mark, command, round);
        Ok(())
    }

    fn forward(&self, leader: MemberId, id: u64, command: Bytes, round: &mut Round<'_>) {
        let term = self.raft.term();
        if planted!(ForwardResent) {
            let again = PeerBody::Forward {
                term,
                id: round.shared.mark(),
                command: command.clone(),
            };
            self.send(leader, again, None, round);
        }
        self.send(leader, PeerBody::Forward { term, id, command }, None, round);
    }

    /// Another member has sent a client's command. What this answers must hold for every copy of it: it is taken
    /// only by the leader of the term in which it was sent, and there only the first copy counts. Who may have been
    /// that leader in an earlier life can only say that it does not know.
    pub(super) fn forwarded(
        &mut self,
        from: MemberId,
        term: u64,
        id: u64,
        command: Bytes,
        round: &mut Round<'_>,
    ) {
        let leads = self.raft.role() == Role::Leader && self.raft.term() == term;
        let reply = match self.seen.copy(leads, term, from, id) {
            Copy::First => match self.take_forwarded(from, leads, id, command, round) {
                Ok(()) => return,
                Err(refused) => Reply::Refused(refused),
            },
            Copy::Again => return,
            Copy::Unknown => Reply::Unknown,
        };
        self.answer([(Origin::Member { from, id }, reply)], round);
    }

    fn take_forwarded(
        &mut self,
        from: MemberId,
        leads: bool,
        id: u64,
        command: Bytes,
        round: &mut Round<'_>,
    ) -> Result<(), Refused> {
        if !leads || !super::is_member(self.raft.configuration(), from) {
            return Err(self.no_leader());
        }
        if round.shared.read_only {
            return Err(Refused::ReadOnly);
        }
        // What is in the log stops every member that cannot decode it.
        let command = Command::decode(command).map_err(|error| {
            Refused::OutOfService(format!("the forwarded command cannot be taken: {error}"))
        })?;
        self.propose(Origin::Member { from, id }, command.body, round)
    }

    /// Whoever took the request in, the time in the command is the leader's that puts it into the log.
    fn propose(
        &mut self,
        origin: Origin,
        body: Body,
        round: &mut Round<'_>,
    ) -> Result<(), Refused> {
        let led = if planted!(SessionsByOwnClock) {
            round.now
        } else {
            self.raft.led(round.now).unwrap_or_default()
        };
        let led_ms = u64::try_from(led.as_millis()).unwrap_or(u64::MAX);
        let command = Command { led_ms, body }.encode();
        let ticket = self.admit(origin, Kind::Command, command.len(), round)?;
        self.core(CoreInput::Propose { ticket, command }, round);
        Ok(())
    }

    fn read(&mut self, ticket: Ticket, round: &mut Round<'_>) -> Result<(), Refused> {
        round.shared.admit(0)?;
        self.reads.arrive(round.shared, round.now, ticket);
        Ok(())
    }

    pub(super) fn release_reads(&mut self, round: &mut Round<'_>) {
        for ticket in self.reads.release(self.raft.applied()) {
            round.shared.discharge(0);
            round.reply(ticket, Reply::Ready);
        }
    }

    fn change(
        &mut self,
        ticket: Ticket,
        expected: Index,
        change: Change,
        round: &mut Round<'_>,
    ) -> Result<(), Refused> {
        if let Change::AddLearner(id, contact) = &change
            && self.removed.contains(id)
        {
            // Whoever was removed before it knew the group's members asks none of them, so nobody has told it yet.
            round.send(*id, contact.clone(), PeerBody::YouWereRemoved, None);
            return Err(Refused::Removed(*id));
        }
        let ticket = self.admit(Origin::Client(ticket), Kind::Change, 0, round)?;
        self.core(
            CoreInput::Change {
                ticket,
                expected,
                change,
            },
            round,
        );
        Ok(())
    }

    fn admit(
        &mut self,
        origin: Origin,
        kind: Kind,
        bytes: usize,
        round: &mut Round<'_>,
    ) -> Result<u64, Refused> {
        self.requests
            .admit(round.shared, round.now, origin, kind, bytes)
    }
}
