//! When the log is cut, and where. Never beyond what is durably applied; behind that, entries are kept for members
//! that lag moderately.

use std::collections::VecDeque;

use quorate_raft::{Entry, Index, Payload};

use crate::config::Config;

/// What has been applied since the log was cut last.
#[derive(Debug, Default)]
pub(crate) struct Compaction {
    /// Sizes of the applied entries up to `applied`, the latest last, as far back as they may be kept.
    sizes: VecDeque<usize>,
    bytes: usize,
    since_entries: u64,
    since_bytes: u64,
    /// Durably applied.
    flushed: Index,
    flushing: bool,
    /// Another group, or an administrator, wants the log cut up to here although nothing is due.
    asked: Option<Index>,
}

impl Compaction {
    pub(crate) fn new(flushed: Index) -> Self {
        Self {
            flushed,
            ..Self::default()
        }
    }

    /// As it was before a restart: of the entries in the log, those up to `flushed` are applied.
    pub(crate) fn recovered(flushed: Index, entries: &[Entry], config: &Config) -> Self {
        let mut compaction = Self::new(flushed);
        let applied = entries.partition_point(|entry| entry.index <= flushed);
        compaction.applying(&entries[..applied], config);
        compaction
    }

    /// These entries are being applied.
    pub(crate) fn applying(&mut self, entries: &[Entry], config: &Config) {
        for entry in entries {
            let size = match &entry.payload {
                Payload::Command(command) => command.len(),
                Payload::Empty | Payload::Configuration(_) => 0,
            } + size_of::<Entry>();
            self.sizes.push_back(size);
            self.bytes += size;
            self.since_bytes += size as u64;
        }
        self.since_entries += entries.len() as u64;
        while self.sizes.len() as u64 > config.keep_entries.max(1)
            || self.bytes as u64 > config.compact_after_bytes
        {
            let Some(size) = self.sizes.pop_front() else {
                break;
            };
            self.bytes -= size;
        }
    }

    /// The log is to be cut up to `index` as soon as it can be.
    pub(crate) fn ask(&mut self, index: Index) {
        self.asked = self.asked.max(Some(index));
    }

    /// Whether the state should be made durable now, so that the log can be cut; answered by [`Self::flushed`].
    pub(crate) fn begin_flush(&mut self, config: &Config) -> bool {
        let due = self.since_entries >= config.compact_after_entries
            || self.since_bytes >= config.compact_after_bytes;
        let begin = !self.flushing && (due || self.asked.is_some());
        self.flushing |= begin;
        begin
    }

    /// Everything up to `flushed` is durable and `applied` is applied: up to where the log is cut. `hold`: what a
    /// snapshot under way will need.
    pub(crate) fn flushed(
        &mut self,
        flushed: Index,
        applied: Index,
        config: &Config,
        hold: Option<Index>,
    ) -> Index {
        self.flushing = false;
        self.flushed = self.flushed.max(flushed);
        (self.since_entries, self.since_bytes) = (0, 0);
        let kept = config.keep_entries.min(self.sizes.len() as u64);
        let cut = applied
            .saturating_sub(kept)
            .min(hold.unwrap_or(Index::MAX))
            .max(self.asked.take().unwrap_or(0));
        cut.min(self.flushed)
    }

    /// The state is that of a snapshot, durably.
    pub(crate) fn installed(&mut self, index: Index) {
        self.flushed = self.flushed.max(index);
        self.sizes.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use quorate_raft::Contact;

    use super::*;

    fn config() -> Config {
        Config {
            compact_after_entries: 10,
            compact_after_bytes: 10_000,
            keep_entries: 4,
            ..Config::new(Contact::default(), 1)
        }
    }

    fn entries(count: u64, size: usize) -> Vec<Entry> {
        let payload = Payload::Command(vec![0; size].into());
        (1..=count)
            .map(|index| Entry {
                index,
                term: 1,
                payload: payload.clone(),
            })
            .collect()
    }

    #[test]
    fn the_log_is_cut_after_so_many_entries_and_some_are_kept() {
        let (mut compaction, config) = (Compaction::new(0), config());
        compaction.applying(&entries(9, 1), &config);
        assert!(!compaction.begin_flush(&config));
        compaction.applying(&entries(1, 1), &config);
        assert!(compaction.begin_flush(&config));
        assert!(!compaction.begin_flush(&config), "once");
        assert_eq!(compaction.flushed(10, 12, &config, None), 8);
        assert!(!compaction.begin_flush(&config));
    }

    #[test]
    fn never_beyond_what_is_durable_not_even_when_asked() {
        let (mut compaction, config) = (Compaction::new(0), config());
        compaction.ask(50);
        assert!(compaction.begin_flush(&config));
        assert_eq!(compaction.flushed(10, 60, &config, None), 10);
    }

    #[test]
    fn a_restart_does_not_forget_what_is_kept() {
        let (entries, config) = (entries(9, 1), config());
        let mut compaction = Compaction::recovered(6, &entries, &config);
        compaction.ask(0);
        assert!(compaction.begin_flush(&config));
        assert_eq!(compaction.flushed(6, 6, &config, None), 2);
        compaction.applying(&entries[6..], &config);
        assert!(!compaction.begin_flush(&config));
    }

    #[test]
    fn bytes_count_too_and_bound_what_is_kept() {
        let (mut compaction, config) = (Compaction::new(0), config());
        compaction.applying(&entries(4, 4000), &config);
        assert!(compaction.begin_flush(&config));
        assert_eq!(compaction.flushed(4, 4, &config, None), 2);
    }

    #[test]
    fn a_snapshot_under_way_holds_the_log_but_not_against_being_asked() {
        let (mut compaction, config) = (Compaction::new(0), config());
        compaction.applying(&entries(20, 1), &config);
        assert_eq!(compaction.flushed(20, 20, &config, Some(5)), 5);
        compaction.ask(9);
        assert_eq!(compaction.flushed(20, 20, &config, Some(5)), 9);
    }
}
