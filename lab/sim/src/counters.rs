//! What a run of the operator reached.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::runs::Count;

/// How often each thing happened, by its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters(BTreeMap<&'static str, u64>);

impl Counters {
    pub(crate) fn add(&mut self, what: &'static str) {
        self.add_many(what, 1);
    }

    pub(crate) fn add_if(&mut self, what: &'static str, happened: bool) {
        if happened {
            self.add(what);
        }
    }

    pub(crate) fn add_many(&mut self, what: &'static str, many: u32) {
        *self.0.entry(what).or_default() += u64::from(many);
    }

    /// What of these never happened.
    pub(crate) fn without(&self, all: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
        let missing: BTreeSet<_> = all.filter(|what| !self.0.contains_key(what)).collect();
        missing.into_iter().collect()
    }
}

impl Count for Counters {
    fn merge(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, count) in &self.0 {
            writeln!(f, "{count:>12}  {what}")?;
        }
        Ok(())
    }
}
