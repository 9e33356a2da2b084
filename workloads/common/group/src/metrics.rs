//! What the shell measures: seconds and bytes, labels bounded by the members of a configuration.

use prometheus::core::Collector;
use prometheus::{
    Error, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, exponential_buckets,
};

/// The collectors.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) requests: IntCounterVec,
    pub(crate) request_seconds: Histogram,
    pub(crate) commit_seconds: Histogram,
    pub(crate) apply_seconds: Histogram,
    pub(crate) apply_batch_seconds: Histogram,
    pub(crate) flush_seconds: Histogram,
    pub(crate) fsync_seconds: Histogram,
    pub(crate) fsync_rounds: Histogram,
    pub(crate) rounds: IntCounter,
    pub(crate) log_rounds: IntCounter,
    pub(crate) log_bytes: IntGauge,
    pub(crate) free_bytes: IntGauge,
    pub(crate) groups: IntGauge,
    pub(crate) groups_led: IntGauge,
    pub(crate) lag: IntGaugeVec,
    pub(crate) leader_changes: IntCounter,
    pub(crate) queue: IntGaugeVec,
    pub(crate) incoming: IntGauge,
    pub(crate) connections: IntCounter,
    pub(crate) received: IntCounter,
    pub(crate) snapshots_sent: IntCounter,
    pub(crate) snapshots_received: IntCounter,
    sent: IntCounterVec,
    dropped: IntCounterVec,
}

/// The counters of one peer.
#[derive(Clone, Debug)]
pub(crate) struct PeerMetrics {
    pub(crate) sent: IntCounter,
    pub(crate) dropped: IntCounter,
    pub(crate) connections: IntCounter,
}

impl Metrics {
    /// Registers all of them.
    pub(crate) fn new(registry: &Registry) -> Result<Self, Error> {
        let add = Registrar(registry);
        Ok(Self {
            requests: add.counters(
                "requests_total",
                "Requests answered, by kind and outcome",
                &["kind", "outcome"],
            )?,
            request_seconds: add
                .seconds("request_seconds", "From taking a write to answering it")?,
            commit_seconds: add.seconds(
                "commit_seconds",
                "From appending entries here to knowing them committed",
            )?,
            apply_seconds: add.seconds(
                "apply_seconds",
                "From knowing entries committed to having applied them",
            )?,
            apply_batch_seconds: add
                .seconds("apply_batch_seconds", "Applying one batch of entries")?,
            flush_seconds: add.seconds("flush_seconds", "Making the applied state durable")?,
            fsync_seconds: add.seconds("fsync_seconds", "One fsync of the log")?,
            fsync_rounds: add.histogram(
                "fsync_rounds",
                "Rounds of the driver that shared one fsync",
                1.0,
                9,
            )?,
            rounds: add.counter("rounds_total", "Rounds of the driver")?,
            log_rounds: add.counter(
                "log_rounds_total",
                "Rounds of the driver that wrote to the log",
            )?,
            log_bytes: add.gauge("log_bytes", "Bytes in the log")?,
            free_bytes: add.gauge("free_bytes", "Free space of the data folder")?,
            groups: add.gauge("groups", "Groups here")?,
            groups_led: add.gauge("groups_led", "Groups that this member leads")?,
            lag: add.gauges(
                "peer_lag_entries",
                "Entries that a member lacks in the worst group led here",
                "peer",
            )?,
            leader_changes: add.counter("leader_changes_total", "New leaders seen")?,
            queue: add.gauges("queue_depth", "What waits, by queue", "queue")?,
            incoming: add.gauge("incoming_peers", "Peers connected to this member")?,
            connections: add.counter("peer_connections_total", "Connections made to peers")?,
            received: add.counter("peer_messages_received_total", "Messages of peers taken in")?,
            snapshots_sent: add
                .counter("snapshots_sent_total", "Snapshots sent to their last piece")?,
            snapshots_received: add.counter("snapshots_received_total", "Snapshots installed")?,
            sent: add.counters(
                "peer_messages_sent_total",
                "Messages sent, by peer",
                &["peer"],
            )?,
            dropped: add.counters(
                "peer_messages_dropped_total",
                "Messages dropped unsent, by peer",
                &["peer"],
            )?,
        })
    }

    /// The counters of the peer of this name.
    pub(crate) fn peer(&self, name: &str) -> PeerMetrics {
        PeerMetrics {
            sent: self.sent.with_label_values(&[name]),
            dropped: self.dropped.with_label_values(&[name]),
            connections: self.connections.clone(),
        }
    }
}

struct Registrar<'a>(&'a Registry);

impl Registrar<'_> {
    fn add<C: Collector + Clone + 'static>(&self, collector: C) -> Result<C, Error> {
        self.0.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, Error> {
        self.add(IntCounter::new(full(name), help)?)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, Error> {
        self.add(IntCounterVec::new(Opts::new(full(name), help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, Error> {
        self.add(IntGauge::new(full(name), help)?)
    }

    fn gauges(&self, name: &str, help: &str, label: &str) -> Result<IntGaugeVec, Error> {
        self.add(IntGaugeVec::new(Opts::new(full(name), help), &[label])?)
    }

    /// From 50 us to 13 s.
    fn seconds(&self, name: &str, help: &str) -> Result<Histogram, Error> {
        self.histogram(name, help, 50e-6, 19)
    }

    fn histogram(
        &self,
        name: &str,
        help: &str,
        first: f64,
        buckets: usize,
    ) -> Result<Histogram, Error> {
        let options =
            HistogramOpts::new(full(name), help).buckets(exponential_buckets(first, 2.0, buckets)?);
        self.add(Histogram::with_opts(options)?)
    }
}

fn full(name: &str) -> String {
    format!("quorate_group_{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_registered_once_under_our_name() {
        let registry = Registry::new();
        let metrics = Metrics::new(&registry).unwrap();
        metrics.peer("a").sent.inc();
        assert!(
            registry
                .gather()
                .iter()
                .all(|family| family.name().starts_with("quorate_group_"))
        );
        assert!(Metrics::new(&registry).is_err(), "twice");
    }
}
