//! Requests that bring one object to what it should be, by server-side apply.
//!
//! An object is made by POST, since an apply would take a foreign object of the same name over, and from then on
//! applied with its UID.

use kube::api::{
    Api, ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams,
};
use kube::{Client, Error};
use quorate_engine::Failure;
use quorate_plan::Object;
use serde_json::{Value, json};

use crate::OBJECTS;

/// How often something may come between the creation of an object and that its fields are made ours.
const ADOPTIONS: usize = 3;

/// The requests for one object.
pub(crate) struct Applier {
    api: Api<DynamicObject>,
    /// Of the object.
    pub kind: &'static str,
    /// Of the object.
    pub name: String,
}

impl Applier {
    /// For this object.
    pub fn new(
        client: &Client,
        namespace: &str,
        object: &Value,
        kind: &'static str,
        name: &str,
    ) -> Self {
        let api_version = object["apiVersion"].as_str().unwrap_or_default();
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Self {
            api: Api::namespaced_with(client.clone(), namespace, &resource),
            kind,
            name: name.to_owned(),
        }
    }

    /// None when an object of the name exists.
    pub async fn create(&self, object: &Value) -> Result<Option<Value>, Failure> {
        let object: DynamicObject = serde_json::from_value(object.clone())
            .map_err(|error| Failure::Unavailable(error.to_string()))?;
        let params = PostParams {
            field_manager: Some(OBJECTS.to_owned()),
            ..PostParams::default()
        };
        match self.api.create(&params, &object).await {
            Ok(made) => self.adopt_made(self.value(made)?).await.map(Some),
            Err(Error::Api(status)) if status.is_already_exists() => Ok(None),
            Err(error) => Err(self.failure(error)),
        }
    }

    /// Also where another comes between at once, as the controllers do that write into its status: to fail here would be
    /// to forget why it was made.
    async fn adopt_made(&self, mut made: Value) -> Result<Value, Failure> {
        for _ in 0..ADOPTIONS {
            match self.adopt(&made).await {
                Err(Failure::Conflict(_)) => {
                    made = self.read().await?.ok_or_else(|| self.conflict())?;
                }
                settled => return settled,
            }
        }
        self.adopt(&made).await
    }

    /// As it is now, by a list of one: the right to `get` objects by name is asked for nowhere else.
    pub async fn read(&self) -> Result<Option<Value>, Failure> {
        let params = ListParams::default().fields(&format!("metadata.name={}", self.name));
        let found = self.api.list(&params).await;
        let mut found = found.map_err(|error| self.failure(error))?.items;
        let Some(object) = found.pop() else {
            return Ok(None);
        };
        let mut value = self.value(object)?;
        // A list leaves out of its items what it says once of them all.
        value["kind"] = json!(self.kind);
        Ok(Some(value))
    }

    /// What would come of applying that; none where it cannot stand beside what another hand did.
    pub async fn try_out(
        &self,
        mut applied: Value,
        living: &Value,
    ) -> Result<Option<Object>, Failure> {
        // Of the very object that was compared.
        applied["metadata"]["resourceVersion"] = living["metadata"]["resourceVersion"].clone();
        let params = PatchParams::apply(OBJECTS).force().dry_run();
        match self.patch(applied, living, params).await {
            Ok(object) => self.object(self.value(object)?).map(Some),
            Err(Error::Api(refused)) if refused.is_invalid() => Ok(None),
            Err(error) => Err(self.failure(error)),
        }
    }

    /// Applies what is wanted to the living object.
    pub async fn change(&self, wanted: &Value, living: &Value) -> Result<Value, Failure> {
        let apply = || PatchParams::apply(OBJECTS).force();
        // An operator that was killed right after it made the object left it half its own.
        let living = self.adopt(living).await?;
        let mut applied = self.patch(wanted.clone(), &living, apply()).await;
        if let Err(Error::Api(refused)) = &applied
            && refused.is_invalid()
            && let Some(reset) = reset(wanted, &living)
        {
            let params = PatchParams {
                field_manager: Some(OBJECTS.to_owned()),
                ..PatchParams::default()
            };
            let reset = Patch::Merge(reset);
            let reset = self.api.patch(&self.name, &params, &reset).await;
            let living = self.value(reset.map_err(|error| self.failure(error))?)?;
            let living = self.adopt(&living).await?;
            applied = self.patch(wanted.clone(), &living, apply()).await;
        }
        self.value(applied.map_err(|error| self.failure(error))?)
    }

    async fn patch(
        &self,
        mut wanted: Value,
        living: &Value,
        params: PatchParams,
    ) -> Result<DynamicObject, Error> {
        wanted["metadata"]["uid"] = living["metadata"]["uid"].clone();
        if self.kind == "StatefulSet" {
            wanted["metadata"]["resourceVersion"] = living["metadata"]["resourceVersion"].clone();
        }
        self.api
            .patch(&self.name, &params, &Patch::Apply(&wanted))
            .await
    }

