//! What a group's core is told once: its identity, its times, its limits.

use std::time::Duration;

use crate::types::MemberId;

/// Times and limits of one group's core. All members of a group should have the same times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// This member.
    pub id: MemberId,
    /// The base of the election timeout: each timeout is drawn uniformly from `[base, 2 * base)`, so that
    /// members rarely stand at the same moment (paper, section 5.2). It is also how long a voter shields a
    /// leader that it hears, how long a leader leads without hearing a majority, how long a transfer may last
    /// and how long a forwarded read waits. Too short for the network and the disk: needless elections; too
    /// long: the time without a leader grows with it.
    pub election_timeout: Duration,
    /// How often a leader is heard when it has nothing else to send. At most a third of `election_timeout`, so
    /// that one lost message does not start an election.
    pub heartbeat_interval: Duration,
    /// How many bytes of entries go into one append, one entry at least. Larger: fewer messages while a
    /// member catches up, but a longer time in which nothing else gets through the connection.
    pub max_append_bytes: usize,
    /// How many appends may be under way to one member before its acknowledgements are waited for.
    pub max_inflight_appends: usize,
    /// How many bytes of entries may be under way to one member; bounds what the transport must buffer for a
    /// member that does not read.
    pub max_inflight_bytes: usize,
    /// How many bytes of entries the leader holds that it has not yet seen applied, before it answers
    /// [`crate::Refusal::Busy`]. Covers what is not committed and what is committed but not applied here, so a
    /// slow quorum and a slow state machine both push back. One proposal is always taken when nothing waits.
    /// A follower that has not applied so many bytes of committed entries takes no more in.
    pub max_uncommitted_bytes: usize,
    /// How many entries a member may be behind the leader's last one and still count as caught up, for
    /// promotion, transfer and for the health of a configuration that is to be left with fewer voters.
    pub lag_bound: u64,
    /// How many bytes of entries one [`crate::Effect::Apply`] holds at most, one entry at least: bounds one
    /// batch of the state store.
    pub max_apply_bytes: usize,
    /// Seeds election timeouts and the marks of forwarded reads. It must differ between members, and between
    /// two lives of one member: a reply to a read of the earlier life must not answer one of this life.
    pub seed: u64,
}

impl Config {
    /// The defaults for a member: 1 s election timeout, 100 ms heartbeats.
    pub fn new(id: MemberId, seed: u64) -> Self {
        Self {
            id,
            election_timeout: Duration::from_millis(1000),
            heartbeat_interval: Duration::from_millis(100),
            max_append_bytes: 1 << 20,
            max_inflight_appends: 256,
            max_inflight_bytes: 16 << 20,
            max_uncommitted_bytes: 64 << 20,
            lag_bound: 1024,
            max_apply_bytes: 1 << 20,
            seed,
        }
    }

    /// Says what is wrong with it, field by field.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.heartbeat_interval.is_zero() {
            return Err(ConfigError::Zero("heartbeat_interval"));
        }
        if self.election_timeout < self.heartbeat_interval * 3 {
            return Err(ConfigError::ElectionTooShort {
                election: self.election_timeout,
                heartbeat: self.heartbeat_interval,
            });
        }
        let limits = [
            ("max_append_bytes", self.max_append_bytes),
            ("max_inflight_appends", self.max_inflight_appends),
            ("max_inflight_bytes", self.max_inflight_bytes),
            ("max_uncommitted_bytes", self.max_uncommitted_bytes),
            ("max_apply_bytes", self.max_apply_bytes),
        ];
        match limits.iter().find(|(_, limit)| *limit == 0) {
            Some((field, _)) => Err(ConfigError::Zero(field)),
            None => Ok(()),
        }
    }
}

/// What is wrong with a [`Config`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A field that must not be zero is.
    #[error("{0} must be more than zero")]
    Zero(&'static str),
    /// One lost heartbeat would start an election.
    #[error(
        "election_timeout ({election:?}) must be at least three times heartbeat_interval ({heartbeat:?})"
    )]
    ElectionTooShort {
        /// As configured.
        election: Duration,
        /// As configured.
        heartbeat: Duration,
    },
}
