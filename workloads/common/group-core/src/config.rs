//! What the groups of a process are told once: their times and limits.

use std::time::Duration;

use quorate_raft::Contact;

/// Times and limits of the groups. Times should be the same on all members of a group; limits may differ, because
/// those that decide what a command does travel in the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// This member's name and peer address, as other members should know it.
    pub contact: Contact,
    /// Seeds timeouts and marks on messages. Must differ between members and between two lives of one member: an
    /// answer to a question of the earlier life must not answer one of this life.
    pub seed: u64,
    /// See [`quorate_raft::Config::election_timeout`].
    pub election_timeout: Duration,
    /// See [`quorate_raft::Config::heartbeat_interval`].
    pub heartbeat_interval: Duration,
    /// Whether a group may be bootstrapped on a disk that knows another group.
    pub many_groups: bool,
    /// How many entries a member may be behind and still count as caught up.
    pub lag_bound_entries: u64,
    /// How many client requests may wait in all groups together.
    pub max_pending_requests: usize,
    /// How many bytes of commands may wait in all groups together; a follower that has as many of committed entries
    /// to apply to one group takes no more in.
    pub max_pending_bytes: usize,
    /// How long a request may wait for its answer.
    pub request_timeout: Duration,
    /// How many sessions a group may have. It travels in each opening, so that all members decide alike.
    pub max_sessions: u64,
    /// The log is cut after so many applied entries.
    pub compact_after_entries: u64,
    /// The log is cut after so many bytes of applied entries.
    pub compact_after_bytes: u64,
    /// How many applied entries stay in the log for members that lag (at most `compact_after_bytes` of them).
    pub keep_entries: u64,
    /// The size of a piece of a snapshot, in bytes.
    pub chunk_bytes: usize,
    /// How many pieces may be under way to one member.
    pub chunk_window: usize,
    /// The size of a segment of the log, in bytes.
    pub segment_bytes: u64,
    /// With more segments than this, groups that hold back the oldest one are compacted early.
    pub max_segments: usize,
}

/// The largest piece of a snapshot that a receiver takes, in bytes.
pub const MAX_CHUNK_BYTES: usize = 4 << 20;

impl Config {
    /// The defaults of the RaftCluster's member.
    pub fn new(contact: Contact, seed: u64) -> Self {
        Self {
            contact,
            seed,
            election_timeout: Duration::from_millis(1000),
            heartbeat_interval: Duration::from_millis(100),
            many_groups: false,
            lag_bound_entries: 1000,
            max_pending_requests: 10_000,
            max_pending_bytes: 64 << 20,
            request_timeout: Duration::from_millis(5000),
            max_sessions: 10_000,
            compact_after_entries: 10_000,
            compact_after_bytes: 64 << 20,
            keep_entries: 5000,
            chunk_bytes: 256 << 10,
            chunk_window: 4,
            segment_bytes: 64 << 20,
            max_segments: 8,
        }
    }

    /// Says which field is wrong.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let positive = [
            ("max-pending-requests", self.max_pending_requests as u64),
            ("max-pending-bytes", self.max_pending_bytes as u64),
            ("request-timeout", self.request_timeout.as_millis() as u64),
            ("max-sessions", self.max_sessions),
            ("compact-after-entries", self.compact_after_entries),
            ("compact-after-bytes", self.compact_after_bytes),
            ("chunk-bytes", self.chunk_bytes as u64),
            ("chunk-window", self.chunk_window as u64),
            ("segment-bytes", self.segment_bytes),
            ("max-segments", self.max_segments as u64),
        ];
        if let Some((field, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(ConfigError::Zero(field));
        }
        if self.chunk_bytes > MAX_CHUNK_BYTES {
            return Err(ConfigError::ChunkTooLarge(self.chunk_bytes));
        }
        Ok(self.raft(quorate_raft::MemberId(1), 0).validate()?)
    }

    /// The configuration of one group's core.
    pub(crate) fn raft(
        &self,
        id: quorate_raft::MemberId,
        group: crate::GroupId,
    ) -> quorate_raft::Config {
        quorate_raft::Config {
            election_timeout: self.election_timeout,
            heartbeat_interval: self.heartbeat_interval,
            max_uncommitted_bytes: self.max_pending_bytes,
            lag_bound: self.lag_bound_entries,
            ..quorate_raft::Config::new(id, self.seed ^ group.wrapping_mul(0x9e37_79b9_7f4a_7c15))
        }
    }
}

/// What is wrong with a [`Config`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A field that must not be zero is.
    #[error("{0} must be more than zero")]
    Zero(&'static str),
    /// Receivers would refuse it.
    #[error("chunk-bytes is {0}, but may be at most {MAX_CHUNK_BYTES}")]
    ChunkTooLarge(usize),
    /// The times do not fit together.
    #[error(transparent)]
    Raft(#[from] quorate_raft::ConfigError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_hold_and_each_wrong_field_is_named() {
        let config = Config::new(Contact::default(), 1);
        assert_eq!(config.validate(), Ok(()));
        let zero = Config {
            max_sessions: 0,
            ..config.clone()
        };
        assert_eq!(zero.validate(), Err(ConfigError::Zero("max-sessions")));
        let large = Config {
            chunk_bytes: MAX_CHUNK_BYTES + 1,
            ..config.clone()
        };
        assert_eq!(
            large.validate(),
            Err(ConfigError::ChunkTooLarge(MAX_CHUNK_BYTES + 1))
        );
        let hasty = Config {
            election_timeout: config.heartbeat_interval,
            ..config
        };
        assert!(matches!(hasty.validate(), Err(ConfigError::Raft(_))));
    }
}
