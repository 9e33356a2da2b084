//! The volume of each member.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules::{Rule, attach};

/// A log, the snapshot that cuts it and the free-space reserve must fit together.
pub const SIZE_SUFFICES: Rule = (
    "isQuantity(self.size) && quantity(self.size).compareTo(quantity('512Mi')) >= 0",
    "storage.size must be a quantity of at least 512Mi, as 10Gi: the log, a snapshot and the reserve of free space must fit",
);

/// No volume driver shrinks.
pub const SIZE_GROWS: Rule = (
    "!isQuantity(self.size) || !isQuantity(oldSelf.size) || quantity(self.size).compareTo(quantity(oldSelf.size)) >= 0",
    "storage.size can only grow: to have smaller volumes, make a new cluster and copy the data",
);

/// A living claim cannot change its class. On the parent, since a rule on an optional field is skipped when the field
/// is taken away.
pub const CLASS_IS_FIXED: Rule = (
    "has(self.storageClassName) == has(oldSelf.storageClassName) && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)",
    "storage.storageClassName cannot change on a living cluster: make a new cluster with the other class and copy the data",
);

/// The name of a StorageClass is a DNS subdomain.
pub const CLASS_IS_A_NAME: Rule = (
    "!has(self.storageClassName) || self.storageClassName.matches('^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$')",
    "storage.storageClassName must be the name of a StorageClass; leave it out for the cluster's default class",
);

/// The volume of each member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(transform = rules)]
pub struct Storage {
    /// How much each member asks for. It can only grow.
    #[schemars(schema_with = "crate::quantity::size_schema")]
    pub size: Quantity,
    /// The StorageClass; the cluster's default class when absent. Local disks are fastest, and lost with their node.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub storage_class_name: Option<String>,
    /// What becomes of a volume whose member goes.
    pub retention: Retention,
}

/// What becomes of a volume whose member goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Retention {
    /// When the resource is deleted.
    pub when_deleted: RetentionPolicy,
    /// When the cluster is scaled in. A kept volume brings no old member back: what was removed from the
    /// group is set aside on it, and its pod joins under a new identity.
    pub when_scaled: RetentionPolicy,
}

/// Keep a volume or delete it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RetentionPolicy {
    /// The claim stays, and with it the data.
    #[default]
    Retain,
    /// The claim goes, and by the class's reclaim policy the data too.
    Delete,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            size: Quantity("10Gi".into()),
            storage_class_name: None,
            retention: Retention::default(),
        }
    }
}

fn rules(schema: &mut schemars::Schema) {
    attach(
        schema,
        &[SIZE_SUFFICES, SIZE_GROWS, CLASS_IS_A_NAME, CLASS_IS_FIXED],
    );
}
