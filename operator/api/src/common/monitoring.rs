//! How a cluster is watched.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a cluster is watched. Every member serves `/metrics` on its health port in any case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Monitoring {
    /// Whether pods carry the `prometheus.io/*` annotations that many Prometheus installations look for.
    pub scrape_annotations: bool,
}

impl Default for Monitoring {
    fn default() -> Self {
        Self {
            scrape_annotations: true,
        }
    }
}
