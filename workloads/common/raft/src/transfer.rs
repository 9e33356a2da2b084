//! Handing leadership over (thesis, section 3.10): no new proposals, the successor catches up, then it stands at
//! once, past pre-vote and past the voters' shield. Bounded by one election timeout.

use crate::io::{Effect, Handover, Refusal};
use crate::state::{Raft, Transfer};
use crate::types::*;

impl Raft {
    pub(crate) fn transfer(&mut self, ticket: Ticket, to: Option<MemberId>) {
        match self.successor(to) {
            Ok(to) => {
                let deadline = self.now + self.config.election_timeout;
                self.transfer = Some(Transfer {
                    ticket,
                    to,
                    deadline,
                    told: false,
                });
            }
            Err(reason) => self.out.push(Effect::Refused { ticket, reason }),
        }
    }

    fn successor(&self, to: Option<MemberId>) -> Result<MemberId, Refusal> {
        if self.leader_state().is_none() {
            return Err(Refusal::NotLeader(self.leader));
        }
        if self.transfer.is_some() {
            return Err(Refusal::Transferring);
        }
        let me = self.config.id;
        let to = to.or_else(|| self.best_voter()).unwrap_or(me);
        if to == me {
            return Err(Refusal::NoSuccessor);
        }
        if !self.configuration().voters.contains(&to) {
            return Err(Refusal::NoSuchMember(to));
        }
        self.check_caught_up(to)?;
        if !self.is_active(to) {
            let matched = self.matched(to);
            let lag = self.log.last_index().saturating_sub(matched);
            return Err(Refusal::Lagging {
                member: to,
                matched,
                lag,
            });
        }
        Ok(to)
    }

    /// The successor stands as soon as it holds everything: its log then wins against any other.
    pub(crate) fn flush_transfer(&mut self) {
        let Some(transfer) = self.transfer.as_ref().filter(|transfer| !transfer.told) else {
            return;
        };
        let to = transfer.to;
        if self.leader_state().is_none() || self.matched(to) != self.log.last_index() {
            return;
        }
        self.send(to, Body::TimeoutNow);
        if let Some(transfer) = &mut self.transfer {
            transfer.told = true;
        }
    }

    pub(crate) fn on_timeout_now(&mut self, from: MemberId) {
        if self.leader != Some(from) || !self.is_voter() {
            return self.ignore(crate::Ignored::WrongRole);
        }
        self.stand(true);
    }

    /// Another leads now, or this member does again in a later term.
    pub(crate) fn transfer_sees_leader(&mut self) {
        if self.leader.is_some() {
            self.end_transfer();
        }
    }

    /// The time is over: a leader that still leads takes proposals again.
    pub(crate) fn expire_transfer(&mut self) {
        if self
            .transfer
            .as_ref()
            .is_some_and(|transfer| transfer.deadline <= self.now)
        {
            self.end_transfer();
        }
    }

    fn end_transfer(&mut self) {
        if let Some(Transfer { ticket, told, .. }) = self.transfer.take() {
            let another = self.leader.is_some_and(|leader| leader != self.config.id);
            let handover = match (another, told) {
                (true, _) => Handover::Done,
                (false, false) => Handover::Failed,
                (false, true) => Handover::Unknown,
            };
            self.out.push(Effect::Transferred { ticket, handover });
        }
    }
}
