//! Linearizable reads in batches, and how old a stale read may be.
//!
//! One question is under way to the core at a time, and what arrives meanwhile waits for the next: a read may only
//! join a round that begins after it arrived (thesis, section 6.4).

use std::collections::VecDeque;

use quorate_raft::{Index, Now, Ticket};

use crate::planted::planted;
use crate::round::Shared;

/// How many confirmed rounds may wait for their index to be applied; later ones only bound less sharply.
const MAX_CONFIRMED: usize = 64;

#[derive(Clone, Copy, Debug)]
struct Reader {
    ticket: Ticket,
    deadline: Now,
}

#[derive(Debug)]
struct Batch {
    mark: u64,
    /// When the question was sent.
    sent: Now,
    readers: Vec<Reader>,
}

#[derive(Debug)]
struct Confirmed {
    index: Index,
    sent: Now,
    readers: Vec<Reader>,
}

/// The reads of a group.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    arrived: Vec<Reader>,
    /// A round is wanted even if nobody waits, so that stale reads have a recent bound.
    wanted: bool,
    under_way: Option<Batch>,
    confirmed: VecDeque<Confirmed>,
    /// When the latest question was sent whose index is applied here.
    fresh: Option<Now>,
}

impl Reads {
    /// A linearizable read arrives.
    pub(crate) fn arrive(&mut self, shared: &Shared, now: Now, ticket: Ticket) {
        self.arrived.push(Reader {
            ticket,
            deadline: now + shared.config.request_timeout,
        });
    }

    /// How fresh the state is for a stale read; asks for a round when that is a while ago.
    pub(crate) fn stale(&mut self, shared: &Shared, now: Now) -> Option<Now> {
        self.wanted |= self
            .fresh
            .is_none_or(|sent| sent + shared.config.heartbeat_interval <= now);
        self.fresh
    }

    /// Begins a round if one is needed and none is under way; its mark.
    pub(crate) fn begin(&mut self, shared: &mut Shared, now: Now) -> Option<u64> {
        if self.under_way.is_some() || (self.arrived.is_empty() && !self.wanted) {
            return None;
        }
        self.wanted = false;
        let mark = shared.mark();
        self.under_way = Some(Batch {
            mark,
            sent: now,
            readers: std::mem::take(&mut self.arrived),
        });
        Some(mark)
    }

    /// The core has confirmed the round: its reads are linearizable once `index` is applied.
    pub(crate) fn confirm(&mut self, mark: u64, index: Index, now: Now) {
        let Some(batch) = self.under_way.take_if(|batch| batch.mark == mark) else {
            return;
        };
        let sent = if planted!(StaleAgeCountsFromAnswer) {
            now
        } else {
            batch.sent
        };
        let Batch { readers, .. } = batch;
        // Without readers it only bounds stale reads: when the state lags, earlier rounds do that well enough.
        if !readers.is_empty() || self.confirmed.len() < MAX_CONFIRMED {
            self.confirmed.push_back(Confirmed {
                index,
                sent,
                readers,
            });
        }
    }

    /// The core has refused the round; its readers. `None`: it is no round of ours.
    pub(crate) fn refuse(&mut self, mark: u64) -> Option<Vec<Ticket>> {
        let batch = self.under_way.take_if(|batch| batch.mark == mark)?;
        Some(
            batch
                .readers
                .into_iter()
                .map(|reader| reader.ticket)
                .collect(),
        )
    }

    /// Everything up to `applied` is in the state: the reads that may be served now.
    pub(crate) fn release(&mut self, applied: Index) -> Vec<Ticket> {
        let mut ready = Vec::new();
        let fresh = &mut self.fresh;
        self.confirmed.retain(|confirmed| {
            if confirmed.index > applied {
                return true;
            }
            *fresh = (*fresh).max(Some(confirmed.sent));
            ready.extend(confirmed.readers.iter().map(|reader| reader.ticket));
            false
        });
        ready
    }

