//! What an API server does to an object before it keeps it: recognize, complete, check.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use quorate_plan::{AnyDesired, Stage};
use serde_json::{Value, json};

use crate::difference::Difference;
use crate::fields::audit;
use crate::host::env;
use crate::limits::check;
use crate::node::Node;
use crate::ownership::merged;
use crate::resources::{ResourceType, Writers, resource_type_of, resource_types};
use crate::store::{ObjectKey, StoreError};

/// What became of an applied object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It is new.
    Created,
    /// It is different.
    Configured,
    /// It is as it was.
    Unchanged,
}

/// Finds the sort of a document, or says which there are.
///
/// # Errors
/// When this host keeps no such objects.
pub fn sort_of(document: &Value) -> Result<&'static ResourceType, StoreError> {
    let known = || {
        let writable = resource_types()
            .iter()
            .filter(|resource| resource.writers == Writers::People);
        writable
            .map(|resource| format!("{} ({})", resource.kind, resource.api_version))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let found = resource_type_of(document).filter(|resource| resource.writers == Writers::People);
    found.ok_or_else(|| {
        let (version, kind) = (&document["apiVersion"], &document["kind"]);
        StoreError::Invalid(format!(
            "apiVersion {version}, kind {kind}: this host takes {}",
            known()
        ))
    })
}

/// An applied object.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub applied: Applied,
    pub object: Value,
    pub difference: Difference,
}

/// So often is an object read again that changed under our hands.
const TRIES: usize = 10;

/// Keeps the document as it is now wanted: makes the object, or changes what the document states, and takes out what it
/// stated when it was last applied and does not state now.
///
/// # Errors
/// When it is not valid, or a uid or resourceVersion in it is not that of the object.
pub(crate) fn apply(node: &Node, document: &Value) -> Result<Outcome, StoreError> {
    let resource = sort_of(document)?;
    let key = ObjectKey::of(&resource.plural, document)?;
    let mut document = document.clone();
    if let Some(fields) = document.as_object_mut() {
        fields.remove("status");
    }
    if resource.custom.is_none() {
        encode_string_data(&mut document)?;
    }
    let metadata = &document["metadata"];
    let any_version = metadata["resourceVersion"].is_null() && metadata["uid"].is_null();
    settle(any_version, || {
        let old = node.store.get(&key);
        let admitted = admit(resource, &merged(&document, old.as_ref()), old.as_ref())?;
        let Some(old) = old else {
            return Ok(Outcome {
                applied: Applied::Created,
                object: node.store.create(&resource.plural, admitted)?,
                difference: Difference::default(),
            });
        };
        let object = node.store.replace(&resource.plural, admitted)?;
        let difference = Difference::between(resource, &old, &object);
        let applied = match difference.is_empty() {
            true => Applied::Unchanged,
            false => Applied::Configured,
        };
        Ok(Outcome {
            applied,
            object,
            difference,
        })
    })
}

/// A change of an object as it was read. Its status may be written meanwhile: who means any version of it is not to hear
/// of that, and the change is made on what it is now.
fn settle<T>(
    any_version: bool,
    mut change: impl FnMut() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    for _ in 0..TRIES {
        match change() {
            Err(StoreError::Conflict(_)) if any_version => {}
            other => return other,
        }
    }
    change()
}

/// Sets how many members a resource wants.
///
/// # Errors
/// When it has no such number, or the number is not valid.
pub fn scale(
    node: &Node,
    resource: &ResourceType,
    key: &ObjectKey,
    replicas: i64,
    version: Option<&str>,
) -> Result<Value, StoreError> {
    let path = resource
        .replicas_path()
        .ok_or_else(|| StoreError::Invalid(format!("a {} cannot be scaled", resource.kind)))?;
    let pointer = format!("/{}", path.join("/"));
    settle(version.is_none(), || {
        let old = node
            .store
            .get(key)
            .ok_or_else(|| StoreError::NotFound(key.clone()))?;
        let mut new = old.clone();
        if let Some(version) = version {
            new["metadata"]["resourceVersion"] = json!(version);
        }
        let field = new
            .pointer_mut(&pointer)
            .ok_or_else(|| StoreError::Invalid(format!("{key} has no {}", path.join("."))))?;
        *field = json!(replicas);
        node.store
            .replace(&resource.plural, admit(resource, &new, Some(&old))?)
    })
}

