//! What a user asks for.

use kube::{CustomResource, KubeSchema};
use quorate_wire::raft_cluster as limits;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules::{IMAGE, NAME, Rule, VERSION, attach, bound};
use crate::{Logging, Monitoring, PodOverrides, Pods, Resources, Service, Storage, Tls};

/// An even number needs a larger quorum and bears no more failures; more than 7 only slow every write.
pub const MEMBERS: Rule = (
    "self in [1, 3, 5, 7]",
    "members must be 1, 3, 5 or 7: an even number bears no more failures than the odd one below it",
);

/// Members with and without certificates do not speak to one another, so no order of restarts keeps a quorum.
pub const TLS_IS_FIXED: Rule = (
    "has(self.tls) == has(oldSelf.tls)",
    "tls cannot be switched on or off on a living cluster: make a new cluster and copy the data (tls.secretName may change)",
);

/// A follower must miss several heartbeats, not one, before it calls an election.
pub const ELECTION_OUTLASTS_HEARTBEATS: Rule = (
    "self.electionTimeoutMs >= 5 * self.heartbeatIntervalMs",
    "timing.electionTimeoutMs must be at least 5 times timing.heartbeatIntervalMs: raise the one or lower the other",
);

/// What is kept is part of what made the log too long.
pub const KEEP_LESS_THAN_COMPACTED: Rule = (
    "self.keepEntries < self.compactAfterEntries",
    "snapshots.keepEntries must be less than snapshots.compactAfterEntries: a log cannot be cut to more than it holds",
);

/// Else the largest request that is allowed could never be written.
pub const A_REQUEST_FITS_THE_QUEUE: Rule = (
    "self.maxPendingBytes >= self.maxValueBytes && self.maxPendingBytes >= self.maxBatchBytes",
    "limits.maxPendingBytes must be at least maxValueBytes and maxBatchBytes, or the largest request could never be written",
);

/// A log that is due to be cut, the snapshot that cuts it and the reserve are on the disk at once: else members refuse
/// writes for ever. As fractions, since a sum of any two integers may be none; a size that is none is told elsewhere.
pub const THE_LOG_FITS: Rule = (
    "!isQuantity(self.storage.size) || quantity(self.storage.size).compareTo(quantity('512Mi')) < 0 \
     || quantity(self.storage.size).asApproximateFloat() \
     >= double(self.limits.freeSpaceReserveBytes) + 2.0 * double(self.snapshots.compactAfterBytes)",
    "storage.size must hold limits.freeSpaceReserveBytes and twice snapshots.compactAfterBytes (the log and a snapshot), \
     or members would refuse every write: raise the one or lower the others",
);

/// A key beyond the limit can be neither read nor deleted.
pub const KEYS_STAY_IN_REACH: Rule = (
    "self.maxKeyBytes >= oldSelf.maxKeyBytes",
    "limits.maxKeyBytes can only grow: longer keys that are there already could be neither read nor deleted",
);

/// A name, or all below one.
pub const HOSTS: Rule = (
    "self.all(host, host.matches('^([*][.])?[a-z0-9]([-a-z0-9._]*[a-z0-9])?$'))",
    "allowedHosts must be names in lower case without port, as store.example.com, or *.example.com for all below it",
);

/// What a browser calls the origin of a page.
pub const ORIGINS: Rule = (
    "self.all(origin, origin.matches('^https?://([*][.])?[a-z0-9]([-a-z0-9._]*[a-z0-9])?(:[1-9][0-9]{0,4})?$'))",
    "allowedOrigins must be scheme, name and port (unless it is the scheme's own), as https://panel.example.com",
);

