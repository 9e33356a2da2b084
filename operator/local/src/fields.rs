//! Which fields of an object this host honours, which it ignores and says so, and which it does not know and refuses.
//!
//! A path names a field and everything beneath it; steps into lists are left out.

use std::collections::BTreeSet;

use serde_json::Value;

/// What this host makes of an object's fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Set, and without effect here.
    pub ignored: BTreeSet<String>,
    /// Set, and unknown here: the object is refused.
    pub unknown: BTreeSet<String>,
}

impl Audit {
    /// Why the object, called `what`, is refused, if it is.
    #[must_use]
    pub fn refusal(&self, what: &str) -> Option<String> {
        let unknown = self.unknown.first()?;
        Some(format!(
            "{what}: this host does not know {unknown}; take it out of the resource (podOverrides?) or run it in Kubernetes"
        ))
    }
}

struct Rules {
    honoured: &'static [&'static str],
    ignored: &'static [&'static str],
}

/// Every object has these; the store and the garbage collection honour them.
const METADATA: &str = "metadata";

const STATEFUL_SET: Rules = Rules {
    honoured: &[
        "apiVersion",
        "kind",
        METADATA,
        "status",
        "spec.replicas",
        "spec.revisionHistoryLimit",
        "spec.selector",
        "spec.serviceName",
        "spec.podManagementPolicy",
        "spec.updateStrategy",
        "spec.ordinals",
        "spec.minReadySeconds",
        "spec.persistentVolumeClaimRetentionPolicy",
        "spec.volumeClaimTemplates.metadata",
        "spec.volumeClaimTemplates.apiVersion",
        "spec.volumeClaimTemplates.kind",
        "spec.template.metadata",
        "spec.template.spec.containers.name",
        "spec.template.spec.containers.image",
        "spec.template.spec.containers.command",
        "spec.template.spec.containers.args",
        "spec.template.spec.containers.env.name",
        "spec.template.spec.containers.env.value",
        "spec.template.spec.containers.env.valueFrom.fieldRef",
        "spec.template.spec.containers.ports.name",
        "spec.template.spec.containers.ports.containerPort",
        "spec.template.spec.containers.ports.protocol",
        "spec.template.spec.containers.volumeMounts.name",
        "spec.template.spec.containers.volumeMounts.mountPath",
        "spec.template.spec.containers.livenessProbe.httpGet",
        "spec.template.spec.containers.readinessProbe.httpGet",
        "spec.template.spec.containers.startupProbe.httpGet",
        "spec.template.spec.containers.livenessProbe.initialDelaySeconds",
        "spec.template.spec.containers.readinessProbe.initialDelaySeconds",
        "spec.template.spec.containers.startupProbe.initialDelaySeconds",
        "spec.template.spec.containers.livenessProbe.periodSeconds",
        "spec.template.spec.containers.readinessProbe.periodSeconds",
        "spec.template.spec.containers.startupProbe.periodSeconds",
        "spec.template.spec.containers.livenessProbe.timeoutSeconds",
        "spec.template.spec.containers.readinessProbe.timeoutSeconds",
        "spec.template.spec.containers.startupProbe.timeoutSeconds",
        "spec.template.spec.containers.livenessProbe.failureThreshold",
        "spec.template.spec.containers.readinessProbe.failureThreshold",
        "spec.template.spec.containers.startupProbe.failureThreshold",
        "spec.template.spec.containers.livenessProbe.successThreshold",
        "spec.template.spec.containers.readinessProbe.successThreshold",
        "spec.template.spec.containers.startupProbe.successThreshold",
        "spec.template.spec.terminationGracePeriodSeconds",
        "spec.template.spec.restartPolicy",
        "spec.template.spec.volumes.name",
        "spec.template.spec.volumes.configMap",
        "spec.template.spec.volumes.secret",
        "spec.template.spec.volumes.emptyDir",
        "spec.template.spec.volumes.persistentVolumeClaim",
    ],
    ignored: &[
        "spec.volumeClaimTemplates.spec",
        "spec.volumeClaimTemplates.status",
        "spec.template.spec.containers.imagePullPolicy",
        "spec.template.spec.containers.resources",
        "spec.template.spec.containers.securityContext",
        "spec.template.spec.containers.terminationMessagePath",
        "spec.template.spec.containers.terminationMessagePolicy",
        "spec.template.spec.containers.volumeMounts.readOnly",
        "spec.template.spec.affinity",
        "spec.template.spec.automountServiceAccountToken",
        "spec.template.spec.enableServiceLinks",
        "spec.template.spec.dnsPolicy",
        "spec.template.spec.imagePullSecrets",
        "spec.template.spec.nodeSelector",
        "spec.template.spec.os",
        "spec.template.spec.priorityClassName",
        "spec.template.spec.schedulerName",
        "spec.template.spec.securityContext",
        "spec.template.spec.serviceAccount",
        "spec.template.spec.serviceAccountName",
        "spec.template.spec.tolerations",
        "spec.template.spec.topologySpreadConstraints",
        "spec.template.spec.hostUsers",
    ],
};

