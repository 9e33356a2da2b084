//! How many members may be evicted at a time.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::common::identity::matching;
use crate::pool::Pool;

/// One, however many there are. Of a group, Ready means a voter within its lag bound, so the budget counts what a
/// quorum is made of; of five members two could go, but then the next failure would stop the group.
///
/// One of one, too: a group of one has no quorum to keep, and a budget of none would hold up the drain of its node for
/// ever. Its volume stays; only the time of a restart is lost.
///
/// Members that are not Ready are evicted only while the others suffice (`IfHealthyBudget`): they may hold entries
/// that a quorum needs.
pub(super) fn budget(pool: &Pool) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: pool.meta(""),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(matching(pool.selector())),
            unhealthy_pod_eviction_policy: Some("IfHealthyBudget".into()),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    }
}
