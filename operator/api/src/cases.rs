//! Tables of good, bad and changed resources, as data: the tests of this crate judge them by the CRD's CEL rules,
//! those of quorate-plan by its validation, and a run against a real API server by what that says.

use serde::Deserialize;
use serde_json::Value;

/// One resource to judge.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Case {
    /// What is tried, in words.
    pub case: String,
    /// The resource's name; `demo` when absent.
    pub name: Option<String>,
    /// The spec before a change; a creation when absent.
    pub old: Option<Value>,
    /// The spec to judge.
    pub spec: Value,
    /// What the refusal must say; accepted when absent.
    pub error: Option<String>,
    /// Who refuses it.
    #[serde(default)]
    pub by: By,
}

/// Who refuses a bad resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum By {
    /// The CRD's CEL rules, which quorate-plan runs too.
    #[default]
    Rule,
    /// The schema: an API server in its own words, the embedded host when it reads or checks the resource.
    Schema,
    /// The guards of quorate-plan alone; an API server accepts it and the resource becomes Degraded.
    Guard,
}

impl Case {
    /// The whole resource with this spec.
    pub fn resource(&self, kind: &str, spec: &Value) -> Value {
        serde_json::json!({
            "apiVersion": format!("{}/v1alpha1", crate::GROUP),
            "kind": kind,
            "metadata": { "name": self.name.as_deref().unwrap_or("demo"), "namespace": "default" },
            "spec": spec,
        })
    }
}
