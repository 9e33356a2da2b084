//! What members log.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules::{Rule, attach};

/// What a member takes for certain: tracing's grammar has more, and a member that ends at its start serves nobody.
pub const FILTER_IS_ONE: Rule = (
    "self.filter.matches('^([a-zA-Z0-9_:]+=)?(off|error|warn|info|debug|trace)(,([a-zA-Z0-9_:]+=)?(off|error|warn|info|debug|trace))*$')",
    "logging.filter must be levels by module, as info,quorate_group=debug: off, error, warn, info, debug or trace, each after MODULE= or alone, with commas and no spaces",
);

/// What members log, to their standard output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(transform = rules)]
pub struct Logging {
    /// Lines for people, or for machines.
    pub format: LogFormat,
    /// What is logged, in the words of tracing's EnvFilter: a level, and levels by module.
    #[schemars(length(max = 256))]
    pub filter: String,
}

/// The look of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// An object per line.
    Json,
}

impl Default for Logging {
    fn default() -> Self {
        Self {
            format: LogFormat::default(),
            filter: "info".into(),
        }
    }
}

fn rules(schema: &mut schemars::Schema) {
    attach(schema, &[FILTER_IS_ONE]);
}
