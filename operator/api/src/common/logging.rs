//! What members log.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules::{Rule, attach};

/// The letters of a filter, far enough to catch a slip; the member judges the rest.
pub const FILTER_IS_ONE: Rule = (
    "self.filter.matches('^[-a-zA-Z0-9_=,:.]+$')",
    "logging.filter must be levels by module, as info,quorate_group=debug: letters, digits and -_=,:. without spaces",
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
