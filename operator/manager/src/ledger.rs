//! What we applied, and what another hand did to it since: drift. It is found before it is put back, so that people hear
//! of it from an operator that dies in between.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use quorate_engine::Failure;
use quorate_plan::Object;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::OBJECTS;
use crate::apply::{Applier, created_by_us};

type Print = [u8; 32];

type Key = (&'static str, String);

/// Annotation of what was applied last, as JSON. By it an operator that has applied nothing yet tells what another hand
/// did from what is wanted otherwise by now.
const APPLIED: &str = "quorate.dev/applied";

/// What of an object's metadata changes by itself.
const CHANGING: [&str; 3] = ["resourceVersion", "managedFields", "generation"];

/// What our last application of an object was, and what it left.
#[derive(Clone, Copy, Debug)]
struct Left {
    wanted: Print,
    living: Print,
    version: u64,
}

/// What we applied for one resource since this operator began.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    left: BTreeMap<Key, Left>,
    /// Objects of whose drift people have heard, and that are not put back yet.
    told: BTreeSet<Key>,
}

/// An object that is wanted.
pub(crate) struct Task {
    api: Applier,
    /// The UID of the resource that it belongs to.
    owner: String,
    wanted: Value,
    print: Print,
}

/// How an object stands to what is wanted.
#[derive(Debug)]
pub(crate) struct Found {
    /// What another hand had done to it, in words, unless that was told before.
    pub drift: Option<&'static str>,
    /// What [`Ledger::settle`] will do.
    pub todo: Todo,
}

/// What is to be done for an object.
#[derive(Debug)]
pub(crate) enum Todo {
    /// Nothing: it is as it should be.
    Keep(Box<Object>),
    /// There is none.
    Make,
    /// It is not, or not known to be, as it should be.
    Change(Value),
}

impl Task {
    /// For the resource with the UID `owner`.
    pub fn new(
        client: &Client,
        namespace: &str,
        owner: &str,
        object: &Object,
    ) -> Result<Self, Failure> {
        let json = to_json(object)?;
        let api = Applier::new(client, namespace, &json, object.kind(), object.name());
        let content = json.to_string();
        Ok(Self {
            api,
            owner: owner.to_owned(),
            print: Sha256::digest(&content).into(),
            wanted: marked(json, &content),
        })
    }

    fn key(&self) -> Key {
        (self.api.kind, self.api.name.clone())
    }

    /// An object of somebody else is not touched.
    fn expect_own(&self, living: &Object) -> Result<(), Failure> {
        if belongs(living.metadata(), &self.owner) {
            return Ok(());
        }
        let (kind, name) = (self.api.kind, &self.api.name);
        Err(Failure::Foreign(format!("{kind} {name}")))
    }

    /// Whether to apply once more what was applied last would change the object.
    async fn is_edited(
        &self,
        living: &Object,
        json: &Value,
        found: &Print,
    ) -> Result<bool, Failure> {
        // Also where the mark itself was taken away or written over.
        let Some((content, applied)) = applied(living) else {
            return Ok(true);
        };
        let applied = marked(to_json(&applied)?, content);
        Ok(match self.api.try_out(applied, json).await? {
            Some(unedited) => print(&to_json(&unedited)?) != *found,
            None => true,
        })
    }
}

impl Ledger {
    /// An object that we took away ourselves is no drift.
    pub fn forget(&mut self, kind: &'static str, name: &str) {
        let key = (kind, name.to_owned());
        self.told.remove(&key);
        self.left.remove(&key);
    }

