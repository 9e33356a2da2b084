//! The member's settings.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use quorate_node::address::{name_fault, own_names, peer_address_fault};
use quorate_node::config::{Faults, Settings};
use quorate_node::http::callers::Callers;
use quorate_node::patterns::Patterns;
use quorate_node::telemetry::{LogFilter, LogFormat};
use quorate_wire::raft_cluster as limits;
use serde::Serialize;

/// Everything that can be set, from outside in: who the member is, where it listens, how it behaves, its limits.
#[derive(Clone, Debug, clap::Args, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberSettings {
    /// UID of the resource that the member belongs to; members of another cluster are refused
    #[arg(long)]
    pub cluster: String,
    /// Name of the member, which is its pod's name
    #[arg(long)]
    pub name: String,
    /// Folder for log, state, snapshots and identity
    #[arg(long)]
    pub data_dir: PathBuf,
    /// Own IP address: listeners bind to it and connections to peers leave from it
    #[arg(long)]
    pub bind_address: IpAddr,
    /// DNS name and port at which the peers reach this member, as name-0.name-peers.default.svc:7071
    #[arg(long)]
    pub peer_address: String,
    /// Port of the HTTP API for clients
    #[arg(long, default_value_t = 7070)]
    pub client_port: u16,
    /// Port for the other members
    #[arg(long, default_value_t = 7071)]
    pub peer_port: u16,
    /// Port for changes by the operator
    #[arg(long, default_value_t = 7072)]
    pub admin_port: u16,
    /// Port of /livez, /readyz, /metrics and /status
    #[arg(long, default_value_t = 7073)]
    pub health_port: u16,
    /// File of lines `IP NAME`, looked at before DNS and read again when it changes
    #[arg(long)]
    pub hosts_file: Option<PathBuf>,
    /// Folder with tls.crt, tls.key and ca.crt: turns TLS on; read again when they change
    #[arg(long)]
    pub tls_dir: Option<PathBuf>,

    /// Hosts, beside the member's own names, by which clients without TLS may call it: name,*.name,...
    #[arg(long, default_value = "")]
    pub allowed_hosts: Patterns,
    /// Origins whose web pages may write: https://name,...
    #[arg(long, default_value = "")]
    pub allowed_origins: Patterns,

    /// Without a leader for this long (to twice as long, at random) a member stands for election
    #[arg(long, default_value_t = limits::ELECTION_TIMEOUT_MS.default as u64)]
    pub election_timeout_ms: u64,
    /// How often the leader says that it is there
    #[arg(long, default_value_t = limits::HEARTBEAT_INTERVAL_MS.default as u64)]
    pub heartbeat_interval_ms: u64,
    /// The log is cut after so many entries
    #[arg(long, default_value_t = limits::COMPACT_AFTER_ENTRIES.default as u64)]
    pub compact_after_entries: u64,
    /// The log is cut after so many bytes
    #[arg(long, default_value_t = limits::COMPACT_AFTER_BYTES.default as u64)]
    pub compact_after_bytes: u64,
    /// So many entries stay when the log is cut, for members that lag a little
    #[arg(long, default_value_t = limits::KEEP_ENTRIES.default as u64)]
    pub keep_entries: u64,
    /// A member that is further behind than this is not ready
    #[arg(long, default_value_t = limits::LAG_BOUND_ENTRIES.default as u64)]
    pub lag_bound_entries: u64,
    /// With less free space than this on the data folder's disk, client writes are refused
    #[arg(long, default_value_t = limits::FREE_SPACE_RESERVE_BYTES.default as u64)]
    pub free_space_reserve_bytes: u64,

    /// Longest key
    #[arg(long, default_value_t = limits::MAX_KEY_BYTES.default as usize)]
    pub max_key_bytes: usize,
    /// Longest value
    #[arg(long, default_value_t = limits::MAX_VALUE_BYTES.default as usize)]
    pub max_value_bytes: usize,
    /// Conditions and operations of a batch, each
    #[arg(long, default_value_t = limits::MAX_BATCH_OPERATIONS.default as usize)]
    pub max_batch_operations: usize,
    /// Longest body of a batch
    #[arg(long, default_value_t = limits::MAX_BATCH_BYTES.default as usize)]
    pub max_batch_bytes: usize,
    /// Most entries of a page
    #[arg(long, default_value_t = limits::MAX_PAGE_ENTRIES.default as usize)]
    pub max_page_entries: usize,
    /// Bytes of requests that may wait
    #[arg(long, default_value_t = limits::MAX_PENDING_BYTES.default as usize)]
    pub max_pending_bytes: usize,
    /// Requests that may wait
    #[arg(long, default_value_t = limits::MAX_PENDING_REQUESTS.default as usize)]
    pub max_pending_requests: usize,
    /// Connections of clients at a time
    #[arg(long, default_value_t = limits::MAX_CONNECTIONS.default as usize)]
    pub max_connections: usize,
    /// Sessions at a time
    #[arg(long, default_value_t = limits::MAX_SESSIONS.default as usize)]
    pub max_sessions: usize,
    /// A session that does not say how long lives so long after its last write
    #[arg(long, default_value_t = limits::SESSION_LIFETIME_MS.default as u64)]
    pub session_lifetime_ms: u64,
    /// After this a request is answered, whatever is known of it by then
    #[arg(long, default_value_t = limits::REQUEST_TIMEOUT_MS.default as u64)]
    pub request_timeout_ms: u64,
    /// After SIGTERM, requests under way have so long to end
    #[arg(long, default_value_t = 10_000)]
    pub drain_timeout_ms: u64,

    /// Look of the log lines
    #[arg(long, value_enum, default_value_t = LogFormat::Human)]
    pub log_format: LogFormat,
    /// What is logged, in the words of tracing's EnvFilter
    #[arg(long, default_value = "info")]
    pub log_filter: LogFilter,
}

