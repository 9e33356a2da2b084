//! Which fields of an object a file states, and so owns: a merge of three, as kubectl's apply is.
//!
//! What the file states is as the file says. What it stated when it was last applied and no longer does is taken out, and
//! has its default again. What it never stated is whoever's it was: a number of members that `scale` set stays.
//!
//! Only the paths of the last file are kept, in the form of an API server's `managedFields`: no value is kept twice, and
//! none of a Secret in the clear.

use serde_json::{Map, Value, json};

const MANAGER: &str = "quorate-apply";

/// The document as the object shall be: on what it is now, if there is one.
pub(crate) fn merged(document: &Value, live: Option<&Value>) -> Value {
    let mut wanted = document.clone();
    if let Some(metadata) = wanted["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    let stated = json!([{
        "manager": MANAGER, "operation": "Apply", "apiVersion": document["apiVersion"],
        "fieldsType": "FieldsV1", "fieldsV1": stated(document),
    }]);
    let mut object = match live {
        None => wanted,
        Some(live) => {
            let mut object = live.clone();
            merge(&mut object, &wanted, last_stated(live));
            object
        }
    };
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("managedFields".to_owned(), stated);
    }
    object
}

/// What the last file stated; nothing where an earlier version did not note it.
fn last_stated(live: &Value) -> &Value {
    let managers = live["metadata"]["managedFields"].as_array();
    managers
        .into_iter()
        .flatten()
        .find(|entry| entry["manager"] == MANAGER)
        .map_or(&Value::Null, |entry| &entry["fieldsV1"])
}

fn stated(document: &Value) -> Value {
    let mut fields = Map::new();
    for (name, value) in document.as_object().into_iter().flatten() {
        match name.as_str() {
            "apiVersion" | "kind" | "status" => {}
            "metadata" => {
                let owned = ["labels", "annotations"].map(|part| (part, &value[part]));
                let owned: Map<_, _> = owned
                    .into_iter()
                    .filter(|(_, value)| value.is_object())
                    .map(|(part, value)| (format!("f:{part}"), paths(value)))
                    .collect();
                if !owned.is_empty() {
                    fields.insert("f:metadata".to_owned(), Value::Object(owned));
                }
            }
            _ => drop(fields.insert(format!("f:{name}"), paths(value))),
        }
    }
    Value::Object(fields)
}

/// A list is one value: who states one owns it whole.
fn paths(value: &Value) -> Value {
    let fields = value.as_object().into_iter().flatten();
    fields
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (format!("f:{name}"), paths(value)))
        .collect::<Map<_, _>>()
        .into()
}

fn merge(live: &mut Value, wanted: &Value, before: &Value) {
    let (Value::Object(fields), Value::Object(wanted)) = (&mut *live, wanted) else {
        *live = wanted.clone();
        return;
    };
    for (name, beneath) in before.as_object().into_iter().flatten() {
        if let Some(name) = name.strip_prefix("f:")
            && !wanted.contains_key(name)
        {
            disown(fields, name, beneath);
        }
    }
    for (name, value) in wanted {
        match fields.get_mut(name) {
            _ if value.is_null() => drop(fields.remove(name)),
            Some(field) => merge(field, value, &before[format!("f:{name}").as_str()]),
            None => drop(fields.insert(name.clone(), value.clone())),
        }
    }
}

/// Takes out what the last file stated of a field, and the field itself when nothing is left of it.
fn disown(fields: &mut Map<String, Value>, name: &str, beneath: &Value) {
    let parts = beneath.as_object().filter(|parts| !parts.is_empty());
    if let (Some(Value::Object(field)), Some(parts)) = (fields.get_mut(name), parts) {
        for (part, beneath) in parts {
            disown(field, part.trim_start_matches("f:"), beneath);
        }
        if !field.is_empty() {
            return;
        }
    }
    fields.remove(name);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(spec: Value) -> Value {
        json!({ "apiVersion": "v1", "kind": "K", "metadata": { "name": "a" }, "spec": spec })
    }

    /// The spec after a first file, another hand, and a second file.
    fn after(first: Value, hand: impl FnOnce(&mut Value), second: Value) -> Value {
        let mut live = merged(&document(first), None);
        hand(&mut live["spec"]);
        merged(&document(second), Some(&live))["spec"].take()
    }

    #[test]
    fn what_a_file_never_stated_is_not_its_own() {
        let scaled = |spec: &mut Value| spec["members"] = json!(5);
        assert_eq!(
            after(json!({ "a": 1 }), scaled, json!({ "a": 1 })),
            json!({ "a": 1, "members": 5 })
        );
        assert_eq!(
            after(json!({}), scaled, json!({ "members": 3 })),
            json!({ "members": 3 })
        );
        let deep = |spec: &mut Value| spec["limits"]["b"] = json!(2);
        assert_eq!(
            after(
                json!({ "limits": { "a": 1 } }),
                deep,
                json!({ "limits": { "a": 3 } })
            ),
            json!({ "limits": { "a": 3, "b": 2 } })
        );
    }

    #[test]
    fn what_a_file_states_no_longer_is_taken_out() {
        let nobody = |_: &mut Value| {};
        for second in [json!({ "b": 1 }), json!({ "b": 1, "a": null })] {
            assert_eq!(
                after(json!({ "a": 1, "b": 1 }), nobody, second),
                json!({ "b": 1 })
            );
        }
        let beside = |spec: &mut Value| spec["limits"]["b"] = json!(2);
        for second in [json!({}), json!({ "limits": {} })] {
            assert_eq!(
                after(json!({ "limits": { "a": 1 } }), beside, second),
                json!({ "limits": { "b": 2 } })
            );
        }
        assert_eq!(
            after(json!({ "limits": { "a": 1 } }), nobody, json!({})),
            json!({})
        );
        let list = |spec: &mut Value| spec["list"] = json!([1, 2]);
        assert_eq!(after(json!({ "list": [1] }), list, json!({})), json!({}));
    }

    #[test]
    fn of_the_metadata_labels_and_annotations_are_stated_and_no_value_is_kept_twice() {
        let mut first = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "a", "labels": { "x": "1" } }, "data": { "key": "c2VjcmV0" } });
        let mut live = merged(&first, None);
        assert_eq!(live.to_string().matches("c2VjcmV0").count(), 1);
        live["metadata"]["labels"]["y"] = json!("2");
        live["metadata"]["ownerReferences"] = json!([{ "uid": "u" }]);
        first["metadata"] = json!({ "name": "a" });
        let again = merged(&first, Some(&live));
        assert_eq!(again["metadata"]["labels"], json!({ "y": "2" }));
        assert_eq!(
            again["metadata"]["ownerReferences"],
            json!([{ "uid": "u" }])
        );
    }

    #[test]
    fn an_object_of_an_earlier_version_loses_nothing() {
        let live = document(json!({ "a": 1, "members": 5 }));
        let now = merged(&document(json!({ "a": 2 })), Some(&live));
        assert_eq!(now["spec"], json!({ "a": 2, "members": 5 }));
    }
}