const SERVICE: Rules = Rules {
    honoured: &[
        "apiVersion",
        "kind",
        METADATA,
        "status",
        "spec.selector",
        "spec.ports",
        "spec.publishNotReadyAddresses",
        "spec.clusterIP",
    ],
    ignored: &[
        "spec.type",
        "spec.sessionAffinity",
        "spec.internalTrafficPolicy",
        "spec.externalTrafficPolicy",
        "spec.ipFamilies",
        "spec.ipFamilyPolicy",
        "spec.clusterIPs",
        "spec.trafficDistribution",
    ],
};

/// Objects that are data alone.
const DATA: Rules = Rules {
    honoured: &[
        "apiVersion",
        "kind",
        METADATA,
        "data",
        "binaryData",
        "stringData",
        "immutable",
        "type",
    ],
    ignored: &[],
};

/// Objects that have no meaning on one machine: kept, shown, without effect.
const WITHOUT_EFFECT: Rules = Rules {
    honoured: &["apiVersion", "kind", METADATA, "status"],
    ignored: &[
        "spec",
        "automountServiceAccountToken",
        "secrets",
        "imagePullSecrets",
    ],
};

/// Sorts an object's fields; empty values count as absent.
#[must_use]
pub fn audit(object: &Value) -> Audit {
    let rules = match object["kind"].as_str().unwrap_or_default() {
        "StatefulSet" => &STATEFUL_SET,
        "Service" => &SERVICE,
        "ConfigMap" | "Secret" => &DATA,
        _ => &WITHOUT_EFFECT,
    };
    let mut audit = Audit::default();
    walk(rules, String::new(), object, &mut audit);
    let pod = &object["spec"]["template"]["spec"];
    for more in pod["containers"].as_array().into_iter().flatten().skip(1) {
        let name = more["name"].as_str().unwrap_or_default();
        let path = format!("spec.template.spec.containers.{name} (it runs one program per pod)");
        audit.unknown.insert(path);
    }
    audit
}

fn walk(rules: &Rules, path: String, value: &Value, audit: &mut Audit) {
    let empty = match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    if empty || rules.honoured.contains(&path.as_str()) {
        return;
    }
    if rules.ignored.contains(&path.as_str()) {
        audit.ignored.insert(path);
        return;
    }
    let leads_on = rules.honoured.iter().chain(rules.ignored).any(|rule| {
        path.is_empty()
            || rule
                .strip_prefix(path.as_str())
                .is_some_and(|rest| rest.starts_with('.'))
    });
    match value {
        Value::Array(items) if leads_on => items
            .iter()
            .for_each(|item| walk(rules, path.clone(), item, audit)),
        Value::Object(fields) if leads_on => {
            for (name, field) in fields {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                walk(rules, path, field, audit);
            }
        }
        _ => drop(audit.unknown.insert(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_are_honoured_ignored_or_refused() {
        let object = json!({
            "kind": "StatefulSet",
            "metadata": { "anything": 1 },
            "spec": {
                "replicas": 3,
                "template": { "spec": {
                    "affinity": { "podAntiAffinity": {} },
                    "initContainers": [{ "name": "x" }],
                    "containers": [
                        { "name": "a", "resources": { "limits": { "cpu": 1 } }, "livenessProbe": { "httpGet": {}, "periodSeconds": 1 } },
                        { "name": "b", "lifecycle": { "preStop": {} }, "livenessProbe": { "exec": { "command": ["x"] } }, "command": [] },
                    ],
                } },
            },
        });
        let audit = audit(&object);
        let set = |paths: &[&str]| {
            paths
                .iter()
                .map(|path| (*path).to_owned())
                .collect::<BTreeSet<_>>()
        };
        assert_eq!(
            audit.ignored,
            set(&[
                "spec.template.spec.affinity",
                "spec.template.spec.containers.resources"
            ])
        );
        let refusal = audit.refusal("StatefulSet a").unwrap();
        let second = "spec.template.spec.containers.b (it runs one program per pod)";
        let said = format!("StatefulSet a: this host does not know {second};");
        assert!(refusal.starts_with(&said), "{refusal}");
        assert_eq!(
            audit.unknown,
            set(&[
                second,
                "spec.template.spec.containers.lifecycle",
                "spec.template.spec.containers.livenessProbe.exec",
                "spec.template.spec.initContainers",
            ])
        );
    }

    #[test]
    fn a_budget_has_no_effect_on_one_machine() {
        let audit = audit(
            &json!({ "kind": "PodDisruptionBudget", "metadata": {}, "spec": { "maxUnavailable": 1 } }),
        );
        assert!(audit.refusal("it").is_none());
        assert_eq!(audit.ignored.into_iter().collect::<Vec<_>>(), ["spec"]);
    }
}
