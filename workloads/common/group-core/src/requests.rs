//! Requests that wait for their answer: writes on their way through the log, here or at the leader, and changes.
//!
//! What an answer may say rests on one rule: **a command leaves this member at most once**. It is appended here, or
//! sent to the leader once; after that only the log (or the leader's answer) can tell what became of it, and when
//! neither does in time, nobody knows ([`Reply::Unknown`]).

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use quorate_raft::{Entry, Handover, Index, MemberId, Now, Refusal, Term, Ticket};

use crate::ask::{Refused, Reply};
use crate::round::Shared;

/// Who waits for the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A client or administrator of this member.
    Client(Ticket),
    /// A member that forwarded a command.
    Member { from: MemberId, id: u64 },
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Command,
    /// Done when a configuration that is not joint is applied at or after its index.
    Change,
    Transfer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The core has been asked.
    Asked,
    /// It stands in the log here.
    Proposed { index: Index, term: Term },
    /// It was sent to the leader.
    Forwarded { to: MemberId },
}

#[derive(Debug)]
struct Pending {
    origin: Origin,
    kind: Kind,
    place: Place,
    bytes: usize,
    deadline: Now,
}

/// An answer and who gets it.
pub(crate) type Answer = (Origin, Reply);

/// All waiting requests of a group, by mark.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    pending: BTreeMap<u64, Pending>,
    /// Proposals by index. Several may wait for one: an index is used again after a change of leaders.
    proposed: BTreeSet<(Index, u64)>,
    deadlines: BTreeSet<(Now, u64)>,
}

impl Requests {
    /// Takes a request in, if there is room, and gives it a mark.
    pub(crate) fn admit(
        &mut self,
        shared: &mut Shared,
        now: Now,
        origin: Origin,
        kind: Kind,
        bytes: usize,
    ) -> Result<u64, Refused> {
        shared.admit(bytes)?;
        let (mark, deadline) = (shared.mark(), now + shared.config.request_timeout);
        self.pending.insert(
            mark,
            Pending {
                origin,
                kind,
                place: Place::Asked,
                bytes,
                deadline,
            },
        );
        self.deadlines.insert((deadline, mark));
        Ok(mark)
    }

    /// The command was sent to the leader.
    pub(crate) fn forwarded(&mut self, mark: u64, to: MemberId) {
        if let Some(pending) = self.pending.get_mut(&mark) {
            pending.place = Place::Forwarded { to };
        }
    }

    /// To whom, and under which mark, the latest request was sent, if it is this client's.
    pub(crate) fn latest_forwarded(&self, ticket: Ticket) -> Option<(MemberId, u64)> {
        let (mark, pending) = self.pending.last_key_value()?;
        match pending.place {
            Place::Forwarded { to } if pending.origin == Origin::Client(ticket) => {
                Some((to, *mark))
            }
            _ => None,
        }
    }

    /// The core has put it into the log.
    pub(crate) fn proposed(&mut self, mark: u64, index: Index, term: Term) {
        if let Some(pending) = self.pending.get_mut(&mark) {
            pending.place = Place::Proposed { index, term };
            self.proposed.insert((index, mark));
        }
    }

    /// The core has refused it. `None`: no such request.
    pub(crate) fn refused(
        &mut self,
        shared: &mut Shared,
        mark: u64,
        reason: Refusal,
    ) -> Option<Answer> {
        let pending = self.remove(shared, mark)?;
        let refused = match pending.kind {
            Kind::Command => plain(reason),
            Kind::Change | Kind::Transfer => Refused::Raft(reason),
        };
        Some((pending.origin, Reply::Refused(refused)))
    }

    /// The transfer has ended.
    pub(crate) fn transferred(
        &mut self,
        shared: &mut Shared,
        mark: u64,
        handover: Handover,
    ) -> Option<Answer> {
        let reply = match handover {
            Handover::Done => Reply::Transferred(true),
            Handover::Failed => Reply::Transferred(false),
            Handover::Unknown => Reply::Unknown,
        };
        Some((self.remove(shared, mark)?.origin, reply))
    }

    /// The leader has answered a forwarded command. Only whom it was sent to can.
    pub(crate) fn answered(
        &mut self,
        shared: &mut Shared,
        from: MemberId,
        mark: u64,
        reply: Reply,
    ) -> Option<Answer> {
        let asked = self
            .pending
            .get(&mark)
            .is_some_and(|pending| pending.place == Place::Forwarded { to: from });
        if !asked {
            return None;
        }
        Some((self.remove(shared, mark)?.origin, reply))
    }

