//! The HTTP listeners of a process: served alike, drained together.

use std::sync::Arc;

use axum::Router;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::conn::Demand;
use crate::http::callers::Callers;
use crate::http::metrics::HttpMetrics;
use crate::serve::{ConnectionMetrics, Server, TOLD};
use crate::tls::Tls;

/// Connections of the operator, and of those who look at health: people, the kubelet, Prometheus.
pub const FEW_CONNECTIONS: usize = 64;
/// What a listener for them takes at most of the process's descriptors.
pub const FEW_DESCRIPTORS: usize = FEW_CONNECTIONS + TOLD;

/// What a listener serves, and to whom.
pub struct Face {
    /// In logs and metrics, as `client`.
    pub name: &'static str,
    /// An open listener.
    pub listener: TcpListener,
    /// What clients must show.
    pub demand: Demand,
    /// Who may call.
    pub callers: Callers,
    /// The most connections at a time.
    pub max_connections: usize,
    /// The routes.
    pub routes: Router,
}

/// The listeners that are served.
pub struct Faces {
    tls: Option<Arc<Tls>>,
    connections: ConnectionMetrics,
    requests: HttpMetrics,
    stop: CancellationToken,
    open: TaskTracker,
}

impl Faces {
    /// None yet. Those to come speak TLS, if there are certificates, and drain from `stop` on.
    pub fn new(
        tls: Option<Arc<Tls>>,
        registry: &Registry,
        stop: CancellationToken,
    ) -> Result<Self, prometheus::Error> {
        Ok(Self {
            tls,
            connections: ConnectionMetrics::new(registry)?,
            requests: HttpMetrics::new(registry)?,
            stop,
            open: TaskTracker::new(),
        })
    }

    /// Serves until the process is told to stop.
    pub fn serve(&self, face: Face) {
        let server = self.server(face, self.tls.clone());
        self.open.spawn(server.run(self.stop.clone()));
    }

    /// Serves health to the very end, so that what drains can be looked at; plain, since the kubelet has no
    /// certificate.
    pub fn serve_health(&self, listener: TcpListener, routes: Router) {
        let face = Face {
            name: "health",
            listener,
            demand: Demand::Nothing,
            callers: Callers::default(),
            max_connections: FEW_CONNECTIONS,
            routes,
        };
        tokio::spawn(self.server(face, None).run(CancellationToken::new()));
    }

    /// Waits until all are told to stop and what was under way has ended.
    pub async fn drained(&self) {
        self.open.close();
        self.open.wait().await;
    }

    fn server(&self, face: Face, tls: Option<Arc<Tls>>) -> Server {
        Server {
            name: face.name,
            listener: face.listener,
            tls,
            demand: face.demand,
            callers: face.callers,
            max_connections: face.max_connections,
            routes: face.routes,
            connections: self.connections.clone(),
            requests: self.requests.clone(),
        }
    }
}
