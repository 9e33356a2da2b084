//! What a member finds on its disk when it starts, and what it makes of it.

use crate::config::ConfigError;
use crate::configurations::Configurations;
use crate::disk::Disk;
use crate::io::LogStart;
use crate::log::Log;
use crate::types::*;

/// What is on disk. An empty disk is `Restored::default()`: a member without a configuration, which waits for a
/// leader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// The last durable vote.
    pub vote: Vote,
    /// The log's entries follow this one.
    pub log_start: Position,
    /// The log, consecutive from `log_start.index + 1` on.
    pub entries: Vec<Entry>,
    /// Where the applied state stands: everything up to its index is in the state, durably.
    pub snapshot: SnapshotMeta,
}

/// Why a member cannot start from what is on its disk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// Entries between the state and the log are missing: one of them is not of this disk.
    #[error(
        "the log begins after index {log_start}, but the state has applied only {applied}: entries are lost"
    )]
    Gap {
        /// Where the log begins.
        log_start: Index,
        /// Where the state ends.
        applied: Index,
    },
    /// The entries are not consecutive.
    #[error("the log holds index {found} where {expected} should stand")]
    Hole {
        /// What should come.
        expected: Index,
        /// What came.
        found: Index,
    },
    /// Terms never fall along a log.
    #[error("term {term} at index {index} is lower than the one before")]
    TermFalls {
        /// Where.
        index: Index,
        /// The term there.
        term: Term,
    },
    /// Index 0 stands for the empty log and has no term; terms begin at 1.
    #[error("index {index} cannot have term {term}")]
    Impossible {
        /// Where.
        index: Index,
        /// The term there.
        term: Term,
    },
    /// The configuration of the core is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// What a member starts with.
pub(crate) struct Recovered {
    pub(crate) log: Log,
    pub(crate) disk: Disk,
    pub(crate) vote: Vote,
    pub(crate) configurations: Configurations,
}

/// Makes a consistent whole of what was durable at a crash. State, log and vote become durable at different times,
/// so the state may be ahead of the log (a committed entry is applied when a quorum has it, which need not include
/// this member's disk), and the log may still hold what was overwritten.
pub(crate) fn recover(restored: Restored) -> Result<Recovered, RestoreError> {
    let Restored {
        vote,
        log_start,
        entries,
        snapshot,
    } = restored;
    let applied = Position {
        index: snapshot.index,
        term: snapshot.term,
    };
    if log_start.index > applied.index {
        return Err(RestoreError::Gap {
            log_start: log_start.index,
            applied: applied.index,
        });
    }
    let log = read(log_start, entries)?;
    let term = vote.term.max(log.last().term).max(applied.term);
    // Entries follow their term to the disk and a vote waits for its own, so in a term that is known by its
    // entries alone nothing was voted.
    let raised = term > vote.term;
    let vote = if raised {
        Vote {
            term,
            voted_for: None,
        }
    } else {
        vote
    };
    let agrees = log.term(applied.index) == Some(applied.term);
    let (log, mut disk) = if agrees {
        let disk = Disk::new(log.last_index());
        (log, disk)
    } else {
        // Overwritten in memory before the crash, or never written: nothing in it was promised to anybody.
        let mut disk = Disk::new(applied.index);
        disk.reset(LogStart {
            index: applied.index,
            term: applied.term,
            drop_suffix: true,
        });
        (Log::new(applied), disk)
    };
    if raised {
        disk.vote_changed();
    }
    let configurations = Configurations::restore(
        snapshot.configuration_index,
        snapshot.configuration,
        applied.index,
        &log,
    );
    Ok(Recovered {
        log,
        disk,
        vote,
        configurations,
    })
}

fn read(start: Position, entries: Vec<Entry>) -> Result<Log, RestoreError> {
    let mut log = Log::new(start);
    if (start.index == 0) != (start.term == 0) {
        return Err(RestoreError::Impossible {
            index: start.index,
            term: start.term,
        });
    }
    for entry in entries {
        let (last, index, term) = (log.last(), entry.index, entry.term);
        if index != last.index + 1 {
            return Err(RestoreError::Hole {
                expected: last.index + 1,
                found: index,
            });
        }
        if term < last.term {
            return Err(RestoreError::TermFalls { index, term });
        }
        if term == 0 {
            return Err(RestoreError::Impossible { index, term });
        }
        log.push(entry);
    }
    Ok(log)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: Index, term: Term) -> Entry {
        Entry {
            index,
            term,
            payload: Payload::Empty,
        }
    }

    fn applied(index: Index, term: Term) -> SnapshotMeta {
        SnapshotMeta {
            index,
            term,
            ..SnapshotMeta::default()
        }
    }

    #[test]
    fn a_log_that_ends_before_the_state_begins_anew_after_it() {
        let entries = vec![entry(1, 1), entry(2, 1)];
        let restored = Restored {
            entries,
            snapshot: applied(5, 2),
            ..Restored::default()
        };
        let mut recovered = recover(restored).unwrap();
        assert_eq!(recovered.log.start(), Position { index: 5, term: 2 });
        assert_eq!(
            recovered.vote,
            Vote {
                term: 2,
                voted_for: None
            }
        );
        let write = recovered.disk.take(recovered.vote, &recovered.log).unwrap();
        assert_eq!(
            write.reset,
            Some(LogStart {
                index: 5,
                term: 2,
                drop_suffix: true
            })
        );
        assert_eq!(write.vote, Some(recovered.vote));
    }

    #[test]
    fn a_log_that_disagrees_with_the_state_was_overwritten() {
        let entries = vec![entry(1, 1), entry(2, 1), entry(3, 1)];
        let restored = Restored {
            entries,
            snapshot: applied(2, 2),
            ..Restored::default()
        };
        let recovered = recover(restored).unwrap();
        assert_eq!(recovered.log.last(), Position { index: 2, term: 2 });
    }

    #[test]
    fn entries_after_the_state_stay() {
        let entries = vec![entry(2, 1), entry(3, 2)];
        let log_start = Position { index: 1, term: 1 };
        let vote = Vote {
            term: 2,
            voted_for: Some(MemberId(7)),
        };
        let restored = Restored {
            vote,
            log_start,
            entries,
            snapshot: applied(2, 1),
        };
        let mut recovered = recover(restored).unwrap();
        assert_eq!(recovered.log.last(), Position { index: 3, term: 2 });
        assert_eq!(recovered.vote, vote);
        assert!(
            recovered
                .disk
                .take(recovered.vote, &recovered.log)
                .is_none()
        );
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let at = |start, entries| {
            let log_start = Position {
                index: start,
                term: u64::from(start > 0),
            };
            recover(Restored {
                log_start,
                entries,
                ..Restored::default()
            })
            .err()
        };
        assert_eq!(
            at(3, vec![]),
            Some(RestoreError::Gap {
                log_start: 3,
                applied: 0
            })
        );
        assert_eq!(
            at(0, vec![entry(2, 1)]),
            Some(RestoreError::Hole {
                expected: 1,
                found: 2
            })
        );
        assert_eq!(
            at(0, vec![entry(1, 2), entry(2, 1)]),
            Some(RestoreError::TermFalls { index: 2, term: 1 })
        );
        assert_eq!(
            at(0, vec![entry(1, 0)]),
            Some(RestoreError::Impossible { index: 1, term: 0 })
        );
    }
}
