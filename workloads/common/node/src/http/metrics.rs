//! What HTTP listeners count.

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

/// Requests by route and class of status; no label comes from a client.
#[derive(Clone, Debug)]
pub struct HttpMetrics {
    requests: IntCounterVec,
    seconds: HistogramVec,
}

impl HttpMetrics {
    /// Registers them.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let requests = IntCounterVec::new(
            Opts::new("quorate_http_requests_total", "HTTP requests answered"),
            &["listener", "method", "route", "status"],
        )?;
        let buckets = prometheus::exponential_buckets(0.000_25, 2.0, 16)?;
        let seconds = HistogramVec::new(
            HistogramOpts::new(
                "quorate_http_request_seconds",
                "Time from a request's head to its answer's head",
            )
            .buckets(buckets),
            &["listener", "method", "route"],
        )?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(seconds.clone()))?;
        Ok(Self { requests, seconds })
    }

    /// Counts one.
    pub fn observe(
        &self,
        listener: &str,
        method: &http::Method,
        route: &str,
        status: http::StatusCode,
        elapsed: std::time::Duration,
    ) {
        let method = known(method);
        let class = ["1xx", "2xx", "3xx", "4xx", "5xx"]
            [usize::from(status.as_u16() / 100 % 6).clamp(1, 5) - 1];
        self.requests
            .with_label_values(&[listener, method, route, class])
            .inc();
        self.seconds
            .with_label_values(&[listener, method, route])
            .observe(elapsed.as_secs_f64());
    }
}

/// A client may invent methods; a label may not grow with them.
fn known(method: &http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "PUT" => "PUT",
        "POST" => "POST",
        "DELETE" => "DELETE",
        _ => "other",
    }
}
