//! The sorts of objects that this host keeps: every kind of the registry, and what they are built of.

use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use quorate_plan::{AnyKind, kinds};
use serde_json::Value;

/// A sort of object.
pub struct ResourceType {
    /// As `apps/v1`.
    pub api_version: String,
    /// As `StatefulSet`.
    pub kind: String,
    /// As `statefulsets`.
    pub plural: String,
    /// As `statefulset`.
    pub singular: String,
    /// As `sts`.
    pub short: Vec<String>,
    /// Who may write it.
    pub writers: Writers,
    /// What a table of them shows after the name.
    pub columns: Vec<Column>,
    /// Of a kind of the registry, that kind.
    pub custom: Option<&'static dyn AnyKind>,
}

/// Who may write a sort of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writers {
    /// People create, change and delete it.
    People,
    /// The host makes it; people may delete it, and it is made anew where it is wanted.
    HostPeopleDelete,
    /// The host alone.
    Host,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its head.
    pub name: String,
    /// Where its value is, as the JSONPath of a CRD's printer column (without braces).
    pub path: String,
    /// Whether the value is a time, shown as an age.
    pub age: bool,
    /// Shown only in the wide table.
    pub wide: bool,
}

impl std::fmt::Debug for ResourceType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.api_version, self.plural)
    }
}

impl ResourceType {
    /// The URL path of all its objects, or of those in one namespace.
    #[must_use]
    pub fn path(&self, namespace: Option<&str>) -> String {
        let base = if self.api_version.contains('/') {
            "apis"
        } else {
            "api"
        };
        match namespace {
            Some(namespace) => format!(
                "/{base}/{}/namespaces/{namespace}/{}",
                self.api_version, self.plural
            ),
            None => format!("/{base}/{}/{}", self.api_version, self.plural),
        }
    }

    /// Where a custom resource says how many members it wants, as a path of field names: the `scale` subresource.
    #[must_use]
    pub fn replicas_path(&self) -> Option<Vec<String>> {
        let crd = self.custom?.crd();
        let scale = crd
            .spec
            .versions
            .into_iter()
            .find_map(|version| version.subresources?.scale)?;
        Some(
            scale
                .spec_replicas_path
                .trim_start_matches('.')
                .split('.')
                .map(str::to_owned)
                .collect(),
        )
    }

    /// Commands that try a ready resource out at one of its client endpoints.
    #[must_use]
    pub fn try_next(&self, resource: &Value, endpoint: &str) -> Vec<String> {
        self.custom
            .map(|kind| kind.try_next(resource, endpoint))
            .unwrap_or_default()
    }

    /// The Secret that a custom resource names for the certificates of its members.
    #[must_use]
    pub fn certificates(&self, resource: &Value) -> Option<String> {
        self.custom?.certificates(resource)
    }

    /// A custom resource's status without what only somebody who looked can know.
    pub(crate) fn unlearned(&self, status: &Value) -> Value {
        self.custom
            .map_or_else(|| status.clone(), |kind| kind.unlearned(status))
    }

    /// Fills in the defaults of a custom resource's schema, as an API server does.
    pub(crate) fn fill_defaults(&self, object: &mut Value) {
        let Some(kind) = self.custom else { return };
        let served = kind
            .crd()
            .spec
            .versions
            .into_iter()
            .find(|version| version.storage);
        if let Some(schema) = served.and_then(|version| version.schema?.open_api_v3_schema) {
            fill(&schema, object);
        }
    }
}

fn fill(schema: &JSONSchemaProps, value: &mut Value) {
    if let Value::Object(fields) = value {
        for (name, property) in schema.properties.iter().flatten() {
            match fields.get_mut(name) {
                Some(field) => fill(property, field),
                None => {
                    if let Some(default) = &property.default {
                        let mut default = default.0.clone();
                        fill(property, &mut default);
                        fields.insert(name.clone(), default);
                    }
                }
            }
        }
    }
}

