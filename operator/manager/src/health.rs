//! `/livez`, `/readyz` and `/metrics`.

use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::metrics::Metrics;

/// A look at the lease comes every 15 s at the longest: without one for this long the process is wedged, or has no API server.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the listener tells.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    pub metrics: Metrics,
    /// When the lease was looked at last.
    pub alive: watch::Receiver<Option<Instant>>,
}

impl Health {
    /// Begins to listen.
    pub async fn serve(self, listener: TcpListener) -> anyhow::Result<()> {
        let router = Router::new()
            .route("/livez", get(livez))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .with_state(self);
        axum::serve(listener, router)
            .await
            .context("the health listener ended")
    }
}

/// The runtime answers: an operator that cannot reach the API server gets no better by a restart.
async fn livez() -> &'static str {
    "ok\n"
}

async fn readyz(State(health): State<Health>) -> (StatusCode, &'static str) {
    let looked = *health.alive.borrow();
    match looked {
        Some(at) if at.elapsed() < PATIENCE => (StatusCode::OK, "ok\n"),
        Some(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the lease was not seen for 30 s: is the API server reachable?\n",
        ),
        None => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the lease was not seen yet: is the API server reachable, and may this ServiceAccount read it?\n",
        ),
    }
}

async fn metrics(State(health): State<Health>) -> (StatusCode, String) {
    match health.metrics.text() {
        Ok(text) => (StatusCode::OK, text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}