    /// Finds out what there is to do and to tell. `existed` says that an operator before this one had made the object.
    pub async fn compare(
        &mut self,
        task: &Task,
        living: Option<Object>,
        existed: bool,
    ) -> Result<Found, Failure> {
        let before = self.left.get(&task.key()).copied();
        let was_made = existed || before.is_some();
        let living = match living {
            Some(living) => living,
            None if !was_made => return Ok(self.found(task, None, Todo::Make)),
            // The cache may be late, or the object have lost the labels by which we find it.
            None => match task.api.read().await? {
                Some(living) => task.api.object(living)?,
                None => return Ok(self.found(task, Some("deleted"), Todo::Make)),
            },
        };
        let seen = version(&living);
        let is_wanted_still = before.is_some_and(|before| before.wanted == task.print);
        // Almost always, and cheap to see.
        if is_wanted_still && before.is_some_and(|before| before.version == seen) {
            return Ok(self.found(task, None, Todo::Keep(Box::new(living))));
        }
        let json = to_json(&living)?;
        task.expect_own(&living)?;
        let print = print(&json);
        let is_old = before.is_some_and(|before| before.version > seen);
        let is_as_left = before.is_some_and(|before| before.living == print);
        let is_edited = !is_old && !is_as_left && task.is_edited(&living, &json, &print).await?;
        // An operator that was killed right after it made the object left it half its own.
        let wanted = task.wanted["metadata"]["annotations"][APPLIED].as_str();
        let is_whole = mark(living.metadata()) == wanted && created_by_us(&json).is_none();
        if is_old || is_edited || !is_whole {
            return Ok(self.found(task, is_edited.then_some("edited"), Todo::Change(json)));
        }
        self.leave(task, &living)?;
        Ok(self.found(task, None, Todo::Keep(Box::new(living))))
    }

    /// Makes the object, or brings the living one to what it should be.
    pub async fn settle(&mut self, task: &Task, todo: Todo) -> Result<Object, Failure> {
        let api = &task.api;
        let done = match todo {
            Todo::Keep(object) => return Ok(*object),
            Todo::Change(living) => api.change(&task.wanted, &living).await?,
            Todo::Make => match api.create(&task.wanted).await? {
                Some(made) => made,
                None => {
                    let living = api.read().await?.ok_or_else(|| api.conflict())?;
                    task.expect_own(&api.object(living.clone())?)?;
                    api.change(&task.wanted, &living).await?
                }
            },
        };
        let object = api.object(done)?;
        self.leave(task, &object)?;
        Ok(object)
    }

    fn found(&mut self, task: &Task, drift: Option<&'static str>, todo: Todo) -> Found {
        let drift = drift.filter(|_| self.told.insert(task.key()));
        Found { drift, todo }
    }

    /// Notes what an application left.
    fn leave(&mut self, task: &Task, object: &Object) -> Result<(), Failure> {
        let left = Left {
            wanted: task.print,
            living: print(&to_json(object)?),
            version: version(object),
        };
        self.told.remove(&task.key());
        self.left.insert(task.key(), left);
        Ok(())
    }
}

/// The object with the mark of its content.
fn marked(mut object: Value, content: &str) -> Value {
    object["metadata"]["annotations"][APPLIED] = json!(content);
    object
}

/// The mark of a living object, if no other hand has written it.
fn mark(living: &ObjectMeta) -> Option<&str> {
    let field = format!("f:{APPLIED}");
    let is_ours = living.managed_fields.iter().flatten().any(|entry| {
        let fields = entry.fields_v1.as_ref();
        fields.is_some_and(|fields| !fields.0["f:metadata"]["f:annotations"][&field].is_null())
            && entry.manager.as_deref() == Some(OBJECTS)
    });
    let mark = living.annotations.as_ref()?.get(APPLIED)?;
    is_ours.then_some(mark)
}

/// What was applied last to a living object: the mark, and what it says.
fn applied(living: &Object) -> Option<(&str, Object)> {
    let content = mark(living.metadata())?;
    let applied = Object::of(serde_json::from_str(content).ok()?)?;
    let is_it = applied.kind() == living.kind()
        && applied.name() == living.name()
        && applied.metadata().namespace == living.metadata().namespace;
    is_it.then_some((content, applied))
}