static TYPES: LazyLock<Vec<ResourceType>> = LazyLock::new(|| {
    let mut types: Vec<ResourceType> = kinds().iter().map(|kind| custom(*kind)).collect();
    let age = ("Age", ".metadata.creationTimestamp");
    let built_in = |api_version: &str,
                    kind: &str,
                    plural: &str,
                    short: &[&str],
                    writers,
                    columns: &[(&str, &str)],
                    wide: &[(&str, &str)]| {
        let column = |(name, path): &(&str, &str), wide| Column {
            name: (*name).to_owned(),
            path: (*path).to_owned(),
            age: *name == "Age",
            wide,
        };
        ResourceType {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
            singular: kind.to_ascii_lowercase(),
            short: short.iter().map(|name| (*name).to_owned()).collect(),
            writers,
            columns: columns
                .iter()
                .chain([&age])
                .map(|c| column(c, false))
                .chain(wide.iter().map(|c| column(c, true)))
                .collect(),
            custom: None,
        }
    };
    use Writers::{Host, HostPeopleDelete, People};
    types.extend([
        built_in(
            "v1",
            "Pod",
            "pods",
            &["po"],
            HostPeopleDelete,
            &[
                ("Ready", ".status.containerStatuses[0].ready"),
                ("Status", ".status.reason"),
                ("Restarts", ".status.containerStatuses[0].restartCount"),
            ],
            &[
                ("IP", ".status.podIP"),
                ("PID", ".metadata.annotations['quorate.dev/pid']"),
                ("Image", ".spec.containers[0].image"),
            ],
        ),
        built_in(
            "apps/v1",
            "StatefulSet",
            "statefulsets",
            &["sts"],
            Host,
            &[
                ("Replicas", ".spec.replicas"),
                ("Ready", ".status.readyReplicas"),
            ],
            &[("Image", ".spec.template.spec.containers[0].image")],
        ),
        built_in(
            "apps/v1",
            "ControllerRevision",
            "controllerrevisions",
            &[],
            Host,
            &[("Revision", ".revision")],
            &[],
        ),
        built_in(
            "v1",
            "PersistentVolumeClaim",
            "persistentvolumeclaims",
            &["pvc"],
            HostPeopleDelete,
            &[
                ("Status", ".status.phase"),
                ("Capacity", ".spec.resources.requests.storage"),
            ],
            &[("Folder", ".metadata.annotations['quorate.dev/folder']")],
        ),
        built_in(
            "v1",
            "Service",
            "services",
            &["svc"],
            Host,
            &[("Type", ".spec.type"), ("ClusterIP", ".spec.clusterIP")],
            &[],
        ),
        built_in("v1", "ConfigMap", "configmaps", &["cm"], People, &[], &[]),
        built_in(
            "v1",
            "Secret",
            "secrets",
            &[],
            People,
            &[("Type", ".type")],
            &[],
        ),
        built_in(
            "v1",
            "ServiceAccount",
            "serviceaccounts",
            &["sa"],
            Host,
            &[],
            &[],
        ),
        built_in(
            "networking.k8s.io/v1",
            "NetworkPolicy",
            "networkpolicies",
            &["netpol"],
            Host,
            &[],
            &[],
        ),
        built_in(
            "policy/v1",
            "PodDisruptionBudget",
            "poddisruptionbudgets",
            &["pdb"],
            Host,
            &[("Max Unavailable", ".spec.maxUnavailable")],
            &[],
        ),
        built_in(
            "v1",
            "Event",
            "events",
            &["ev"],
            Host,
            &[
                ("Type", ".type"),
                ("Reason", ".reason"),
                ("Object", ".involvedObject.name"),
                ("Count", ".count"),
                ("Message", ".message"),
            ],
            &[],
        ),
    ]);
    types
});

fn custom(kind: &'static dyn AnyKind) -> ResourceType {
    let names = kind.names();
    let columns = kind
        .crd()
        .spec
        .versions
        .into_iter()
        .filter(|version| version.storage)
        .flat_map(|version| version.additional_printer_columns.unwrap_or_default());
    let columns = columns.map(|column| Column {
        age: column.type_ == "date",
        wide: column.priority.unwrap_or(0) > 0,
        name: column.name,
        path: column.json_path,
    });
    ResourceType {
        columns: columns.collect(),
        api_version: names.api_version.clone(),
        kind: names.kind.clone(),
        plural: names.plural.clone(),
        singular: names.singular.clone(),
        short: names.short.clone(),
        writers: Writers::People,
        custom: Some(kind),
    }
}

/// Every sort of object that this host keeps.
#[must_use]
pub fn resource_types() -> &'static [ResourceType] {
    &TYPES
}

/// The sort that answers to this name: its kind, plural, singular or a short one.
#[must_use]
pub fn resource_type(name: &str) -> Option<&'static ResourceType> {
    let asked = name.to_ascii_lowercase();
    TYPES.iter().find(|resource| {
        resource.plural == asked
            || resource.singular == asked
            || resource.kind.to_ascii_lowercase() == asked
            || resource.short.contains(&asked)
    })
}

/// The sort of an object, by its `apiVersion` and `kind`.
#[must_use]
pub fn resource_type_of(object: &Value) -> Option<&'static ResourceType> {
    let (api_version, kind) = (object["apiVersion"].as_str()?, object["kind"].as_str()?);
    TYPES
        .iter()
        .find(|resource| resource.api_version == api_version && resource.kind == kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kubectls_and_belong_to_one_sort() {
        for name in ["po", "pod", "pods", "Pod", "PODS"] {
            assert_eq!(resource_type(name).unwrap().kind, "Pod");
        }
        assert!(resource_type("nodes").is_none());
        let mut names: Vec<&String> = resource_types()
            .iter()
            .flat_map(|r| r.short.iter().chain([&r.plural, &r.singular]))
            .collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn paths_are_kubectls() {
        assert_eq!(
            resource_type("sts").unwrap().path(Some("a")),
            "/apis/apps/v1/namespaces/a/statefulsets"
        );
        assert_eq!(resource_type("po").unwrap().path(None), "/api/v1/pods");
    }

    #[test]
    fn defaults_are_filled_in_at_every_depth() {
        let schema: JSONSchemaProps = serde_json::from_value(serde_json::json!({
            "properties": {
                "a": { "default": { "b": 1 }, "properties": { "b": { "default": 7 }, "c": { "default": 2 } } },
                "d": { "properties": { "e": { "default": 3 } } },
            }
        }))
        .unwrap();
        let filled = |mut value: Value| {
            fill(&schema, &mut value);
            value
        };
        assert_eq!(
            filled(serde_json::json!({})),
            serde_json::json!({ "a": { "b": 1, "c": 2 } })
        );
        assert_eq!(
            filled(serde_json::json!({ "a": { "b": 5 }, "d": {} })),
            serde_json::json!({ "a": { "b": 5, "c": 2 }, "d": { "e": 3 } })
        );
    }
}