fn admit(
    resource: &ResourceType,
    document: &Value,
    old: Option<&Value>,
) -> Result<Value, StoreError> {
    let mut object = document.clone();
    if object["metadata"]["namespace"].is_null() && object["metadata"].is_object() {
        object["metadata"]["namespace"] = json!("default");
    }
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    check(&object)?;
    match resource.custom {
        Some(kind) => {
            let known = ["apiVersion", "kind", "metadata", "spec", "status"];
            let fields = object.as_object().into_iter().flatten();
            if let Some((unknown, _)) = fields
                .into_iter()
                .find(|(name, _)| !known.contains(&name.as_str()))
            {
                return Err(StoreError::Invalid(format!(
                    "{unknown}: a {} has no such field",
                    resource.kind
                )));
            }
            resource.fill_defaults(&mut object);
            // Only an object that is kept has a uid; the checks want one.
            let mut candidate = object.clone();
            candidate["metadata"]["uid"] =
                old.map_or_else(|| json!("new"), |old| old["metadata"]["uid"].clone());
            let desired = kind
                .validate(&candidate, &env())
                .map_err(|rejected| StoreError::Invalid(rejected.to_string()))?;
            runs_here(&*desired)?;
            let unchangeable = old.map_or(Ok(()), |old| kind.unchangeable(old, &object));
            unchangeable.map_err(|faults| {
                StoreError::Invalid(
                    faults
                        .iter()
                        .map(ToString::to_string)
                        .collect::<Vec<_>>()
                        .join("; "),
                )
            })?;
        }
        None => {
            if let Some(unknown) = audit(&object).unknown.first() {
                return Err(StoreError::Invalid(format!(
                    "{unknown}: a {} has no such field",
                    resource.kind
                )));
            }
        }
    }
    Ok(object)
}

/// What this host could not make of a resource is said before the resource is kept.
fn runs_here(desired: &dyn AnyDesired) -> Result<(), StoreError> {
    for object in desired.build(&Stage::default()) {
        let what = format!("{} {}", object.kind(), object.name());
        let value = serde_json::to_value(&object)
            .map_err(|error| StoreError::Invalid(format!("{what}: {error}")))?;
        if let Some(refusal) = audit(&value).refusal(&what) {
            return Err(StoreError::Invalid(refusal));
        }
    }
    Ok(())
}

/// A Secret's `stringData` is a convenience of writing: it is kept as `data`.
fn encode_string_data(object: &mut Value) -> Result<(), StoreError> {
    let Some(plain) = object
        .as_object_mut()
        .and_then(|fields| fields.remove("stringData"))
    else {
        return Ok(());
    };
    let plain: BTreeMap<String, String> = serde_json::from_value(plain)
        .map_err(|error| StoreError::Invalid(format!("stringData: {error}")))?;
    let data = object
        .as_object_mut()
        .map(|fields| fields.entry("data").or_insert_with(|| json!({})));
    let data = data
        .and_then(Value::as_object_mut)
        .ok_or_else(|| StoreError::Invalid("data must be an object".to_owned()))?;
    data.extend(
        plain
            .into_iter()
            .map(|(key, text)| (key, json!(STANDARD.encode(text)))),
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_names_a_version_hears_that_the_object_changed_meanwhile() {
        let conflict = || StoreError::Conflict(ObjectKey::new("pods", "default", "a"));
        let tried = |any_version, conflicts: usize| {
            let mut tries = 0;
            let settled = settle(any_version, || {
                tries += 1;
                if tries > conflicts {
                    Ok(())
                } else {
                    Err(conflict())
                }
            });
            (tries, settled.is_ok())
        };
        assert_eq!(tried(true, 3), (4, true));
        assert_eq!(tried(false, 3), (1, false));
        assert_eq!(tried(true, usize::MAX), (TRIES + 1, false));
    }
}
