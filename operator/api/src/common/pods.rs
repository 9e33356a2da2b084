//! Where and how members' pods run: the few fields that most need, and a way to reach the others.
//!
//! A whole PodTemplateSpec would be 334 KB per CRD, more than kubectl's last-applied annotation can hold.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::rules::{Rule, attach};

/// What the API server would refuse of the pods otherwise, long after the resource was accepted.
pub const TOLERATION: Rule = (
    "!has(self.operator) || self.operator != 'Exists' || !has(self.value) || self.value == ''",
    "pods.tolerations: operator Exists takes no value; leave value out or use operator Equal",
);

/// The name of a Secret is a DNS subdomain.
pub const IMAGE_PULL_SECRET: Rule = (
    "!has(self.imagePullSecrets) || self.imagePullSecrets.all(name, name.matches('^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$'))",
    "pods.imagePullSecrets must be names of Secrets in the same namespace",
);

/// Where and how members' pods run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(transform = rules)]
pub struct Pods {
    /// Labels that a node must have.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the pods bear.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub tolerations: Vec<Toleration>,
    /// Whether two members may share a node when there are too few: `Preferred` starts them all the same, `Required`
    /// leaves a pod pending rather than let one node take two members down. Zones are always preferred.
    pub spread: Spread,
    /// The PriorityClass.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub priority_class_name: Option<String>,
    /// Secrets with which to pull the image.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 253)))]
    pub image_pull_secrets: Vec<String>,
    /// How long a member may take to hand leadership over and to end, in seconds.
    #[schemars(range(min = 1, max = 3600))]
    pub termination_grace_period_seconds: i64,
}

/// Whether members may share a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Spread {
    /// When there are too few nodes.
    #[default]
    Preferred,
    /// Never.
    Required,
}

/// A taint that the pods bear.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = toleration_rules)]
pub struct Toleration {
    /// The taint's key; every key when absent, with operator `Exists`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 316))]
    pub key: Option<String>,
    /// `Equal` (by default) or `Exists`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Equal", "Exists"]))]
    pub operator: Option<String>,
    /// The taint's value, with operator `Equal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub value: Option<String>,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`; every effect when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["NoSchedule", "PreferNoSchedule", "NoExecute"]))]
    pub effect: Option<String>,
    /// How long a `NoExecute` taint is borne, in seconds; forever when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toleration_seconds: Option<i64>,
}

/// What each member asks of its node, and what it may not exceed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Resources {
    /// What the scheduler sets aside, by resource (`cpu`, `memory`).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::quantity::map_schema")]
    pub requests: BTreeMap<String, Quantity>,
    /// What the kernel enforces, by resource. None by default: a CPU limit makes elections slow, and a member's own
    /// limits bound its memory.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::quantity::map_schema")]
    pub limits: BTreeMap<String, Quantity>,
}

/// A partial PodTemplateSpec, merged over the operator's own as `kubectl apply` would (lists with a key by that key).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PodOverrides(pub serde_json::Map<String, serde_json::Value>);

impl JsonSchema for PodOverrides {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PodOverrides".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
    }
}

impl Default for Pods {
    fn default() -> Self {
        Self {
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            spread: Spread::default(),
            priority_class_name: None,
            image_pull_secrets: Vec::new(),
            termination_grace_period_seconds: 30,
        }
    }
}

impl Default for Resources {
    fn default() -> Self {
        let quantity = |name: &str, amount: &str| (name.to_owned(), Quantity(amount.into()));
        Self {
            requests: [quantity("cpu", "200m"), quantity("memory", "256Mi")].into(),
            limits: BTreeMap::new(),
        }
    }
}

fn rules(schema: &mut Schema) {
    attach(schema, &[IMAGE_PULL_SECRET]);
}

fn toleration_rules(schema: &mut Schema) {
    attach(schema, &[TOLERATION]);
}