    /// The reads that have waited too long.
    pub(crate) fn expire(&mut self, now: Now) -> Vec<Ticket> {
        if self.deadline().is_none_or(|deadline| deadline > now) {
            return Vec::new();
        }
        let mut late = Vec::new();
        for readers in self.lists() {
            readers.retain(|reader| {
                let waits = reader.deadline > now;
                if !waits {
                    late.push(reader.ticket);
                }
                waits
            });
        }
        late
    }

    /// This member goes out of service: all readers.
    pub(crate) fn abandon(&mut self) -> Vec<Ticket> {
        self.lists()
            .flat_map(std::mem::take)
            .map(|reader| reader.ticket)
            .collect()
    }

    pub(crate) fn deadline(&self) -> Option<Now> {
        let confirmed = self.confirmed.iter().map(|confirmed| &confirmed.readers);
        let lists = confirmed
            .chain(self.under_way.iter().map(|batch| &batch.readers))
            .chain([&self.arrived]);
        // Each list is in order of arrival.
        lists
            .filter_map(|readers| readers.first())
            .map(|reader| reader.deadline)
            .min()
    }

    fn lists(&mut self) -> impl Iterator<Item = &mut Vec<Reader>> {
        let confirmed = self
            .confirmed
            .iter_mut()
            .map(|confirmed| &mut confirmed.readers);
        let under_way = self.under_way.iter_mut().map(|batch| &mut batch.readers);
        confirmed.chain(under_way).chain([&mut self.arrived])
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use quorate_raft::{Contact, MemberId};

    use super::*;
    use crate::config::Config;

    fn ms(ms: u64) -> Now {
        Duration::from_millis(ms)
    }

    fn shared() -> Shared {
        Shared::new(Config::new(Contact::default(), 1), MemberId(1))
    }

    #[test]
    fn a_read_joins_only_a_round_begun_after_it_arrived() {
        let (mut reads, mut shared) = (Reads::default(), shared());
        assert_eq!(reads.begin(&mut shared, ms(0)), None);
        reads.arrive(&shared, ms(1), 1);
        let first = reads.begin(&mut shared, ms(1)).unwrap();
        reads.arrive(&shared, ms(2), 2);
        assert_eq!(reads.begin(&mut shared, ms(2)), None, "one is under way");
        reads.confirm(first, 10, ms(3));
        assert!(reads.release(9).is_empty());
        assert_eq!(reads.release(10), [1]);
        let second = reads.begin(&mut shared, ms(4)).unwrap();
        assert_eq!(reads.refuse(first), None);
        assert_eq!(reads.refuse(second), Some(vec![2]));
    }

    #[test]
    fn a_stale_read_is_bounded_by_the_question_not_by_the_answer() {
        let (mut reads, mut shared) = (Reads::default(), shared());
        assert_eq!(reads.stale(&shared, ms(1)), None);
        let mark = reads.begin(&mut shared, ms(2)).unwrap();
        reads.confirm(mark, 10, ms(50));
        assert_eq!(reads.stale(&shared, ms(60)), None, "not applied yet");
        assert!(reads.release(10).is_empty());
        assert_eq!(reads.stale(&shared, ms(60)), Some(ms(2)));
        let wanted = reads.begin(&mut shared, ms(60)).unwrap();
        assert_eq!(reads.refuse(wanted), Some(vec![]));
        assert_eq!(reads.stale(&shared, ms(101)), Some(ms(2)));
        assert_eq!(
            reads.begin(&mut shared, ms(61)),
            None,
            "the last one is recent"
        );
    }

    #[test]
    fn whoever_waits_too_long_is_let_go_wherever_it_waits() {
        let (mut reads, mut shared) = (Reads::default(), shared());
        reads.arrive(&shared, ms(0), 1);
        let first = reads.begin(&mut shared, ms(0)).unwrap();
        reads.confirm(first, 10, ms(1));
        reads.arrive(&shared, ms(1), 2);
        reads.begin(&mut shared, ms(1));
        reads.arrive(&shared, ms(2), 3);
        assert_eq!(reads.deadline(), Some(ms(5000)));
        assert!(reads.expire(ms(4999)).is_empty());
        assert_eq!(reads.expire(ms(5001)), [1, 2]);
        assert_eq!(reads.abandon(), [3]);
        assert_eq!(reads.deadline(), None);
    }
}
