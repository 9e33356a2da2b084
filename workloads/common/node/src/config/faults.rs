//! All that is wrong with a configuration, told at once.

use super::names::Names;

/// Collects what is wrong.
#[derive(Debug, Default)]
pub struct Faults(Vec<String>);

impl Faults {
    /// Something is wrong with the setting of the field `id`; `what` completes the sentence that its names begin.
    pub fn add(&mut self, id: &str, what: impl std::fmt::Display) {
        self.0.push(format!("{}: {what}", Names::of(id)));
    }

    /// Something is wrong that belongs to no single setting.
    pub fn other(&mut self, what: impl Into<String>) {
        self.0.push(what.into());
    }

    /// Whether nothing is wrong so far.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Fails if anything is wrong.
    pub(super) fn done(&mut self) -> Result<(), ConfigError> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(ConfigError(std::mem::take(&mut self.0))),
        }
    }
}

/// The configuration cannot be used: one line for each thing that is wrong.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError(pub Vec<String>);

impl ConfigError {
    pub(super) fn new(what: String) -> Self {
        Self(vec![what])
    }
}

impl std::error::Error for ConfigError {}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = self.0.len();
        write!(
            f,
            "the configuration has {count} error{}; correct {} and start again:",
            if count == 1 { "" } else { "s" },
            if count == 1 { "it" } else { "them" }
        )?;
        self.0.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}