    /// These entries are committed: a proposal whose index got another term's entry will never be applied.
    pub(crate) fn committed(
        &mut self,
        shared: &mut Shared,
        entries: &[Entry],
        hint: Option<MemberId>,
    ) -> Vec<Answer> {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
            return Vec::new();
        };
        let overwritten: Vec<u64> = self
            .at(first.index..=last.index)
            .filter(|(index, term, _)| {
                entries
                    .get((index - first.index) as usize)
                    .is_none_or(|entry| entry.term != *term)
            })
            .map(|(.., mark)| mark)
            .collect();
        self.remove_all(
            shared,
            overwritten,
            &Reply::Refused(Refused::NoLeader { hint }),
        )
    }

    /// The command at an index was applied.
    pub(crate) fn applied(
        &mut self,
        shared: &mut Shared,
        index: Index,
        term: Term,
        reply: impl FnOnce() -> Reply,
    ) -> Option<Answer> {
        let (.., mark) = self
            .at(index..=index)
            .find(|(_, proposed, _)| *proposed == term)?;
        Some((self.remove(shared, mark)?.origin, reply()))
    }

    /// A configuration that is not joint was applied at `index`: changes up to it are finished.
    pub(crate) fn settled(&mut self, shared: &mut Shared, index: Index) -> Vec<Answer> {
        let is_change = |mark: &u64| {
            self.pending
                .get(mark)
                .is_some_and(|pending| pending.kind == Kind::Change)
        };
        let done: Vec<u64> = self
            .at(0..=index)
            .map(|(.., mark)| mark)
            .filter(is_change)
            .collect();
        self.remove_all(shared, done, &Reply::Done)
    }

    /// A snapshot took the place of the log up to `index`: what became of proposals in it cannot be told.
    pub(crate) fn covered(&mut self, shared: &mut Shared, index: Index) -> Vec<Answer> {
        let covered: Vec<u64> = self.at(0..=index).map(|(.., mark)| mark).collect();
        self.remove_all(shared, covered, &Reply::Unknown)
    }

    /// The connection to a member broke: commands sent to it may or may not have come.
    pub(crate) fn unreachable(&mut self, shared: &mut Shared, to: MemberId) -> Vec<Answer> {
        let sent = self.forwarded_to(to);
        self.remove_all(shared, sent, &Reply::Unknown)
    }

    /// The marks of commands that were sent to a member and not answered.
    pub(crate) fn forwarded_to(&self, to: MemberId) -> Vec<u64> {
        let sent = self
            .pending
            .iter()
            .filter(|(_, pending)| pending.place == Place::Forwarded { to });
        sent.map(|(mark, _)| *mark).collect()
    }

    /// Answers what has waited too long.
    pub(crate) fn expire(&mut self, shared: &mut Shared, now: Now) -> Vec<Answer> {
        let late: Vec<u64> = self
            .deadlines
            .iter()
            .take_while(|(deadline, _)| *deadline <= now)
            .map(|(_, mark)| *mark)
            .collect();
        self.remove_all(shared, late, &Reply::Unknown)
    }

    /// This member goes out of service: nobody will be told here what becomes of what waits.
    pub(crate) fn abandon(&mut self, shared: &mut Shared) -> Vec<Answer> {
        let all: Vec<u64> = self.pending.keys().copied().collect();
        self.remove_all(shared, all, &Reply::Unknown)
    }

    pub(crate) fn deadline(&self) -> Option<Now> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    fn at(
        &self,
        range: std::ops::RangeInclusive<Index>,
    ) -> impl Iterator<Item = (Index, Term, u64)> {
        self.proposed
            .range((*range.start(), 0)..=(*range.end(), u64::MAX))
            .filter_map(|(_, mark)| match self.pending.get(mark)?.place {
                Place::Proposed { index, term } => Some((index, term, *mark)),
                _ => None,
            })
    }

    fn remove(&mut self, shared: &mut Shared, mark: u64) -> Option<Pending> {
        let pending = self.pending.remove(&mark)?;
        self.deadlines.remove(&(pending.deadline, mark));
        if let Place::Proposed { index, .. } = pending.place {
            self.proposed.remove(&(index, mark));
        }
        shared.discharge(pending.bytes);
        Some(pending)
    }

    fn remove_all(&mut self, shared: &mut Shared, marks: Vec<u64>, reply: &Reply) -> Vec<Answer> {
        let removed = marks
            .into_iter()
            .filter_map(|mark| self.remove(shared, mark));
        removed
            .map(|pending| (pending.origin, reply.clone()))
            .collect()
    }
}

