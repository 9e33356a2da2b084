//! A member from start to end.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use quorate_group::admin::Admin;
use quorate_group::data::{self, Data};
use quorate_group::life::{pulse, until_stopped};
use quorate_group::{GroupVitals, Handle, Options, TransportLimits};
use quorate_group_core::Config;
use quorate_node::about::About;
use quorate_node::conn::Demand;
use quorate_node::descriptors::{Descriptors, TooFew};
use quorate_node::faces::{FEW_CONNECTIONS, FEW_DESCRIPTORS, Face, Faces};
use quorate_node::health::{Health, Heartbeat};
use quorate_node::resolve::Resolver;
use quorate_node::shutdown::on_signal;
use quorate_node::tls::{self, Tls};
use quorate_node::{listen, metrics, telemetry};
use quorate_raft::Contact;
use quorate_raft_cluster_core::KeyValue;
use quorate_rocks::{RocksOptions, RocksStore};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::GROUP;
use crate::build::Build;
use crate::http::Api;
use crate::settings::MemberSettings;
use crate::vitals::MemberVitals;

/// The kind of resource that the member belongs to.
const KIND: &str = "RaftCluster";
/// The highest feature level that this build can write (DESIGN, section 4).
const FEATURE_LEVEL: u32 = 1;
/// Room in the group's queue beyond what clients may use, so that the operator and the pulse come through.
const RESERVED_REQUESTS: usize = 64;
/// A disk may stall this long before the process counts as wedged.
const STALLED_AFTER: Duration = Duration::from_secs(60);

/// The listeners, open before anything else happens: a port in use must not cost an election.
struct Listeners {
    client: TcpListener,
    peer: TcpListener,
    admin: TcpListener,
    health: TcpListener,
}

impl Listeners {
    async fn open(settings: &MemberSettings) -> anyhow::Result<Self> {
        let open = async |name, port, field| {
            listen::bind(name, settings.listen(port), "bind_address", field).await
        };
        Ok(Self {
            client: open("client", settings.client_port, "client_port").await?,
            peer: open("peer", settings.peer_port, "peer_port").await?,
            admin: open("admin", settings.admin_port, "admin_port").await?,
            health: open("health", settings.health_port, "health_port").await?,
        })
    }
}

/// Who gets how many of the process's file descriptors.
#[derive(Clone, Copy)]
struct Room {
    tables: usize,
    peers: usize,
    clients: usize,
}

impl Room {
    fn of(settings: &MemberSettings) -> Result<Self, TooFew> {
        let descriptors = Descriptors::claim();
        let tables = usize::try_from(RocksOptions::default().max_open_files).unwrap_or_default();
        let tables = descriptors.part(tables, 4);
        let peers = descriptors.part(TransportLimits::default().incoming_connections, 8);
        // Of the faces for the operator and for health.
        let promised = tables + peers + 2 * FEW_DESCRIPTORS;
        Ok(Self {
            tables,
            peers,
            clients: descriptors.clients(promised, settings.max_connections)?,
        })
    }
}

/// Runs the member until it is told to stop (`Ok`) or cannot go on.
pub async fn run(settings: MemberSettings, build: Build) -> anyhow::Result<()> {
    telemetry::init(settings.log_format, &settings.log_filter)?;
    let stop = on_signal().context("signals cannot be listened to")?;
    let tls = tls::open(settings.tls_dir.as_deref())?;
    let listeners = Listeners::open(&settings).await?;
    let room = Room::of(&settings)?;
    let opened = settings.clone();
    let data = tokio::task::spawn_blocking(move || open_data(&opened, build, room)).await??;
    let registry = metrics::registry(KIND, build.version)?;
    tracing::info!(version = build.version, name = settings.name, cluster = settings.cluster, incarnation = %data.disks.identity.id, "starting");
    let (handle, running) = quorate_group::start(
        options(&settings, build, tls.clone(), room),
        data.disks.clone(),
        Arc::new(KeyValue),
        listeners.peer,
        &registry,
    )
    .await
    .with_context(|| {
        let dir = settings.data_dir.display();
        format!("data-dir: the member cannot start on {dir}; check the disk and its free space")
    })?;

    let heartbeat = Heartbeat::default();
    let health = Health {
        member: vitals(&settings, build, tls.clone(), &handle, stop.clone()),
        heartbeat: heartbeat.clone(),
        stalled_after: STALLED_AFTER,
        registry: registry.clone(),
    };
    let group = handle.group(GROUP);
    let faces = Faces::new(tls, &registry, stop.clone())?;
    faces.serve(Face {
        name: "client",
        listener: listeners.client,
        demand: Demand::Nothing,
        callers: settings.callers(),
        max_connections: room.clients,
        routes: Api::new(group.clone(), settings.clone()).routes(),
    });
    faces.serve(Face {
        name: "admin",
        listener: listeners.admin,
        demand: Demand::Certificate,
        callers: settings.callers(),
        max_connections: FEW_CONNECTIONS,
        routes: Admin::new(group, settings.request_timeout() * 2).routes(),
    });
    faces.serve_health(listeners.health, health.router());
    tokio::spawn(pulse(handle.clone(), GROUP, heartbeat));
    until_stopped(handle, running, &faces, &stop, settings.drain_timeout()).await
}

/// Blocks.
fn open_data(settings: &MemberSettings, build: Build, room: Room) -> anyhow::Result<Data> {
    let options = RocksOptions {
        max_open_files: i32::try_from(room.tables)?,
        ..RocksOptions::default()
    };
    let (cluster, name) = (&settings.cluster, &settings.name);
    data::open(&settings.data_dir, cluster, name, build.seam, |dir| {
        Ok(Arc::new(RocksStore::open(dir, &options)?))
    })
}

fn vitals(
    settings: &MemberSettings,
    build: Build,
    tls: Option<Arc<Tls>>,
    handle: &Handle,
    stop: CancellationToken,
) -> MemberVitals {
    let about = About {
        kind: KIND,
        version: build.version,
        feature_level: FEATURE_LEVEL,
        cluster: settings.cluster.clone(),
        name: settings.name.clone(),
        tls,
    };
    let vitals = GroupVitals {
        about,
        group: GROUP,
        groups: handle.status(),
        stop,
    };
    MemberVitals { vitals, build }
}

fn options(settings: &MemberSettings, build: Build, tls: Option<Arc<Tls>>, room: Room) -> Options {
    let contact = Contact {
        name: settings.name.clone(),
        address: settings.peer_address.clone(),
    };
    let core = Config {
        election_timeout: Duration::from_millis(settings.election_timeout_ms),
        heartbeat_interval: Duration::from_millis(settings.heartbeat_interval_ms),
        lag_bound_entries: settings.lag_bound_entries,
        max_pending_requests: settings.max_pending_requests + RESERVED_REQUESTS,
        max_pending_bytes: settings.max_pending_command_bytes(),
        request_timeout: settings.request_timeout(),
        max_sessions: settings.max_sessions as u64,
        compact_after_entries: settings.compact_after_entries,
        compact_after_bytes: settings.compact_after_bytes,
        keep_entries: settings.keep_entries,
        ..Config::new(contact, fastrand::u64(..))
    };
    let mut cluster = settings.cluster.clone();
    if build.is_stranger {
        cluster += "-of-another";
    }
    Options {
        resolver: Arc::new(Resolver::new(settings.hosts_file.clone())),
        tls,
        free_space_reserve_bytes: settings.free_space_reserve_bytes,
        transport: TransportLimits {
            incoming_connections: room.peers,
            ..TransportLimits::default()
        },
        ..Options::new(cluster, core, settings.bind_address)
    }
}