/// A replicated key-value store: one raft group of 1, 3, 5 or 7 members.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "quorate.dev",
    version = "v1alpha1",
    kind = "RaftCluster",
    doc = "A replicated key-value store: one raft group of 1, 3, 5 or 7 members, served over HTTP.",
    namespaced,
    status = "crate::RaftClusterStatus",
    derive = "PartialEq",
    shortname = "rcl",
    category = "quorate",
    cel,
    validation = NAME,
    scale(
        spec_replicas_path = ".spec.members",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Members", type_ = "integer", json_path = ".spec.members"),
    printcolumn(name = "Ready", type_ = "integer", json_path = ".status.readyReplicas"),
    printcolumn(name = "Leader", type_ = "string", json_path = ".status.leader"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.currentVersion"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Term", type_ = "integer", json_path = ".status.term", priority = "1"),
    printcolumn(name = "Endpoints", type_ = "string", json_path = ".status.endpoints.client", priority = "1")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = TLS_IS_FIXED, validation = THE_LOG_FITS)]
pub struct RaftClusterSpec {
    /// How many members vote: 3 bear the loss of one, 5 of two, 7 of three; 1 bears none.
    #[serde(default = "default_members")]
    #[x_kube(validation = MEMBERS)]
    pub members: i32,
    /// The image of the members; the operator's own when absent. Name one to decide yourself when to upgrade.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    #[x_kube(validation = IMAGE)]
    pub image: Option<String>,
    /// The version that the image's binary reports. When it is given, an upgrade stops at the first member that
    /// reports another: the image is not what its name says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    #[x_kube(validation = VERSION)]
    pub version: Option<String>,
    /// The volume of each member.
    #[serde(default)]
    pub storage: Storage,
    /// What each member asks of its node, and what it may not exceed.
    #[serde(default)]
    pub resources: Resources,
    /// When a leader is given up.
    #[serde(default)]
    pub timing: Timing,
    /// When the log is cut.
    #[serde(default)]
    pub snapshots: Snapshots,
    /// What a member takes on at most; what goes beyond is refused with an answer that names the limit.
    #[serde(default)]
    pub limits: Limits,
    /// Certificates. Without them every listener speaks plain HTTP, and whoever reaches the admin listener may use it:
    /// status says `insecure`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// How clients reach the cluster.
    #[serde(default)]
    pub service: Service,
    /// Names by which clients without TLS may call a member, beside those of its pod and of the clients' Service, addresses
    /// and `localhost`: as store.example.com, or *.example.com for all below it. A request by another name is refused (403),
    /// since a web page may have led a browser there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 253)))]
    #[x_kube(validation = HOSTS)]
    pub allowed_hosts: Vec<String>,
    /// Origins whose web pages may write, as https://panel.example.com. The writes of others are refused (403).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 270)))]
    #[x_kube(validation = ORIGINS)]
    pub allowed_origins: Vec<String>,
    /// How the cluster is watched.
    #[serde(default)]
    pub monitoring: Monitoring,
    /// What the members log.
    #[serde(default)]
    pub logging: Logging,
    /// While true the operator changes nothing, and goes on reporting.
    #[serde(default)]
    pub paused: bool,
    /// Where and how the members' pods run.
    #[serde(default)]
    pub pods: Pods,
    /// A partial PodTemplateSpec, merged last, for what `pods` does not reach. The member's container is `member`.
    /// What carries identity, addresses or the security profile is refused, in the condition Degraded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_overrides: Option<PodOverrides>,
}

/// When a leader is given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(transform = timing_rules)]
pub struct Timing {
    /// After how long without a leader a follower calls an election, in milliseconds; each waits up to twice as long,
    /// at random. Raise it where the network between zones is slow.
    pub election_timeout_ms: i64,
    /// How often a leader says that it is there, in milliseconds.
    pub heartbeat_interval_ms: i64,
}

/// When the log is cut: at whichever bound is reached first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(transform = snapshot_rules)]
pub struct Snapshots {
    /// After how many applied entries.
    pub compact_after_entries: i64,
    /// After how many bytes of log.
    pub compact_after_bytes: i64,
    /// How many entries stay, so that a member that lags a little needs no snapshot.
    pub keep_entries: i64,
}