/// Why a command was not taken, in words that a client (and another member) understands.
pub(crate) fn plain(reason: Refusal) -> Refused {
    match reason {
        Refusal::NotLeader(hint) => Refused::NoLeader { hint },
        Refusal::Transferring | Refusal::NotReady => Refused::NoLeader { hint: None },
        Refusal::Busy(_) => Refused::Busy(reason.to_string()),
        reason => Refused::Raft(reason),
    }
}

/// Which copy of a forwarded command came. Networks repeat messages, and an answer must hold for every copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Copy {
    /// No other was taken here, and none will be but this one.
    First,
    /// One was seen before; its answer stands.
    Again,
    /// An earlier one may have been taken, so this one can be neither taken nor refused.
    Unknown,
}

/// The forwarded commands that came lately, per sender, in the latest term that this member led in this life. It
/// outlives the leadership: a copy that comes after it must not be refused when the first is in the log. A transport
/// of streams never delivers twice; a network that does is only recognised within the latest [`Seen::KEPT`] of a
/// sender.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The term in which this life began: an earlier life may have led it, or any before it.
    began_in: Term,
    term: Term,
    by: BTreeMap<MemberId, Recent>,
}

#[derive(Debug, Default)]
struct Recent {
    ids: BTreeSet<u64>,
    order: std::collections::VecDeque<u64>,
}

impl Seen {
    const KEPT: usize = 4096;
    const SENDERS: usize = 256;

    pub(crate) fn new(began_in: Term) -> Self {
        Self {
            began_in,
            ..Self::default()
        }
    }

