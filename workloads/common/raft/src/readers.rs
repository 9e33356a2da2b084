//! Who waits for a read, at a leader and at a follower (thesis, section 6.4).

use std::collections::{BTreeMap, VecDeque};

use crate::planted::planted;
use crate::types::*;

/// Who waits for a read index.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reader {
    Here(Ticket),
    /// A follower, and its mark.
    There(MemberId, Ticket),
}

/// Reads that share one confirmation.
pub(crate) struct Round {
    pub(crate) number: u64,
    /// The commit index when the round began.
    pub(crate) index: Index,
    pub(crate) readers: Vec<Reader>,
}

/// A leader's reads. One round is under way at a time: all that comes meanwhile shares the next, so that the cost
/// of a round is spread over more reads the busier the leader is.
#[derive(Default)]
pub(crate) struct LeaderReads {
    pub(crate) round: u64,
    pub(crate) arrived: Vec<Reader>,
    pub(crate) under_way: VecDeque<Round>,
}

impl LeaderReads {
    /// The latest round begun in this term; 0 before the first.
    pub(crate) fn round(&self) -> u64 {
        self.round
    }

    pub(crate) fn waiting(&self) -> usize {
        self.arrived.len()
            + self
                .under_way
                .iter()
                .map(|round| round.readers.len())
                .sum::<usize>()
    }

    /// A read that arrives now may only join a round that begins later: an echo of a round under way says that
    /// this member led before the read came, not since.
    pub(crate) fn add(&mut self, reader: Reader) {
        match self.under_way.back_mut() {
            Some(round) if planted!(ReadJoinsOldRound) => round.readers.push(reader),
            _ => self.arrived.push(reader),
        }
    }

    pub(crate) fn begin(&mut self, index: Index) -> bool {
        if self.arrived.is_empty() || !self.under_way.is_empty() {
            return false;
        }
        self.round += 1;
        let readers = std::mem::take(&mut self.arrived);
        self.under_way.push_back(Round {
            number: self.round,
            index,
            readers,
        });
        true
    }

    pub(crate) fn confirm(&mut self, number: u64) -> impl Iterator<Item = (Reader, Index)> {
        let confirmed = self
            .under_way
            .iter()
            .take_while(|round| round.number <= number)
            .count();
        let rounds: Vec<Round> = self.under_way.drain(..confirmed).collect();
        rounds.into_iter().flat_map(|round| {
            round
                .readers
                .into_iter()
                .map(move |reader| (reader, round.index))
        })
    }
}

/// Reads of a follower that its leader is asked about.
pub(crate) struct Asked {
    pub(crate) tickets: Vec<Ticket>,
    pub(crate) deadline: Now,
}

/// A follower's reads: those of one round share one question.
pub(crate) struct ForwardedReads {
    pub(crate) arrived: Vec<Ticket>,
    pub(crate) asked: BTreeMap<Ticket, Asked>,
    /// Marks the next question. Never one that an earlier life of this member may have used.
    pub(crate) next_mark: Ticket,
}

impl ForwardedReads {
    pub(crate) fn new(first_mark: Ticket) -> Self {
        Self {
            arrived: Vec::new(),
            asked: BTreeMap::new(),
            next_mark: first_mark,
        }
    }

    /// When the oldest question is given up.
    pub(crate) fn deadline(&self) -> Option<Now> {
        self.asked.values().next().map(|asked| asked.deadline)
    }

    pub(crate) fn take_all(&mut self) -> Vec<Ticket> {
        let mut tickets = std::mem::take(&mut self.arrived);
        tickets.extend(
            std::mem::take(&mut self.asked)
                .into_values()
                .flat_map(|asked| asked.tickets),
        );
        tickets
    }

    pub(crate) fn take_late(&mut self, now: Now) -> Vec<Ticket> {
        let mut late = Vec::new();
        while let Some(first) = self
            .asked
            .first_entry()
            .filter(|first| first.get().deadline <= now)
        {
            late.extend(first.remove().tickets);
        }
        late
    }
}
