//! What every resource obeys, and how a rule comes into a schema.

use schemars::Schema;

/// A CEL expression and what to say when it does not hold: the field's name and the way out.
pub type Rule = (&'static str, &'static str);

/// Pods, Services and claims carry the resource's name with a suffix, and each of those is one DNS label.
pub const NAME: Rule = (
    "size(self.metadata.name) <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
    "metadata.name must be a DNS label of at most 40 characters that begins with a letter: pods and Services carry it with a suffix",
);

/// Adds rules to a schema, for `#[schemars(transform = ...)]` on a shared fragment: whoever uses the fragment gets them.
pub fn attach(schema: &mut Schema, rules: &[Rule]) {
    for &(rule, message) in rules {
        let rules = schema
            .ensure_object()
            .entry("x-kubernetes-validations")
            .or_insert_with(|| serde_json::Value::Array(Vec::new()));
        if let serde_json::Value::Array(rules) = rules {
            rules.push(serde_json::json!({ "rule": rule, "message": message }));
        }
    }
}
