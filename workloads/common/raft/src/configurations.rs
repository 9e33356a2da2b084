//! Which configuration is in force: what the state says, and after it what the log says.

use crate::log::Log;
use crate::planted::planted;
use crate::types::*;

/// The configurations that the log still may fall back to, the last of them in force: one takes effect as soon as
/// it is in the log, and goes with its entry when that is truncated.
pub(crate) struct Configurations {
    /// By index, never empty. The first is committed.
    history: Vec<(Index, Configuration)>,
}

impl Configurations {
    /// What the state says (applied up to `applied`), and after it what the log says.
    pub(crate) fn restore(
        index: Index,
        configuration: Configuration,
        applied: Index,
        log: &Log,
    ) -> Self {
        let mut configurations = Self {
            history: vec![(index, configuration)],
        };
        for entry in log.slice(applied + 1, log.last_index(), usize::MAX) {
            if let Payload::Configuration(configuration) = entry.payload {
                configurations.push(entry.index, configuration);
            }
        }
        configurations
    }

    fn latest(&self) -> &(Index, Configuration) {
        self.history
            .last()
            .unwrap_or_else(|| unreachable!("a committed configuration never goes"))
    }

    pub(crate) fn in_force(&self) -> &Configuration {
        &self.latest().1
    }

    pub(crate) fn index(&self) -> Index {
        self.latest().0
    }

    pub(crate) fn push(&mut self, index: Index, configuration: Configuration) {
        assert!(
            index > self.index(),
            "configurations come in the order of the log"
        );
        self.history.push((index, configuration));
    }

    /// The log was truncated from `from` on: what stood there is in force no more.
    pub(crate) fn truncate(&mut self, from: Index) {
        if planted!(ConfigurationNotRolledBack) {
            let in_force = self.in_force().clone();
            self.history.retain(|(index, _)| *index < from);
            if let Some(last) = self.history.last_mut() {
                last.1 = in_force;
            }
            return;
        }
        self.history.retain(|(index, _)| *index < from);
        assert!(
            !self.history.is_empty(),
            "a committed configuration is never truncated"
        );
    }

    /// Whether the member votes in a configuration that may turn out to be the last one committed. One that the
    /// latest leaves out still stands while that is uncommitted: it may be the only one that can bring it to the
    /// others, who would refuse each other their votes for ever (thesis, section 4.2.2). Its own vote does not
    /// count then.
    pub(crate) fn may_stand(&self, id: MemberId) -> bool {
        self.history
            .iter()
            .any(|(_, configuration)| configuration.is_voter(id))
    }

    /// Everything up to `commit` is committed: earlier configurations cannot come back.
    pub(crate) fn committed(&mut self, commit: Index) {
        let settled = self
            .history
            .iter()
            .filter(|(index, _)| *index <= commit)
            .count();
        self.history.drain(..settled.saturating_sub(1));
    }

    /// No entry of the log is left.
    pub(crate) fn forget_log(&mut self) {
        self.history.truncate(1);
    }

    /// The state is that of a snapshot; what the log holds beyond it stays.
    pub(crate) fn installed(&mut self, snapshot: &SnapshotMeta) {
        self.history.retain(|(index, _)| *index > snapshot.index);
        self.history.insert(
            0,
            (snapshot.configuration_index, snapshot.configuration.clone()),
        );
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn ids(ids: &[u64]) -> BTreeSet<MemberId> {
        ids.iter().copied().map(MemberId).collect()
    }

    fn configuration(voters: &[u64], learners: &[u64]) -> Configuration {
        let mut configuration = Configuration {
            voters: ids(voters),
            learners: ids(learners),
            ..Configuration::default()
        };
        for id in configuration.members() {
            configuration.contacts.insert(id, Contact::default());
        }
        configuration
    }

    #[test]
    fn truncation_brings_the_earlier_configuration_back() {
        let log = Log::new(Position::default());
        let mut configurations = Configurations::restore(2, configuration(&[1], &[]), 2, &log);
        configurations.push(5, configuration(&[1], &[2]));
        configurations.push(7, configuration(&[1, 2], &[]));
        configurations.truncate(7);
        assert_eq!(configurations.index(), 5);
        configurations.truncate(3);
        assert_eq!(
            (configurations.index(), configurations.in_force()),
            (2, &configuration(&[1], &[]))
        );
    }
}
