//! What the builders of several kinds share: how a fragment of a spec is checked, and what it becomes.

mod bounds;
pub(crate) mod check;
pub(crate) mod identity;
pub(crate) mod overrides;
pub(crate) mod pods;
pub(crate) mod rules;
pub(crate) mod storage;
