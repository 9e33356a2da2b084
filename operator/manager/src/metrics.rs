//! What the operator counts of itself.

use std::time::Duration;

use prometheus::{
    Gauge, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};

/// Every metric of the operator.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    reconcile: HistogramVec,
    refusals: IntCounterVec,
    actions: IntCounterVec,
    drift: IntCounterVec,
    requests: IntCounterVec,
    /// 1 while this operator holds the lease.
    pub leads: IntGauge,
}

impl Metrics {
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let refusals = counter(
            "quorate_operator_refusals_total",
            "Disruptive acts that were not carried out, by the predicate that refused them.",
            &["kind", "refusal"],
        )?;
        let actions = counter(
            "quorate_operator_actions_total",
            "Acts that were carried out.",
            &["kind", "action"],
        )?;
        let drift = counter(
            "quorate_operator_drift_total",
            "Owned objects that another hand edited or deleted, and that were put back.",
            &["object", "drift"],
        )?;
        let requests = counter(
            "quorate_operator_api_requests_total",
            "Requests to the API server.",
            &["verb", "resource", "code"],
        )?;
        let reconcile = HistogramVec::new(
            HistogramOpts::new(
                "quorate_operator_reconcile_duration_seconds",
                "Time of one reconcile round.",
            )
            .buckets(prometheus::exponential_buckets(0.001, 2.0, 15)?),
            &["kind", "result"],
        )?;
        registry.register(Box::new(reconcile.clone()))?;
        let leads = IntGauge::new(
            "quorate_operator_leads",
            "Whether this operator holds the lease.",
        )?;
        registry.register(Box::new(leads.clone()))?;
        let build = Gauge::with_opts(
            Opts::new("quorate_operator_build_info", "Always 1.")
                .const_label("version", env!("CARGO_PKG_VERSION")),
        )?;
        build.set(1.0);
        registry.register(Box::new(build))?;
        Ok(Self {
            registry,
            reconcile,
            refusals,
            actions,
            drift,
            requests,
            leads,
        })
    }

    pub fn round(&self, kind: &str, result: &str, took: Duration) {
        self.reconcile
            .with_label_values(&[kind, result])
            .observe(took.as_secs_f64());
    }

    pub fn refused(&self, kind: &str, refusal: &str) {
        self.refusals.with_label_values(&[kind, refusal]).inc();
    }

    pub fn acted(&self, kind: &str, action: &str) {
        self.actions.with_label_values(&[kind, action]).inc();
    }

    pub fn drifted(&self, object: &str, drift: &str) {
        self.drift.with_label_values(&[object, drift]).inc();
    }

    pub fn requested(&self, verb: &str, resource: &str, code: &str) {
        self.requests
            .with_label_values(&[verb, resource, code])
            .inc();
    }

    /// In Prometheus' text format.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}
