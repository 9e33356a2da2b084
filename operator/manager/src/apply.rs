//! Bringing objects to what they should be, by server-side apply, with no request where nothing would change.
//!
//! An object is made by POST, since an apply would take a foreign object of the same name over, and from then on
//! applied with its UID. What stands in the cache is compared with what our last apply left there: a difference is
//! drift, and is put back.

use std::collections::BTreeMap;

use kube::api::{
    Api, ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams,
};
use kube::{Client, Error};
use quorate_engine::Failure;
use quorate_plan::{Object, short};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::OBJECTS;

type Print = [u8; 32];

/// Annotation of what we apply: a digest of what it was applied as. By it an operator that has applied nothing yet tells
/// an edit by another hand from what is wanted otherwise by now.
const APPLIED: &str = "quorate.dev/applied";

/// What of an object's metadata changes by itself.
const CHANGING: [&str; 3] = ["resourceVersion", "managedFields", "generation"];

/// How often something may come between the creation of an object and that its fields are made ours.
const ADOPTIONS: usize = 3;

/// What our last application of an object was, and what it left.
#[derive(Clone, Debug)]
struct Left {
    wanted: Print,
    living: Print,
    version: u64,
    /// It was edited, and putting it back came half way: then it may look as if nothing had been.
    edited: bool,
}

/// What we applied for one resource since this operator began.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger(BTreeMap<(&'static str, String), Left>);

/// What came of an application.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// The object as it is now.
    pub object: Object,
    /// What another hand had done to it, in words.
    pub drift: Option<&'static str>,
}

impl Ledger {
    /// An object that we took away ourselves is no drift.
    pub fn forget(&mut self, kind: &'static str, name: &str) {
        self.0.remove(&(kind, name.to_owned()));
    }

    /// Makes the object, or brings the living one to what it should be. `existed` says that an operator before this one
    /// had made it.
    pub async fn apply(
        &mut self,
        client: &Client,
        namespace: &str,
        owner: &str,
        object: Object,
        living: Option<Object>,
        existed: bool,
    ) -> Result<Outcome, Failure> {
        let (kind, name) = (object.kind(), object.name().to_owned());
        let mut wanted_json = to_json(&object)?;
        let digest = digest(&wanted_json);
        let mark = short(digest.clone());
        let wanted = digest.finalize().into();
        wanted_json["metadata"]["annotations"][APPLIED] = json!(mark);
        let api = Applier::new(client, namespace, &wanted_json, kind, &name);
        let before = self.0.get(&(kind, name.clone())).cloned();

        let living = match living {
            Some(living) => living,
            None => match api.create(wanted_json.clone()).await? {
                Some(made) => {
                    let drift = (existed || before.is_some()).then_some("deleted");
                    let object = api.object(made)?;
                    self.leave(wanted, &object)?;
                    return Ok(Outcome { object, drift });
                }
                // It was there all the same: the cache is late, or it lost the labels by which we find it.
                None => api.object(api.read().await?)?,
            },
        };
        let metadata = living.metadata();
        let seen = number(metadata.resource_version.as_deref());
        let marks = metadata.annotations.as_ref();
        let is_marked = marks.and_then(|marks| marks.get(APPLIED)) == Some(&mark);
        let as_it_is = |living| Outcome {
            object: living,
            drift: None,
        };
        // Almost always, and cheap to see.
        let same = before.as_ref().filter(|before| before.wanted == wanted);
        if same.is_some_and(|before| before.version == seen) {
            return Ok(as_it_is(living));
        }
        let living_json = to_json(&living)?;
        let found = print(&living_json);
        if same.is_some_and(|before| before.living == found && !before.edited) {
            self.leave(wanted, &living)?;
            return Ok(as_it_is(living));
        }

        let was_edited = same.is_some_and(|before| before.edited);
        // That we have left it so, or an operator before us, and not that we want something else by now.
        let is_ours = match &before {
            Some(_) => same.is_some_and(|before| before.version < seen),
            None => is_marked,
        };
        let changed = api.change(owner, wanted_json, &living_json).await;
        if let Err(Failure::Conflict(_)) = &changed
            && is_ours
            && let Some(left) = self.0.get_mut(&(kind, name.clone()))
        {
            left.edited = true;
        }
        let object = api.object(changed?)?;
        let now = self.leave(wanted, &object)?;
        let put_back = was_edited || is_ours && now != found;
        let drift = put_back.then_some("edited");
        Ok(Outcome { object, drift })
    }

    /// Notes what an application left.
    fn leave(&mut self, wanted: Print, object: &Object) -> Result<Print, Failure> {
        let living = print(&to_json(object)?);
        let left = Left {
            wanted,
            living,
            version: number(object.metadata().resource_version.as_deref()),
            edited: false,
        };
        let key = (object.kind(), object.name().to_owned());
        self.0.insert(key, left);
        Ok(living)
    }
}

/// The requests for one object.
struct Applier<'a> {
    api: Api<DynamicObject>,
    kind: &'a str,
    name: &'a str,
}

