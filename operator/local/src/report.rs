//! A pod's status, as Kubernetes writes it.

use serde_json::{Value, json};

use crate::health::Health;
use crate::store::now;

/// The annotation that names a pod's process.
pub const PID_ANNOTATION: &str = "quorate.dev/pid";

/// What a pod's supervisor knows of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Report {
    pub state: ContainerState,
    pub health: Health,
    pub restarts: i64,
    /// How the process before this one ended.
    pub last: Option<Value>,
}

/// What the one container does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ContainerState {
    /// It has no process; why, in a word and in words.
    Waiting {
        reason: &'static str,
        message: String,
    },
    /// It runs.
    Running { pid: u32, since: String },
}

impl Report {
    /// What an earlier `up` had written: restarts and health.
    pub fn read(pod: &Value) -> Self {
        let container = &pod["status"]["containerStatuses"][0];
        let yes = |field: &str| container[field].as_bool().unwrap_or(false);
        Self {
            state: ContainerState::Waiting {
                reason: "ContainerCreating",
                message: String::new(),
            },
            health: Health {
                started: yes("started"),
                ready: yes("ready"),
                alive: true,
            },
            restarts: container["restartCount"].as_i64().unwrap_or(0),
            last: container["lastState"]
                .as_object()
                .filter(|last| !last.is_empty())
                .map(|last| Value::Object(last.clone())),
        }
    }

    /// Writes it into the pod.
    pub fn write(&self, pod: &mut Value) {
        let running = matches!(self.state, ContainerState::Running { .. });
        let ready = running && self.health.ready;
        let state = match &self.state {
            ContainerState::Running { since, .. } => json!({ "running": { "startedAt": since } }),
            ContainerState::Waiting { reason, message } => {
                json!({ "waiting": { "reason": reason, "message": message } })
            }
        };
        let container = json!({
            "name": pod["spec"]["containers"][0]["name"],
            "image": pod["spec"]["containers"][0]["image"],
            "imageID": "",
            "ready": ready,
            "started": running && self.health.started,
            "restartCount": self.restarts,
            "state": state,
            "lastState": self.last.clone().unwrap_or_else(|| json!({})),
        });
        let conditions = [
            ("PodScheduled", true),
            ("Initialized", true),
            ("ContainersReady", ready),
            ("Ready", ready),
        ]
        .map(|(kind, holds)| condition(&pod["status"]["conditions"], kind, holds));
        let status = &mut pod["status"];
        status["phase"] = json!(if running || self.restarts > 0 {
            "Running"
        } else {
            "Pending"
        });
        status["reason"] = json!(match &self.state {
            ContainerState::Running { .. } => "Running",
            ContainerState::Waiting { reason, .. } => reason,
        });
        status["conditions"] = json!(conditions);
        status["containerStatuses"] = json!([container]);
        match &self.state {
            ContainerState::Running { pid, .. } => {
                pod["metadata"]["annotations"][PID_ANNOTATION] = json!(pid.to_string())
            }
            ContainerState::Waiting { .. } => {
                if let Some(annotations) = pod
                    .pointer_mut("/metadata/annotations")
                    .and_then(Value::as_object_mut)
                {
                    annotations.remove(PID_ANNOTATION);
                }
            }
        }
    }
}

/// The condition as it was if its status is the same, else one that changed now.
fn condition(old: &Value, kind: &str, holds: bool) -> Value {
    let status = if holds { "True" } else { "False" };
    let same = old
        .as_array()
        .into_iter()
        .flatten()
        .find(|old| old["type"] == kind && old["status"] == status);
    same.cloned()
        .unwrap_or_else(|| json!({ "type": kind, "status": status, "lastTransitionTime": now() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_a_pod_status_and_is_read_back() {
        let mut pod = json!({ "metadata": {}, "spec": { "containers": [{ "name": "m", "image": "i" }] }, "status": { "podIP": "127.1.1.1" } });
        let mut report = Report::read(&pod);
        report.restarts = 2;
        report.health = Health {
            started: true,
            ready: true,
            alive: true,
        };
        report.state = ContainerState::Running {
            pid: 42,
            since: now(),
        };
        report.write(&mut pod);
        let typed: k8s_openapi::api::core::v1::Pod = serde_json::from_value(pod.clone()).unwrap();
        let status = typed.status.unwrap();
        assert_eq!(status.pod_ip.as_deref(), Some("127.1.1.1"));
        assert!(
            status
                .conditions
                .unwrap()
                .iter()
                .any(|c| c.type_ == "Ready" && c.status == "True")
        );
        assert_eq!(pod["metadata"]["annotations"][PID_ANNOTATION], "42");
        let read = Report::read(&pod);
        assert_eq!((read.restarts, read.health), (2, report.health));

        report.state = ContainerState::Waiting {
            reason: "CrashLoopBackOff",
            message: "m".into(),
        };
        report.write(&mut pod);
        assert_eq!(pod["status"]["reason"], "CrashLoopBackOff");
        assert_eq!(pod["status"]["containerStatuses"][0]["ready"], false);
        assert!(pod["metadata"]["annotations"].get(PID_ANNOTATION).is_none());
    }
}
