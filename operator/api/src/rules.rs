//! What every resource obeys, and how a rule comes into a schema.

use quorate_wire::Limit;
use schemars::Schema;
use serde_json::{Value, json};

/// A CEL expression and what to say when it does not hold: the field's name and the way out.
pub type Rule = (&'static str, &'static str);

/// Pods, Services and claims carry the resource's name with a suffix, and each of those is one DNS label.
pub const NAME: Rule = (
    "size(self.metadata.name) <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
    "metadata.name must be a DNS label of at most 40 characters that begins with a letter: pods and Services carry it with a suffix",
);

/// The form of an image reference, far enough to catch a slip; the registry judges the rest.
pub const IMAGE: Rule = (
    "self.matches('^[a-zA-Z0-9][-a-zA-Z0-9._/:@]*$')",
    "image must be an image reference without spaces, as registry.example.com/raft-cluster:1.2.3; leave it out for the operator's own",
);

/// The version becomes a label.
pub const VERSION: Rule = (
    "self.matches('^[a-zA-Z0-9]([-a-zA-Z0-9_.]*[a-zA-Z0-9])?$')",
    "version must be letters, digits, '-', '_' and '.', as the image's binary reports it (1.2.3); leave it out to accept any",
);

/// Adds rules to a schema, for `#[schemars(transform = ...)]` on a shared fragment: whoever uses the fragment gets them.
pub fn attach(schema: &mut Schema, rules: &[Rule]) {
    for (rule, message) in rules {
        add(schema.ensure_object(), rule, message);
    }
}

/// Gives each number of a block of the spec the bounds that its row says, for `#[schemars(transform = ...)]`.
pub fn bound(schema: &mut Schema, block: &str, limits: &[Limit]) {
    let Some(Value::Object(properties)) = schema.get_mut("properties") else {
        return;
    };
    for limit in limits.iter().filter(|limit| limit.block() == block) {
        if let Some(Value::Object(property)) = properties.get_mut(limit.key()) {
            let rule = match limit.most {
                i64::MAX => format!("self >= {}", limit.least),
                most => format!("self >= {} && self <= {most}", limit.least),
            };
            let default = limit.unit.amount(limit.default);
            let message = format!(
                "{} {}; leave it out for {default}",
                limit.field,
                limit.demand()
            );
            add(property, &rule, &message);
        }
    }
}

fn add(schema: &mut serde_json::Map<String, Value>, rule: &str, message: &str) {
    let rules = schema
        .entry("x-kubernetes-validations")
        .or_insert_with(|| Value::Array(Vec::new()));
    if let Value::Array(rules) = rules {
        rules.push(json!({ "rule": rule, "message": message }));
    }
}