impl MemberSettings {
    /// Where a listener binds.
    pub fn listen(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.bind_address, port)
    }

    /// Bytes of commands that may wait: the largest body that is let in becomes a command that is let in.
    pub fn max_pending_command_bytes(&self) -> usize {
        self.max_pending_bytes
            .saturating_add(self.max_key_bytes + COMMAND_OVERHEAD_BYTES)
    }

    /// Who may call a listener: without TLS by the member's own names, which no web page has.
    pub fn callers(&self) -> Callers {
        let origins = self.allowed_origins.clone();
        if self.tls_dir.is_some() {
            return Callers::of_any_name(origins);
        }
        let names = own_names(&self.name, &self.peer_address);
        Callers::of(names, self.allowed_hosts.clone(), origins)
    }

    /// After this a request is answered.
    pub fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    /// Requests under way have so long to end.
    pub fn drain_timeout(&self) -> Duration {
        Duration::from_millis(self.drain_timeout_ms)
    }
}

impl Settings for MemberSettings {
    fn check(&self, faults: &mut Faults) {
        for (id, text) in [("cluster", &self.cluster), ("name", &self.name)] {
            if let Some(fault) = name_fault(text) {
                faults.add(id, fault);
            }
        }
        if let Some(fault) = peer_address_fault(&self.peer_address) {
            faults.add("peer_address", fault);
        }
        if let Some(fault) = self.allowed_hosts.host_fault() {
            faults.add("allowed_hosts", fault);
        }
        if let Some(fault) = self.allowed_origins.origin_fault() {
            faults.add("allowed_origins", fault);
        }
        self.check_ports(faults);
        self.check_limits(faults);
        self.check_together(faults);
    }
}

impl MemberSettings {
    fn check_ports(&self, faults: &mut Faults) {
        let ports = [
            ("client_port", self.client_port),
            ("peer_port", self.peer_port),
            ("admin_port", self.admin_port),
            ("health_port", self.health_port),
        ];
        for (at, (id, port)) in ports.iter().enumerate() {
            if *port == 0 {
                faults.add(id, "must not be 0: peers and the operator must know it");
            } else if ports[..at].iter().any(|(_, other)| other == port) {
                faults.add(
                    id,
                    format_args!("{port} is the port of another listener too; each needs its own"),
                );
            }
        }
    }

    fn check_limits(&self, faults: &mut Faults) {
        let given = serde_json::to_value(self).unwrap_or_default();
        for limit in &limits::LIMITS {
            let value = given[limit.key()].as_u64();
            if !value.is_some_and(|value| limit.range().contains(&value)) {
                faults.add(&limit.id(), limit.demand());
            }
        }
    }