    /// Which copy this is of a command that was sent to the leader of `term`, which this member is if it `leads`.
    pub(crate) fn copy(&mut self, leads: bool, term: Term, from: MemberId, id: u64) -> Copy {
        if leads && term > self.term {
            (self.term, self.by) = (term, BTreeMap::new());
        }
        if term != self.term {
            // Of a term that this life never led, or led before any command came: nothing of it was taken.
            let never_taken = term > self.term && term > self.began_in;
            return if never_taken {
                Copy::First
            } else {
                Copy::Unknown
            };
        }
        if self.by.len() >= Self::SENDERS && !self.by.contains_key(&from) {
            return Copy::Unknown;
        }
        let recent = self.by.entry(from).or_default();
        if !recent.ids.insert(id) {
            return Copy::Again;
        }
        recent.order.push_back(id);
        if recent.order.len() > Self::KEPT
            && let Some(oldest) = recent.order.pop_front()
        {
            recent.ids.remove(&oldest);
        }
        Copy::First
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use quorate_raft::{Contact, Payload};

    use super::*;
    use crate::config::Config;

    fn shared() -> Shared {
        let config = Config {
            max_pending_requests: 3,
            max_pending_bytes: 100,
            ..Config::new(Contact::default(), 1)
        };
        Shared::new(config, MemberId(1))
    }

    fn admit(requests: &mut Requests, shared: &mut Shared, ticket: Ticket) -> u64 {
        requests
            .admit(
                shared,
                Duration::ZERO,
                Origin::Client(ticket),
                Kind::Command,
                10,
            )
            .unwrap()
    }

    fn entry(index: Index, term: Term) -> Entry {
        Entry {
            index,
            term,
            payload: Payload::Empty,
        }
    }

    #[test]
    fn only_the_entry_s_term_tells_whose_it_is() {
        let (mut requests, mut shared) = (Requests::default(), shared());
        let (first, second) = (
            admit(&mut requests, &mut shared, 1),
            admit(&mut requests, &mut shared, 2),
        );
        requests.proposed(first, 5, 1);
        requests.proposed(second, 5, 3);
        let lost = requests.committed(&mut shared, &[entry(4, 3), entry(5, 3)], None);
        assert_eq!(
            lost,
            [(
                Origin::Client(1),
                Reply::Refused(Refused::NoLeader { hint: None })
            )]
        );
        assert_eq!(requests.applied(&mut shared, 5, 1, || Reply::Done), None);
        assert_eq!(
            requests.applied(&mut shared, 5, 3, || Reply::Done),
            Some((Origin::Client(2), Reply::Done))
        );
        assert_eq!(shared.load, Default::default());
        assert_eq!(requests.deadline(), None);
    }

    #[test]
    fn a_forwarded_command_is_answered_by_whom_it_was_sent_to_and_once() {
        let (mut requests, mut shared) = (Requests::default(), shared());
        let mark = admit(&mut requests, &mut shared, 1);
        requests.forwarded(mark, MemberId(2));
        assert_eq!(
            requests.answered(&mut shared, MemberId(3), mark, Reply::Done),
            None
        );
        assert!(
            requests
                .answered(&mut shared, MemberId(2), mark, Reply::Done)
                .is_some()
        );
        assert_eq!(
            requests.answered(&mut shared, MemberId(2), mark, Reply::Done),
            None
        );
    }

    #[test]
    fn what_is_sent_and_lost_is_unknown() {
        let (mut requests, mut shared) = (Requests::default(), shared());
        let mark = admit(&mut requests, &mut shared, 1);
        requests.forwarded(mark, MemberId(2));
        assert_eq!(requests.unreachable(&mut shared, MemberId(3)), []);
        assert_eq!(
            requests.unreachable(&mut shared, MemberId(2)),
            [(Origin::Client(1), Reply::Unknown)]
        );
        let mark = admit(&mut requests, &mut shared, 2);
        requests.proposed(mark, 7, 1);
        assert_eq!(
            requests.covered(&mut shared, 7),
            [(Origin::Client(2), Reply::Unknown)]
        );
        admit(&mut requests, &mut shared, 3);
        assert_eq!(
            requests.expire(&mut shared, Duration::from_millis(4999)),
            []
        );
        assert_eq!(
            requests.expire(&mut shared, Duration::from_millis(5000)),
            [(Origin::Client(3), Reply::Unknown)]
        );
    }

    #[test]
    fn the_table_is_bounded_in_number_and_bytes() {
        let (mut requests, mut shared) = (Requests::default(), shared());
        let mut admit = |bytes| {
            requests.admit(
                &mut shared,
                Duration::ZERO,
                Origin::Client(1),
                Kind::Command,
                bytes,
            )
        };
        assert!(admit(90).is_ok());
        assert!(
            matches!(admit(20), Err(Refused::Busy(what)) if what.contains("max-pending-bytes"))
        );
        assert!(admit(5).is_ok() && admit(5).is_ok());
        assert!(
            matches!(admit(0), Err(Refused::Busy(what)) if what.contains("max-pending-requests"))
        );
    }

    #[test]
    fn a_command_that_comes_twice_is_seen_for_as_long_as_its_first_copy_may_be_in_the_log() {
        let mut seen = Seen::new(3);
        let (b, c) = (MemberId(2), MemberId(3));
        assert_eq!(seen.copy(true, 4, b, 9), Copy::First);
        assert_eq!(seen.copy(true, 4, c, 9), Copy::First);
        assert_eq!(seen.copy(true, 4, b, 9), Copy::Again);
        assert_eq!(seen.copy(false, 4, b, 9), Copy::Again, "leads no more");
        assert_eq!(seen.copy(false, 4, b, 8), Copy::First, "to be refused");
        assert_eq!(
            seen.copy(false, 3, b, 7),
            Copy::Unknown,
            "an earlier life may have led"
        );
        assert_eq!(seen.copy(false, 6, b, 7), Copy::First, "never led");
        assert_eq!(seen.copy(true, 7, b, 9), Copy::First, "another term");
        assert_eq!(seen.copy(false, 4, b, 9), Copy::Unknown, "forgotten");
    }

    #[test]
    fn what_is_remembered_of_copies_is_bounded() {
        let mut seen = Seen::new(0);
        for id in 0..=Seen::KEPT as u64 {
            assert_eq!(seen.copy(true, 1, MemberId(2), id), Copy::First);
        }
        let oldest = seen.copy(true, 1, MemberId(2), 0);
        assert_eq!(oldest, Copy::First, "the documented limit");
        for from in 3..2 + Seen::SENDERS as u64 {
            assert_eq!(seen.copy(true, 1, MemberId(from), 1), Copy::First);
        }
        assert_eq!(seen.copy(true, 1, MemberId(999), 1), Copy::Unknown);
        assert_eq!(seen.by.len(), Seen::SENDERS);
    }
}
