//! The Kubernetes objects that a plan is made of.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde::Serialize;

/// An object that the operator owns. The order of the variants is the order of application: what a pod mounts or
/// runs as exists before the StatefulSet that makes the pod.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
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
