//! What every kind's status has.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The conditions of every kind; `Ready` is the last to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConditionType {
    /// The resource is as specified, and serves.
    Ready,
    /// The operator is changing something, or waits to.
    Progressing,
    /// Something is wrong that needs repair, or a person.
    Degraded,
}

impl ConditionType {
    /// Its name in `conditions[].type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Progressing => "Progressing",
            Self::Degraded => "Degraded",
        }
    }
}

/// The condition of a type, if it was ever set.
pub fn condition(conditions: &[Condition], type_: ConditionType) -> Option<&Condition> {
    conditions
        .iter()
        .find(|condition| condition.type_ == type_.as_str())
}

/// Sets a condition, as metav1 wants it: the time of transition moves only when the status does.
pub fn set_condition(
    conditions: &mut Vec<Condition>,
    type_: ConditionType,
    status: bool,
    reason: &str,
    message: &str,
    generation: Option<i64>,
    now: Time,
) {
    let status = if status { "True" } else { "False" };
    let unchanged = condition(conditions, type_).filter(|old| old.status == status);
    let new = Condition {
        last_transition_time: unchanged.map_or(now, |old| old.last_transition_time.clone()),
        message: message.to_owned(),
        observed_generation: generation,
        reason: reason.to_owned(),
        status: status.to_owned(),
        type_: type_.as_str().to_owned(),
    };
    match conditions.iter_mut().find(|old| old.type_ == new.type_) {
        Some(old) => *old = new,
        None => conditions.push(new),
    }
}

/// What the status of every kind says, beside what is the kind's own. It is made anew from what is observed, but for
/// `stable` and `rollout`, which outlive the operator.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, `Progressing` and `Degraded`.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Where the cluster can be reached.
    #[serde(default)]
    pub endpoints: Endpoints,
    /// How many pods there are.
    #[serde(default)]
    pub replicas: i32,
    /// How many of them are Ready.
    #[serde(default)]
    pub ready_replicas: i32,
    /// The pods' labels, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// What every member ran when the cluster was last as specified: what an aborted upgrade goes back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<Release>,
    /// The upgrade that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// The lowest version that a member reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_version: Option<String>,
    /// Whether any member has a listener without the certificates that should protect it.
    #[serde(default)]
    pub insecure: bool,
}

/// How a consensus group was formed: written before it is, and never taken back, since a group is formed once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Formation {
    /// Its number inside the cluster.
    pub id: i64,
    /// The identity of the one member that forms it; no other disk may.
    pub incarnation: String,
    /// Whether that member may have been asked: written before it is. Until then another may take its place.
    #[serde(default)]
    pub asked: bool,
    /// Whether it is known to be formed. From then on an empty disk is only ever added to it.
    #[serde(default)]
    pub formed: bool,
}

/// An upgrade, or another change of the pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// What every member shall run.
    pub target: Release,
    /// How many members run it, Ready and caught up.
    #[serde(default)]
    pub updated: i32,
}

/// What runs in the pods: enough to go back to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    /// The image.
    pub image: String,
    /// The version that its binary should report, where the resource names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// Where a cluster can be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Endpoints {
    /// A URL per member that takes client requests, by address. A certificate has names instead: see `tls.secretName`.
    #[serde(default)]
    pub client: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::jiff::Timestamp;

    fn at(second: i64) -> Time {
        Time(Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn the_time_of_transition_moves_only_when_the_status_does() {
        let mut conditions = Vec::new();
        let mut set = |status, reason, second| {
            set_condition(
                &mut conditions,
                ConditionType::Ready,
                status,
                reason,
                "words",
                Some(second),
                at(second),
            );
            let ready = condition(&conditions, ConditionType::Ready)
                .unwrap()
                .clone();
            assert_eq!(conditions.len(), 1);
            (
                ready.status,
                ready.reason,
                ready.last_transition_time,
                ready.observed_generation,
            )
        };
        assert_eq!(
            set(false, "Starting", 1),
            ("False".into(), "Starting".into(), at(1), Some(1))
        );
        assert_eq!(
            set(false, "Joining", 2),
            ("False".into(), "Joining".into(), at(1), Some(2))
        );
        assert_eq!(
            set(true, "AsSpecified", 3),
            ("True".into(), "AsSpecified".into(), at(3), Some(3))
        );
    }
}