    fn check_together(&self, faults: &mut Faults) {
        if self.election_timeout_ms < self.heartbeat_interval_ms.saturating_mul(5) {
            faults.add(
                "election_timeout_ms",
                format_args!("must be at least 5 times the heartbeat interval of {} ms: some may be lost or late, and no election may come of it", self.heartbeat_interval_ms),
            );
        }
        let largest = self.max_value_bytes.max(self.max_batch_bytes);
        if self.max_pending_bytes < largest {
            faults.add(
                "max_pending_bytes",
                format_args!("must be at least {largest} (the largest request that is allowed)"),
            );
        }
        if self.keep_entries >= self.compact_after_entries {
            faults.add(
                "keep_entries",
                format_args!(
                    "must be less than compact-after-entries ({})",
                    self.compact_after_entries
                ),
            );
        }
    }
}

/// How long a session may be asked to live, in milliseconds.
pub const SESSION_LIFETIMES_MS: std::ops::RangeInclusive<u64> = limits::SESSION_LIFETIME_MS.range();

/// What a key and encoding add to a request's body, at most.
const COMMAND_OVERHEAD_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use quorate_node::config::{Loaded, Program, load_from};

    use super::*;

    const GOOD: [&str; 6] = [
        "member",
        "--cluster=c1",
        "--name=a-0",
        "--data-dir=/tmp/a",
        "--bind-address=127.1.0.1",
        "--peer-address=a-0.a:7071",
    ];

    fn load(more: &[&str]) -> Result<Loaded<MemberSettings>, String> {
        let arguments = GOOD.iter().chain(more).map(Into::into).collect();
        load_from(
            Program {
                name: "member",
                version: "1",
                about: "",
            },
            arguments,
            &|_| None,
        )
        .map_err(|error| error.to_string())
    }

    #[test]
    fn what_must_be_given_is_enough() {
        let Loaded::Run(settings) = load(&[]).unwrap() else {
            panic!("nothing to print")
        };
        assert_eq!(
            settings.listen(settings.client_port).to_string(),
            "127.1.0.1:7070"
        );
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let table: [(&[&str], &str); 11] = [
            (&["--admin-port=7070"], "--admin-port"),
            (&["--client-port=0"], "must not be 0"),
            (
                &["--election-timeout-ms=499"],
                "5 times the heartbeat interval of 100 ms",
            ),
            (&["--keep-entries=20000"], "--keep-entries"),
            (&["--max-pending-bytes=5"], "--max-pending-bytes"),
            (
                &["--max-value-bytes=99999999"],
                "must be 1 to 8388608 (8 MiB)",
            ),
            (&["--max-page-entries=0"], "--max-page-entries"),
            (&["--session-lifetime-ms=1"], "--session-lifetime-ms"),
            (&["--log-filter=info,a=loud"], "--log-filter"),
            (&["--allowed-hosts=a.example,b:80"], "b:80 is no host"),
            (&["--allowed-origins=a.example"], "--allowed-origins"),
        ];
        for (more, words) in table {
            let error = load(more).unwrap_err();
            assert!(error.contains(words), "{more:?}: {error}");
        }
    }

    #[test]
    fn every_limit_is_the_one_of_its_row() {
        let Loaded::Run(settings) = load(&[]).unwrap() else {
            panic!("nothing to print")
        };
        let given = serde_json::to_value(&settings).unwrap();
        for limit in limits::LIMITS {
            assert_eq!(given[limit.key()], limit.default, "{}", limit.field);
            let flag = format!("--{}", limit.id().replace('_', "-"));
            let refused = |value: u64| {
                let told = load(&[&format!("{flag}={value}")]).err();
                let words = format!("file key {}): {}", limit.key(), limit.demand());
                told.is_some_and(|told| told.contains(&words))
            };
            let (least, most) = (*limit.range().start(), *limit.range().end());
            assert!(!refused(least) && !refused(most), "{}", limit.field);
            let beyond = [least.checked_sub(1), most.checked_add(1)];
            assert!(beyond.into_iter().flatten().all(refused), "{}", limit.field);
        }
    }

    #[test]
    fn the_printed_configuration_is_a_configuration() {
        let Loaded::Print(text) = load(&["--print-config"]).unwrap() else {
            panic!("not printed")
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &text).unwrap();
        let arguments = vec![
            "member".into(),
            "--config".into(),
            file.path().into(),
            "--print-config".into(),
        ];
        let again = load_from::<MemberSettings>(
            Program {
                name: "member",
                version: "1",
                about: "",
            },
            arguments,
            &|_| None,
        )
        .unwrap();
        assert!(matches!(again, Loaded::Print(again) if again == text));
    }
}