/// What a member takes on at most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(transform = limit_rules)]
pub struct Limits {
    /// The longest key, in bytes (414 beyond). It can be raised later, not lowered.
    pub max_key_bytes: i64,
    /// The largest value, in bytes (413 beyond).
    pub max_value_bytes: i64,
    /// The conditions and the operations of one batch, each (400 beyond).
    pub max_batch_operations: i64,
    /// The body of one batch, in bytes (413 beyond).
    pub max_batch_bytes: i64,
    /// The entries of one page.
    pub max_page_entries: i64,
    /// The bytes of writes that wait to be committed (429 beyond).
    pub max_pending_bytes: i64,
    /// The requests that wait (429 beyond).
    pub max_pending_requests: i64,
    /// The open client connections.
    pub max_connections: i64,
    /// The client sessions of the group (429 beyond).
    pub max_sessions: i64,
    /// How long a session lives after its last write, in milliseconds.
    pub session_lifetime_ms: i64,
    /// How long a request may take, in milliseconds.
    pub request_timeout_ms: i64,
    /// How many entries a voter may lag and still be Ready.
    pub lag_bound_entries: i64,
    /// The free bytes of disk below which client writes are refused, while the cluster itself goes on.
    pub free_space_reserve_bytes: i64,
}

fn default_members() -> i32 {
    3
}

impl Default for RaftClusterSpec {
    fn default() -> Self {
        Self {
            members: default_members(),
            image: None,
            version: None,
            storage: Storage::default(),
            resources: Resources::default(),
            timing: Timing::default(),
            snapshots: Snapshots::default(),
            limits: Limits::default(),
            tls: None,
            service: Service::default(),
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            monitoring: Monitoring::default(),
            logging: Logging::default(),
            paused: false,
            pods: Pods::default(),
            pod_overrides: None,
        }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            election_timeout_ms: limits::ELECTION_TIMEOUT_MS.default,
            heartbeat_interval_ms: limits::HEARTBEAT_INTERVAL_MS.default,
        }
    }
}

impl Default for Snapshots {
    fn default() -> Self {
        Self {
            compact_after_entries: limits::COMPACT_AFTER_ENTRIES.default,
            compact_after_bytes: limits::COMPACT_AFTER_BYTES.default,
            keep_entries: limits::KEEP_ENTRIES.default,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_key_bytes: limits::MAX_KEY_BYTES.default,
            max_value_bytes: limits::MAX_VALUE_BYTES.default,
            max_batch_operations: limits::MAX_BATCH_OPERATIONS.default,
            max_batch_bytes: limits::MAX_BATCH_BYTES.default,
            max_page_entries: limits::MAX_PAGE_ENTRIES.default,
            max_pending_bytes: limits::MAX_PENDING_BYTES.default,
            max_pending_requests: limits::MAX_PENDING_REQUESTS.default,
            max_connections: limits::MAX_CONNECTIONS.default,
            max_sessions: limits::MAX_SESSIONS.default,
            session_lifetime_ms: limits::SESSION_LIFETIME_MS.default,
            request_timeout_ms: limits::REQUEST_TIMEOUT_MS.default,
            lag_bound_entries: limits::LAG_BOUND_ENTRIES.default,
            free_space_reserve_bytes: limits::FREE_SPACE_RESERVE_BYTES.default,
        }
    }
}

fn timing_rules(schema: &mut schemars::Schema) {
    bound(schema, "timing", &limits::LIMITS);
    attach(schema, &[ELECTION_OUTLASTS_HEARTBEATS]);
}

fn snapshot_rules(schema: &mut schemars::Schema) {
    bound(schema, "snapshots", &limits::LIMITS);
    attach(schema, &[KEEP_LESS_THAN_COMPACTED]);
}

fn limit_rules(schema: &mut schemars::Schema) {
    bound(schema, "limits", &limits::LIMITS);
    attach(schema, &[A_REQUEST_FITS_THE_QUEUE, KEYS_STAY_IN_REACH]);
}