    /// Makes the fields that we created those of an apply: else a field that is not wanted any more would stay, being
    /// also that of the creation.
    async fn adopt(&self, made: &Value) -> Result<Value, Failure> {
        let Some(at) = created_by_us(made) else {
            return Ok(made.clone());
        };
        let mut managed = made["metadata"]["managedFields"].clone();
        match managed.as_array_mut() {
            // What a reset wrote is about to be applied too.
            Some(entries) if entries.iter().any(is_our_apply) => drop(entries.remove(at)),
            _ => managed[at]["operation"] = json!("Apply"),
        }
        let patch = json!({ "metadata": {
            "uid": made["metadata"]["uid"],
            "resourceVersion": made["metadata"]["resourceVersion"],
            "managedFields": managed,
        }});
        let params = PatchParams {
            field_manager: Some(OBJECTS.to_owned()),
            ..PatchParams::default()
        };
        let adopted = self
            .api
            .patch(&self.name, &params, &Patch::Merge(&patch))
            .await;
        self.value(adopted.map_err(|error| self.failure(error))?)
    }

    /// As its kind has it.
    pub fn object(&self, object: Value) -> Result<Object, Failure> {
        let (kind, name) = (self.kind, &self.name);
        Object::of(object)
            .ok_or_else(|| Failure::Unavailable(format!("{kind} {name} cannot be read back")))
    }

    fn value(&self, object: DynamicObject) -> Result<Value, Failure> {
        serde_json::to_value(object).map_err(|error| Failure::Unavailable(error.to_string()))
    }

    /// It changed while it was looked at.
    pub fn conflict(&self) -> Failure {
        Failure::Conflict(format!("{} {}", self.kind, self.name))
    }

    fn failure(&self, error: Error) -> Failure {
        failure(&format!("{} {}", self.kind, self.name), error)
    }
}

/// A merge patch for an object on which another hand has left what cannot stand beside what is wanted: an apply keeps
/// what others added to a list, or set where ours excludes it. This one makes our lists whole, takes the fields that
/// others set away, and forgets whose they were, so that an apply can follow.
fn reset(wanted: &Value, living: &Value) -> Option<Value> {
    let managed = living["metadata"]["managedFields"].as_array()?;
    let foreign: Vec<&Value> = managed
        .iter()
        .filter(|entry| entry["manager"] != OBJECTS && entry["subresource"].is_null())
        .collect();
    // Without an entry the next apply would share every field with a manager that is nobody, for ever.
    if foreign.is_empty() || !managed.iter().any(is_our_apply) {
        return None;
    }
    let mut patch = wanted.clone();
    for entry in foreign {
        let fields = entry["fieldsV1"]["f:spec"].as_object();
        let names = fields.into_iter().flatten().map(|(name, _)| name);
        for name in names.filter_map(|name| name.strip_prefix("f:")) {
            if patch["spec"][name].is_null() {
                patch["spec"][name] = Value::Null;
            }
        }
    }
    let metadata = &living["metadata"];
    patch["metadata"]["uid"] = metadata["uid"].clone();
    patch["metadata"]["resourceVersion"] = metadata["resourceVersion"].clone();
    let ours = managed.iter().filter(|entry| is_our_apply(entry));
    patch["metadata"]["managedFields"] = ours.cloned().collect();
    Some(patch)
}

fn is_our_apply(entry: &Value) -> bool {
    entry["manager"] == OBJECTS && entry["operation"] == "Apply"
}

/// Where in the managed fields the ones stand that we created.
pub(crate) fn created_by_us(object: &Value) -> Option<usize> {
    let managed = object["metadata"]["managedFields"].as_array()?;
    managed
        .iter()
        .position(|entry| entry["manager"] == OBJECTS && entry["operation"] == "Update")
}

/// What an error of the API server means to the engine.
pub(crate) fn failure(what: &str, error: Error) -> Failure {
    match error {
        Error::Api(status) if status.is_conflict() || status.is_not_found() => {
            Failure::Conflict(what.to_owned())
        }
        Error::Api(status) if status.is_forbidden() || status.is_invalid() => {
            Failure::Denied(format!("{what}: {}", status.message))
        }
        Error::Api(status) => Failure::Unavailable(format!("{what}: {}", status.message)),
        error => Failure::Unavailable(format!("{what}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_set_is_taken_away_and_what_nobody_owns_stays() {
        let ours = json!({ "manager": OBJECTS, "operation": "Apply" });
        let wanted = json!({ "metadata": { "name": "a" }, "spec": { "maxUnavailable": 1 } });
        let living = |entry: Value| {
            json!({ "metadata": {
                "uid": "u", "resourceVersion": "7", "managedFields": [ours, entry],
            }})
        };
        let edited = json!({ "manager": "kubectl", "fieldsV1": { "f:spec": {
            "f:minAvailable": {}, "f:maxUnavailable": {},
        }}});
        let patch = reset(&wanted, &living(edited)).unwrap();
        let spec = json!({ "maxUnavailable": 1, "minAvailable": null });
        assert_eq!(patch["spec"], spec);
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
        assert_eq!(patch["metadata"]["managedFields"], json!([ours]));
        let controller = json!({ "manager": "kube-controller-manager", "subresource": "status" });
        assert_eq!(reset(&wanted, &living(controller)), None);
    }

    #[test]
    fn only_our_own_creation_is_made_an_apply() {
        let entry =
            |manager: &str, operation: &str| json!({ "manager": manager, "operation": operation });
        let object = |entries: Vec<Value>| json!({ "metadata": { "managedFields": entries } });
        assert_eq!(
            created_by_us(&object(vec![entry("kubectl", "Update")])),
            None
        );
        assert_eq!(created_by_us(&object(vec![entry(OBJECTS, "Apply")])), None);
        let both = object(vec![entry("kubectl", "Update"), entry(OBJECTS, "Update")]);
        assert_eq!(created_by_us(&both), Some(1));
    }
}
