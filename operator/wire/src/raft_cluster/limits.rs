//! Every number that a RaftCluster can be given, in the order of its configuration file.

use crate::{Limit, Unit};

const KIB: i64 = 1024;
const MIB: i64 = 1024 * KIB;
const MINUTE_MS: i64 = 60_000;
const ANY: i64 = i64::MAX;

/// An entry is copied to every member in one message, and held in memory meanwhile.
const MAX_BODY_BYTES: i64 = 8 * MIB;

/// All of them.
pub const LIMITS: [Limit; 18] = [
    ELECTION_TIMEOUT_MS,
    HEARTBEAT_INTERVAL_MS,
    COMPACT_AFTER_ENTRIES,
    COMPACT_AFTER_BYTES,
    KEEP_ENTRIES,
    MAX_KEY_BYTES,
    MAX_VALUE_BYTES,
    MAX_BATCH_OPERATIONS,
    MAX_BATCH_BYTES,
    MAX_PAGE_ENTRIES,
    MAX_PENDING_BYTES,
    MAX_PENDING_REQUESTS,
    MAX_CONNECTIONS,
    MAX_SESSIONS,
    SESSION_LIFETIME_MS,
    REQUEST_TIMEOUT_MS,
    LAG_BOUND_ENTRIES,
    FREE_SPACE_RESERVE_BYTES,
];

/// How long a follower bears to be without a leader. Beyond these an election never settles, or takes longer than anyone
/// waits.
pub const ELECTION_TIMEOUT_MS: Limit = Limit {
    field: "timing.electionTimeoutMs",
    default: 1000,
    least: 50,
    most: 60_000,
    unit: Unit::Milliseconds,
};

/// How often a leader says that it is there.
pub const HEARTBEAT_INTERVAL_MS: Limit = Limit {
    field: "timing.heartbeatIntervalMs",
    default: 100,
    least: 10,
    most: 10_000,
    unit: Unit::Milliseconds,
};

/// After how many entries the log is cut: at least this seldom, or members do nothing but take snapshots.
pub const COMPACT_AFTER_ENTRIES: Limit = Limit {
    field: "snapshots.compactAfterEntries",
    default: 10_000,
    least: 100,
    most: ANY,
    unit: Unit::Things,
};

/// After how many bytes the log is cut.
pub const COMPACT_AFTER_BYTES: Limit = Limit {
    field: "snapshots.compactAfterBytes",
    default: 64 * MIB,
    least: MIB,
    most: ANY,
    unit: Unit::Bytes,
};

/// How many entries stay when it is.
pub const KEEP_ENTRIES: Limit = Limit {
    field: "snapshots.keepEntries",
    default: 5_000,
    least: 0,
    most: ANY,
    unit: Unit::Things,
};

/// The longest key: it is in the head of every request for it.
pub const MAX_KEY_BYTES: Limit = Limit {
    field: "limits.maxKeyBytes",
    default: 4 * KIB,
    least: 1,
    most: 32 * KIB,
    unit: Unit::Bytes,
};

/// The largest value.
pub const MAX_VALUE_BYTES: Limit = Limit {
    field: "limits.maxValueBytes",
    default: MIB,
    least: 1,
    most: MAX_BODY_BYTES,
    unit: Unit::Bytes,
};

/// The conditions and the operations of a batch, each.
pub const MAX_BATCH_OPERATIONS: Limit = Limit {
    field: "limits.maxBatchOperations",
    default: 128,
    least: 1,
    most: 10_000,
    unit: Unit::Things,
};

/// The largest body of a batch.
pub const MAX_BATCH_BYTES: Limit = Limit {
    field: "limits.maxBatchBytes",
    default: 4 * MIB,
    least: 1,
    most: MAX_BODY_BYTES,
    unit: Unit::Bytes,
};

/// The entries of a page.
pub const MAX_PAGE_ENTRIES: Limit = Limit {
    field: "limits.maxPageEntries",
    default: 1000,
    least: 1,
    most: 100_000,
    unit: Unit::Things,
};

/// The bytes of writes that wait.
pub const MAX_PENDING_BYTES: Limit = Limit {
    field: "limits.maxPendingBytes",
    default: 64 * MIB,
    least: 1,
    most: u32::MAX as i64,
    unit: Unit::Bytes,
};

/// The requests that wait.
pub const MAX_PENDING_REQUESTS: Limit = Limit {
    field: "limits.maxPendingRequests",
    default: 10_000,
    least: 1,
    most: i32::MAX as i64,
    unit: Unit::Things,
};

/// The open client connections.
pub const MAX_CONNECTIONS: Limit = Limit {
    field: "limits.maxConnections",
    default: 4096,
    least: 1,
    most: 1 << 20,
    unit: Unit::Things,
};

/// The client sessions of the group.
pub const MAX_SESSIONS: Limit = Limit {
    field: "limits.maxSessions",
    default: 10_000,
    least: 1,
    most: i32::MAX as i64,
    unit: Unit::Things,
};

/// How long a session lives after its last write: a shorter one would end between two writes, a longer one outlives
/// every client.
pub const SESSION_LIFETIME_MS: Limit = Limit {
    field: "limits.sessionLifetimeMs",
    default: MINUTE_MS,
    least: 1000,
    most: 24 * 60 * MINUTE_MS,
    unit: Unit::Milliseconds,
};

/// How long a request may take.
pub const REQUEST_TIMEOUT_MS: Limit = Limit {
    field: "limits.requestTimeoutMs",
    default: 5000,
    least: 1,
    most: 10 * MINUTE_MS,
    unit: Unit::Milliseconds,
};

/// How many entries a voter may lag and still be Ready.
pub const LAG_BOUND_ENTRIES: Limit = Limit {
    field: "limits.lagBoundEntries",
    default: 1000,
    least: 1,
    most: ANY,
    unit: Unit::Things,
};

/// The free bytes of disk below which client writes are refused.
pub const FREE_SPACE_RESERVE_BYTES: Limit = Limit {
    field: "limits.freeSpaceReserveBytes",
    default: 64 * MIB,
    least: 0,
    most: ANY,
    unit: Unit::Bytes,
};