/// Whether a living object is that of the resource with the UID `owner`: by its owner reference, or by its mark where
/// another hand took the reference away.
pub(crate) fn belongs(living: &ObjectMeta, owner: &str) -> bool {
    let mut owners = living.owner_references.iter().flatten();
    if let Some(controller) = owners.find(|owner| owner.controller == Some(true)) {
        return controller.uid == owner;
    }
    let applied: Value = mark(living)
        .and_then(|mark| serde_json::from_str(mark).ok())
        .unwrap_or_default();
    let owners = applied["metadata"]["ownerReferences"].as_array();
    owners.into_iter().flatten().any(|it| it["uid"] == owner)
}

fn to_json(object: &Object) -> Result<Value, Failure> {
    serde_json::to_value(object).map_err(|error| Failure::Unavailable(error.to_string()))
}

fn version(object: &Object) -> u64 {
    let version = object.metadata().resource_version.as_deref();
    version
        .and_then(|version| version.parse().ok())
        .unwrap_or(0)
}

/// What an object says, without what changes by itself.
fn print(object: &Value) -> Print {
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
    hash.finalize().into()
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

    /// As applied for the resource `r`, with the mark by `manager`.
    fn living(manager: &str, owners: Value) -> ObjectMeta {
        let applied = json!({ "metadata": { "ownerReferences": [{ "uid": "r" }] } }).to_string();
        let fields = json!({ "f:metadata": { "f:annotations": { "f:quorate.dev/applied": {} } } });
        let metadata = json!({
            "annotations": { APPLIED: applied },
            "ownerReferences": owners,
            "managedFields": [{ "manager": manager, "fieldsV1": fields }],
        });
        serde_json::from_value(metadata).unwrap()
    }

    #[test]
    fn a_mark_that_another_hand_wrote_is_none() {
        assert!(mark(&living(OBJECTS, json!([]))).is_some());
        assert_eq!(mark(&living("kubectl-edit", json!([]))), None);
    }

    #[test]
    fn a_mark_that_is_none_of_ours_is_as_good_as_none() {
        let account = json!({ "kind": "ServiceAccount", "metadata": { "name": "a" } });
        let is = |expected: bool, content: &str| {
            let mut metadata = living(OBJECTS, json!([]));
            metadata.name = Some("a".into());
            metadata.annotations = Some([(APPLIED.to_owned(), content.to_owned())].into());
            let mut object = account.clone();
            object["metadata"] = json!(metadata);
            let living = Object::of(object).unwrap();
            assert_eq!(applied(&living).is_some(), expected, "{content}");
            assert!(!belongs(living.metadata(), "r"));
        };
        is(true, &account.to_string());
        is(false, "");
        is(false, "5");
        is(false, r#"{"kind":"ServiceAccount","metadata":5}"#);
        is(
            false,
            r#"{"kind":"ServiceAccount","metadata":{"name":"b"}}"#,
        );
        is(false, r#"{"kind":"ConfigMap","metadata":{"name":"a"}}"#);
    }

    #[test]
    fn an_object_whose_owner_reference_was_taken_away_is_known_by_its_mark() {
        let owner = |uid: &str, controller: bool| json!({ "apiVersion": "v1", "kind": "R", "name": "r", "uid": uid, "controller": controller });
        let is = |expected: bool, manager: &str, owners: Value| {
            let living = living(manager, owners.clone());
            assert_eq!(belongs(&living, "r"), expected, "{manager} {owners}");
        };
        is(true, OBJECTS, json!([owner("r", true)]));
        is(true, "kubectl-edit", json!([owner("r", true)]));
        is(true, OBJECTS, json!([]));
        is(true, OBJECTS, json!([owner("other", false)]));
        is(false, OBJECTS, json!([owner("other", true)]));
        is(false, "kubectl-edit", json!([]));
        assert!(!belongs(&living(OBJECTS, json!([])), "another"));
    }
}
