//! How long entries take: from this member's log to being committed, and from there to being applied.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use prometheus::Histogram;
use quorate_group_core::{GroupId, Record};
use quorate_raft::{Entry, Index};

/// A group that commits nothing for long must not make this grow; what is beyond goes unmeasured.
const MAX_WAITING: usize = 4096;

/// Entries on one leg of their way, by group: the last index of each batch, and when it set out.
#[derive(Debug, Default)]
pub(crate) struct Leg(BTreeMap<GroupId, VecDeque<(Index, Instant)>>);

impl Leg {
    /// A batch from `first` to `last` sets out; what was at or after `first` is gone.
    fn depart(&mut self, group: GroupId, first: Index, last: Index, at: Instant) {
        let waiting = self.0.entry(group).or_default();
        while waiting.back().is_some_and(|(index, _)| *index >= first) {
            waiting.pop_back();
        }
        if waiting.len() < MAX_WAITING {
            waiting.push_back((last, at));
        }
    }

    /// Everything up to `index` has arrived.
    fn arrive(&mut self, group: GroupId, index: Index, at: Instant, seconds: &Histogram) {
        let Some(waiting) = self.0.get_mut(&group) else {
            return;
        };
        while let Some((last, departed)) = waiting.front()
            && *last <= index
        {
            seconds.observe(at.duration_since(*departed).as_secs_f64());
            waiting.pop_front();
        }
    }
}

/// Both legs.
#[derive(Debug, Default)]
pub(crate) struct Latencies {
    to_commit: Leg,
    to_apply: Leg,
}

impl Latencies {
    /// These records go to the log.
    pub(crate) fn logged(&mut self, records: &[Record], at: Instant) {
        for record in records {
            if let Record::Entries { group, entries } = record
                && let (Some(first), Some(last)) = (entries.first(), entries.last())
            {
                self.to_commit.depart(*group, first.index, last.index, at);
            }
        }
    }

    /// These entries are committed and go to the state.
    pub(crate) fn committed(
        &mut self,
        group: GroupId,
        entries: &[Entry],
        at: Instant,
        seconds: &Histogram,
    ) {
        if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
            self.to_commit.arrive(group, last.index, at, seconds);
            self.to_apply.depart(group, first.index, last.index, at);
        }
    }

    /// Everything up to `index` is applied.
    pub(crate) fn applied(
        &mut self,
        group: GroupId,
        index: Index,
        at: Instant,
        seconds: &Histogram,
    ) {
        self.to_apply.arrive(group, index, at, seconds);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prometheus::HistogramOpts;

    use super::*;

    #[test]
    fn each_batch_is_measured_once_and_replaced_entries_never() {
        let seconds = Histogram::with_opts(HistogramOpts::new("x", "x")).unwrap();
        let (mut leg, start) = (Leg::default(), Instant::now());
        leg.depart(1, 1, 4, start);
        leg.depart(1, 5, 9, start);
        leg.depart(1, 5, 6, start + Duration::from_secs(1));
        leg.arrive(2, 9, start, &seconds);
        assert_eq!(seconds.get_sample_count(), 0);
        leg.arrive(1, 5, start + Duration::from_secs(1), &seconds);
        assert_eq!(seconds.get_sample_count(), 1);
        leg.arrive(1, 6, start + Duration::from_secs(3), &seconds);
        assert_eq!(
            (seconds.get_sample_count(), seconds.get_sample_sum()),
            (2, 3.0)
        );
    }
}
