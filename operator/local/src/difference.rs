//! What a change of an object comes to, in words.

use serde_json::{Value, json};

use crate::resources::ResourceType;

/// A longer value is cut: who wants it whole gets the object.
const SHOWN: usize = 60;

/// What is other than before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// A field each, as `members 5 -> 3`.
    pub fields: Vec<String>,
    /// What will be missed: members or data that go.
    pub warnings: Vec<String>,
}

impl Difference {
    /// Between two states of an object.
    #[must_use]
    pub fn between(resource: &ResourceType, before: &Value, after: &Value) -> Self {
        let mut difference = Self::default();
        let mut names: Vec<&String> = [before, after]
            .iter()
            .filter_map(|object| object.as_object())
            .flat_map(|fields| fields.keys())
            .filter(|name| !["apiVersion", "kind", "metadata", "status"].contains(&name.as_str()))
            .collect();
        names.sort();
        names.dedup();
        for name in names {
            // Of the spec one speaks without saying so.
            let path = if name == "spec" { "" } else { name };
            difference.compare(resource, path, &before[name], &after[name]);
        }
        for part in ["labels", "annotations"] {
            let (before, after) = (&before["metadata"][part], &after["metadata"][part]);
            difference.compare(resource, part, before, after);
        }
        difference.warn_of_members(resource, before, after);
        difference
    }

    /// Whether nothing is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    fn compare(&mut self, resource: &ResourceType, path: &str, before: &Value, after: &Value) {
        if before == after {
            return;
        }
        let (old, new) = (before.as_object(), after.as_object());
        if (old.is_some() || before.is_null()) && (new.is_some() || after.is_null()) {
            let mut names: Vec<&String> = [old, new]
                .into_iter()
                .flatten()
                .flat_map(|o| o.keys())
                .collect();
            names.sort();
            names.dedup();
            for name in names {
                let beneath = match path {
                    "" => name.clone(),
                    path => format!("{path}.{name}"),
                };
                self.compare(resource, &beneath, &before[name], &after[name]);
            }
            return;
        }
        self.fields.push(match resource.kind.as_str() {
            "Secret" => format!("{path} changed"),
            _ => format!("{path} {} -> {}", shown(before), shown(after)),
        });
        if path.contains("retention.") && *after == json!("Delete") {
            let when = path.rsplit('.').next().unwrap_or_default();
            self.warnings.push(format!(
                "{path} is Delete from now on: the data of members goes {}",
                match when {
                    "whenScaled" => "when they are scaled in",
                    _ => "with the resource",
                }
            ));
        }
    }

    fn warn_of_members(&mut self, resource: &ResourceType, before: &Value, after: &Value) {
        let Some(path) = resource.replicas_path() else {
            return;
        };
        let pointer = format!("/{}", path.join("/"));
        let count = |object: &Value| object.pointer(&pointer).and_then(Value::as_i64);
        if let (Some(old), Some(new)) = (count(before), count(after))
            && new < old
        {
            let data = match after.pointer("/spec/storage/retention/whenScaled") {
                Some(policy) if policy == "Delete" => "with their data",
                _ => "their data stays",
            };
            self.warnings.push(format!(
                "{} {old} -> {new}: {} members go, {data}",
                path.last().map_or("members", String::as_str),
                old - new
            ));
        }
    }
}

fn shown(value: &Value) -> String {
    if value.is_null() {
        return "unset".to_owned();
    }
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if text.chars().count() <= SHOWN {
        return text;
    }
    text.chars().take(SHOWN).chain("...".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::{resource_type, resource_types};

    #[test]
    fn fields_are_named_with_both_values_and_members_that_go_are_warned_of() {
        let sort = resource_types()
            .iter()
            .find(|sort| sort.custom.is_some())
            .unwrap();
        let object = |members: u8, policy: &str| json!({ "spec": { "members": members, "storage": { "retention": { "whenScaled": policy } } } });
        let between = |before: &Value, after: &Value| Difference::between(sort, before, after);
        let less = between(&object(5, "Retain"), &object(3, "Retain"));
        assert_eq!(less.fields, ["members 5 -> 3"]);
        assert_eq!(
            less.warnings,
            ["members 5 -> 3: 2 members go, their data stays"]
        );
        let more = between(&object(3, "Retain"), &object(5, "Retain"));
        assert_eq!((more.fields.len(), more.warnings.len()), (1, 0));
        let data = between(&object(5, "Retain"), &object(3, "Delete"));
        assert_eq!(data.warnings.len(), 2, "{data:?}");
        assert!(
            data.warnings
                .iter()
                .any(|words| words.ends_with("with their data")),
            "{data:?}"
        );
        assert!(between(&object(3, "Retain"), &object(3, "Retain")).is_empty());
        let none = between(
            &json!({ "spec": {} }),
            &json!({ "spec": { "a": { "b": "c" } } }),
        );
        assert_eq!(none.fields, ["a.b unset -> c"]);
    }

    #[test]
    fn what_is_secret_is_not_shown() {
        let secret = |text: &str| json!({ "data": { "key": text } });
        let difference =
            Difference::between(resource_type("secret").unwrap(), &secret("a"), &secret("b"));
        assert_eq!(difference.fields, ["data.key changed"]);
    }
}
