//! What a run reached.

use std::collections::BTreeMap;
use std::fmt;

use quorate_plan::Action;

/// How often each thing happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters(BTreeMap<&'static str, u64>);

/// Beside every action, every request and every refusal of the kind.
const OTHERS: [&str; 34] = [
    "Apply",
    "WriteStatus",
    "Emit",
    "operator killed between two effects",
    "stale observation",
    "status write in conflict",
    "member request lost",
    "member request delivered again later",
    "answer of a member lost",
    "crash",
    "eviction",
    "pod failed",
    "disk lost",
    "disk wiped under its claim",
    "disk damaged",
    "founder's disk lost",
    "member silent",
    "all members silent",
    "member cut off",
    "member slow",
    "member busy",
    "status lost",
    "status lost while the group is silent",
    "StatefulSet scaled by hand",
    "learner added by hand",
    "edit: scale",
    "edit: version",
    "edit: broken version",
    "edit: pause",
    "edit: larger volumes",
    "growth denied",
    "edited or deleted without a StatefulSet",
    "deleted and made anew",
    "converged",
];

impl Counters {
    pub(super) fn add(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    pub(super) fn add_if(&mut self, what: &'static str, happened: bool) {
        if happened {
            self.add(what);
        }
    }

    pub(super) fn add_many(&mut self, what: &'static str, many: u32) {
        *self.0.entry(what).or_default() += u64::from(many);
    }

    /// Adds those of another seed.
    pub fn merge(&mut self, other: &Counters) {
        for (what, count) in &other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }

    /// Everything that a long run must have reached and this one did not.
    pub fn missing(&self) -> Vec<&'static str> {
        let kind = super::kind();
        let refusals = kind.refusals().iter().map(|refusal| refusal.name());
        let requests = kind.requests().iter().copied();
        let acts = Action::NAMES.into_iter().chain(requests);
        let all = acts.chain(refusals).chain(OTHERS);
        all.filter(|what| !self.0.contains_key(what)).collect()
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
