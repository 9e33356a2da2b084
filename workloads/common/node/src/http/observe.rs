//! One span and one count for each request.

use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use tracing::Instrument;

use super::metrics::HttpMetrics;
use crate::trace::{self, TraceContext};

/// Where requests are counted.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The listener's name.
    pub listener: &'static str,
    /// The counters.
    pub metrics: HttpMetrics,
}

/// Wraps routes so that their requests are counted and traced.
pub fn observe(routes: Router, observed: Observed) -> Router {
    routes.layer(from_fn_with_state(observed, count))
}

async fn count(State(observed): State<Observed>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    let trace = request
        .headers()
        .get("traceparent")
        .and_then(|header| header.to_str().ok())
        .and_then(TraceContext::from_traceparent);
    let span = tracing::debug_span!("http", listener = observed.listener, %method, route);
    let response = trace::within(trace, next.run(request).instrument(span.clone())).await;
    let (status, elapsed) = (response.status(), begun.elapsed());
    span.in_scope(|| {
        tracing::debug!(
            status = status.as_u16(),
            elapsed_us = elapsed.as_micros() as u64,
            "answered"
        )
    });
    observed
        .metrics
        .observe(observed.listener, &method, route, status, elapsed);
    response
}
