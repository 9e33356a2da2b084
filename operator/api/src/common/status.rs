//! What every kind's status has.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
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
