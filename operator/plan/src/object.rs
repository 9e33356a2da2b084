//! The Kubernetes objects that a plan is made of.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An object that the operator owns. The order of the variants is the order of application: what a pod mounts or
/// runs as exists before the StatefulSet that makes the pod.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
#[expect(clippy::large_enum_variant, reason = "seven of them exist at a time")]
pub enum Object {
    /// The identity of the pods.
    ServiceAccount(ServiceAccount),
    /// The members' configuration files.
    ConfigMap(ConfigMap),
    /// The headless Service of the peers, or the clients' one.
    Service(Service),
    /// Who may talk to whom.
    NetworkPolicy(NetworkPolicy),
    /// How many members may be evicted.
    PodDisruptionBudget(PodDisruptionBudget),
    /// The members.
    StatefulSet(StatefulSet),
}

impl Object {
    /// Reads an object that says its kind; none if that is none of ours.
    pub fn of(value: Value) -> Option<Self> {
        fn parse<T: for<'de> Deserialize<'de>>(
            value: Value,
            variant: fn(T) -> Object,
        ) -> Option<Object> {
            serde_json::from_value(value).ok().map(variant)
        }
        match value["kind"].as_str()? {
            "ServiceAccount" => parse(value, Object::ServiceAccount),
            "ConfigMap" => parse(value, Object::ConfigMap),
            "Service" => parse(value, Object::Service),
            "NetworkPolicy" => parse(value, Object::NetworkPolicy),
            "PodDisruptionBudget" => parse(value, Object::PodDisruptionBudget),
            "StatefulSet" => parse(value, Object::StatefulSet),
            _ => None,
        }
    }

    /// The kind, as `StatefulSet`.
    pub fn kind(&self) -> &'static str {
        match self {
            Object::ServiceAccount(_) => "ServiceAccount",
            Object::ConfigMap(_) => "ConfigMap",
            Object::Service(_) => "Service",
            Object::NetworkPolicy(_) => "NetworkPolicy",
            Object::PodDisruptionBudget(_) => "PodDisruptionBudget",
            Object::StatefulSet(_) => "StatefulSet",
        }
    }

    /// The object's metadata.
    pub fn metadata(&self) -> &ObjectMeta {
        match self {
            Object::ServiceAccount(object) => &object.metadata,
            Object::ConfigMap(object) => &object.metadata,
            Object::Service(object) => &object.metadata,
            Object::NetworkPolicy(object) => &object.metadata,
            Object::PodDisruptionBudget(object) => &object.metadata,
            Object::StatefulSet(object) => &object.metadata,
        }
    }

    /// The object's name.
    pub fn name(&self) -> &str {
        self.metadata().name.as_deref().unwrap_or_default()
    }

    /// Its place in the order of application.
    pub(crate) fn order(&self) -> u8 {
        match self {
            Object::ServiceAccount(_) => 0,
            Object::ConfigMap(_) => 1,
            Object::Service(_) => 2,
            Object::NetworkPolicy(_) => 3,
            Object::PodDisruptionBudget(_) => 4,
            Object::StatefulSet(_) => 5,
        }
    }
}
