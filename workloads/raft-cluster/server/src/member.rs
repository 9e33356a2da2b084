//! A member from start to end.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use quorate_group::{Handle, Options, Running};
use quorate_group_core::{Config, Refused, Reply, Request};
use quorate_node::health::{Health, Heartbeat};
use quorate_node::resolve::Resolver;
use quorate_node::serve::{ConnectionMetrics, Server};
use quorate_node::shutdown::{drain, on_signal};
use quorate_node::tls::{Demand, Tls};
use quorate_node::{listen, metrics, telemetry};
use quorate_raft::Contact;
use quorate_raft_cluster_core::KeyValue;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::Admin;
use crate::build::Build;
use crate::http::Api;
use crate::metrics::HttpMetrics;
use crate::settings::MemberSettings;
use crate::status::Face;
use crate::{GROUP, disk};

/// Connections of the operator, and of those who look at health: people, the kubelet, Prometheus.
const FEW_CONNECTIONS: usize = 64;
/// Room in the group's queue beyond what clients may use, so that the operator and the pulse come through.
const RESERVED_REQUESTS: usize = 64;
/// How often the main loop must show that it moves.
const PULSE: Duration = Duration::from_secs(1);
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

/// Runs the member until it is told to stop (`Ok`) or cannot go on.
pub async fn run(settings: MemberSettings, build: Build) -> anyhow::Result<()> {
    telemetry::init(settings.log_format, &settings.log_filter)?;
    let stop = on_signal().context("signals cannot be listened to")?;
    let tls = settings
        .tls_dir
        .as_ref()
        .map(Tls::load)
        .transpose()?
        .map(Arc::new);
    match &tls {
        Some(tls) => drop(tokio::spawn(tls.clone().watch())),
        None => tracing::warn!(
            "insecure: no certificates were given (tls-dir), so anybody who reaches the ports may read, write and administer"
        ),
    }
    let listeners = Listeners::open(&settings).await?;
    let opened = settings.clone();
    let data = tokio::task::spawn_blocking(move || disk::open(&opened, build.seam)).await??;
    let registry = metrics::registry("RaftCluster", build.version)?;
    tracing::info!(version = build.version, name = settings.name, cluster = settings.cluster, incarnation = %data.disks.identity.id, "starting");
    let options = options(&settings, build, tls.clone());
    let (handle, running) = quorate_group::start(
        options,
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

    let face = Face {
        build,
        cluster: settings.cluster.clone(),
        name: settings.name.clone(),
        tls: tls.clone(),
        node: handle.status(),
        stop: stop.clone(),
    };
    let heartbeat = Heartbeat::default();
    let health = Health {
        member: face,
        heartbeat: heartbeat.clone(),
        stalled_after: STALLED_AFTER,
        registry: registry.clone(),
    };
    let http = HttpMetrics::new(&registry)?;
    let api = Api::new(handle.clone(), settings.clone()).routes(http.clone());
    let admin = Admin::new(handle.clone(), settings.request_timeout() * 2).routes(http);
    let connections = ConnectionMetrics::new(&registry)?;
    let server = |name, listener, demand, max_connections, routes: Router| {
        // Health is plain: the kubelet has no certificate.
        let tls = tls.clone().filter(|_| name != "health");
        Server {
            name,
            listener,
            tls,
            demand,
            max_connections,
            routes,
            metrics: connections.clone(),
        }
    };
    let (faces, always) = (TaskTracker::new(), CancellationToken::new());
    faces.spawn(
        server(
            "client",
            listeners.client,
            Demand::Nothing,
            settings.max_connections,
            api,
        )
        .run(stop.clone()),
    );
    faces.spawn(
        server(
            "admin",
            listeners.admin,
            Demand::Certificate,
            FEW_CONNECTIONS,
            admin,
        )
        .run(stop.clone()),
    );
    tokio::spawn(
        server(
            "health",
            listeners.health,
            Demand::Nothing,
            FEW_CONNECTIONS,
            health.router(),
        )
        .run(always),
    );
    tokio::spawn(pulse(handle.clone(), heartbeat));
    faces.close();
    end(&settings, &stop, handle, running, faces).await
}

/// Waits for the end of the group, or for the signal: then hands leadership over while what is under way ends.
async fn end(
    settings: &MemberSettings,
    stop: &CancellationToken,
    handle: Handle,
    mut running: Running,
    faces: TaskTracker,
) -> anyhow::Result<()> {
    let mut ended = std::pin::pin!(running.wait());
    tokio::select! {
        result = &mut ended => {
            result?;
            anyhow::bail!("the group ended by itself");
        }
        () = stop.cancelled() => {}
    }
    let patience = settings.drain_timeout();
    tokio::join!(
        handle.shutdown(patience),
        drain("requests", patience, faces.wait())
    );
    ended.await?;
    tracing::info!("stopped");
    Ok(())
}

/// Asks the group's main loop for something, for ever; its answers are the sign of life. That the queue is full says
/// nothing about the loop.
async fn pulse(handle: Handle, heartbeat: Heartbeat) {
    loop {
        if !matches!(
            handle.request(GROUP, Request::StaleRead).await,
            Reply::Refused(Refused::Busy(_))
        ) {
            heartbeat.touch();
        }
        tokio::time::sleep(PULSE).await;
    }
}

fn options(settings: &MemberSettings, build: Build, tls: Option<Arc<Tls>>) -> Options {
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
        ..Options::new(cluster, core, settings.bind_address)
    }
}