impl<'a> Applier<'a> {
    fn new(client: &Client, namespace: &str, object: &Value, kind: &'a str, name: &'a str) -> Self {
        let api_version = object["apiVersion"].as_str().unwrap_or_default();
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Self {
            api: Api::namespaced_with(client.clone(), namespace, &resource),
            kind,
            name,
        }
    }

    /// None when an object of the name exists.
    async fn create(&self, object: Value) -> Result<Option<Value>, Failure> {
        let object: DynamicObject = serde_json::from_value(object)
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
                Err(Failure::Conflict(_)) => made = self.read().await?,
                settled => return settled,
            }
        }
        self.adopt(&made).await
    }

    /// By a list of one: the right to `get` objects by name is asked for nowhere else.
    async fn read(&self) -> Result<Value, Failure> {
        let params = ListParams::default().fields(&format!("metadata.name={}", self.name));
        let found = self.api.list(&params).await;
        let mut found = found.map_err(|error| self.failure(error))?.items;
        let object = found
            .pop()
            .ok_or_else(|| Failure::Conflict(format!("{} {}", self.kind, self.name)))?;
        let mut value = self.value(object)?;
        // A list leaves out of its items what it says once of them all.
        value["kind"] = json!(self.kind);
        Ok(value)
    }

    /// Applies what is wanted to the living object, if it is the resource's own.
    async fn change(&self, owner: &str, wanted: Value, living: &Value) -> Result<Value, Failure> {
        let owners = living["metadata"]["ownerReferences"].as_array();
        if !owners.into_iter().flatten().any(|it| it["uid"] == owner) {
            return Err(Failure::Foreign(format!("{} {}", self.kind, self.name)));
        }
        // An operator that was killed right after it made the object left it half its own.
        let living = self.adopt(living).await?;
        let mut applied = self.patch(wanted.clone(), &living).await;
        if let Err(Error::Api(refused)) = &applied
            && refused.is_invalid()
            && let Some(reset) = reset(&wanted, &living)
        {
            let params = PatchParams {
                field_manager: Some(OBJECTS.to_owned()),
                ..PatchParams::default()
            };
            let reset = Patch::Merge(reset);
            let reset = self.api.patch(self.name, &params, &reset).await;
            let living = self.value(reset.map_err(|error| self.failure(error))?)?;
            let living = self.adopt(&living).await?;
            applied = self.patch(wanted, &living).await;
        }
        self.value(applied.map_err(|error| self.failure(error))?)
    }

    async fn patch(&self, mut wanted: Value, living: &Value) -> Result<DynamicObject, Error> {
        wanted["metadata"]["uid"] = living["metadata"]["uid"].clone();
        if self.kind == "StatefulSet" {
            wanted["metadata"]["resourceVersion"] = living["metadata"]["resourceVersion"].clone();
        }
        let params = PatchParams::apply(OBJECTS).force();
        self.api
            .patch(self.name, &params, &Patch::Apply(&wanted))
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
            .patch(self.name, &params, &Patch::Merge(&patch))
            .await;
        self.value(adopted.map_err(|error| self.failure(error))?)
    }

    fn object(&self, object: Value) -> Result<Object, Failure> {
        let (kind, name) = (self.kind, self.name);
        Object::of(object)
            .ok_or_else(|| Failure::Unavailable(format!("{kind} {name} cannot be read back")))
    }

    fn value(&self, object: DynamicObject) -> Result<Value, Failure> {
        serde_json::to_value(object).map_err(|error| Failure::Unavailable(error.to_string()))
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
fn created_by_us(object: &Value) -> Option<usize> {
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

fn to_json(object: &Object) -> Result<Value, Failure> {
    serde_json::to_value(object).map_err(|error| Failure::Unavailable(error.to_string()))
}

fn number(version: Option<&str>) -> u64 {
    version
        .and_then(|version| version.parse().ok())
        .unwrap_or(0)
}

fn print(object: &Value) -> Print {
    digest(object).finalize().into()
}

/// What an object says, without what changes by itself.
fn digest(object: &Value) -> Sha256 {
    let mut hash = Sha256::new();
    for (name, field) in object.as_object().into_iter().flatten() {
        let is_metadata = name == "metadata";
        for (inner, value) in field.as_object().into_iter().flatten() {
            if name != "status" && !(is_metadata && CHANGING.contains(&inner.as_str())) {
                hash.update(json!([name, inner, value]).to_string());
            }
        }
        if !field.is_object() {
            hash.update(json!([name, field]).to_string());
        }
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_by_itself_is_no_drift() {
        let object = json!({ "metadata": { "name": "a", "labels": { "x": "1" } }, "spec": { "replicas": 3 } });
        let mut later = object.clone();
        later["status"] = json!({ "replicas": 2 });
        later["metadata"]["resourceVersion"] = json!("7");
        assert_eq!(print(&object), print(&later));
        later["metadata"]["labels"]["x"] = json!("2");
        assert_ne!(print(&object), print(&later));
    }

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
