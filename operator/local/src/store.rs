//! The objects, as an API server keeps them: uid, resourceVersion, generation, preconditions, owners. In memory for
//! reading, in one JSON file each for the next `up`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use crate::resources::resource_type_of;
use crate::state_dir::{Durability, StateDirError, io_error, make_dir, replace_json, sync_dir};

pub(crate) use load::entries;

/// The sort whose objects stand for data.
const CLAIMS: &str = "persistentvolumeclaims";

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Its sort, as `pods`.
    pub plural: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ObjectKey {
    /// The key of these parts.
    pub fn new(plural: &str, namespace: &str, name: &str) -> Self {
        Self {
            plural: plural.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    /// The key of an object of this sort, by its metadata.
    pub(crate) fn of(plural: &str, object: &Value) -> Result<Self, StoreError> {
        let metadata = &object["metadata"];
        let name = metadata["name"].as_str().unwrap_or_default();
        let namespace = metadata["namespace"].as_str().unwrap_or("default");
        for (field, label) in [("metadata.name", name), ("metadata.namespace", namespace)] {
            if !is_dns_name(label) {
                return Err(StoreError::Invalid(format!(
                    "{field}: `{label}` is not a DNS name: lower-case letters, digits, `-` and `.`, at most 253"
                )));
            }
        }
        Ok(Self::new(plural, namespace, name))
    }
}

/// Also what keeps names from leaving their folder.
fn is_dns_name(name: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    name.len() <= 253
        && edge(name.chars().next())
        && edge(name.chars().last())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.')
}

impl std::fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}/{}", self.plural, self.namespace, self.name)
    }
}

/// Why an object was not written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is none.
    #[error("{0} not found")]
    NotFound(ObjectKey),
    /// There is one already.
    #[error("{0} already exists")]
    Exists(ObjectKey),
    /// It is not the one, or not the version, that was meant.
    #[error("{0} changed meanwhile; read it again and repeat the change on what it is now")]
    Conflict(ObjectKey),
    /// It cannot be an object.
    #[error("{0}")]
    Invalid(String),
    /// Its file is damaged, and what it stood for may still be there.
    #[error("{key} is not made anew: its file is damaged and lies in {}; put it back from a copy, or remove it", file.display())]
    SetAside {
        /// The object.
        key: ObjectKey,
        /// The damaged file.
        file: PathBuf,
    },
    /// It could not be kept.
    #[error(transparent)]
    State(#[from] StateDirError),
}

/// The objects of one state folder.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    words: Vec<String>,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<ObjectKey, Value>,
    version: u64,
    /// Objects that were there and whose file is damaged: they have their identity in what they own.
    lost: BTreeSet<ObjectKey>,
    trouble: Option<String>,
}

impl Store {
    /// Reads what an earlier `up` kept. What a damaged file held is lost, and [`Store::words`] says so.
    ///
    /// # Errors
    /// When the folder itself cannot be used.
    pub fn open(folder: &Path) -> Result<Self, StateDirError> {
        make_dir(folder)?;
        let loaded = load::load(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            words: loaded.words,
            state: Mutex::new(State {
                objects: loaded.objects,
                version: loaded.version,
                lost: loaded.lost,
                trouble: None,
            }),
            changed: watch::Sender::new(0),
        })
    }

    /// What people should hear of what was found on disk.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// Something to wait on for the next change of anything.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// One object.
    pub fn get(&self, key: &ObjectKey) -> Option<Value> {
        self.lock().objects.get(key).cloned()
    }

    /// One object in its own type; none also when it does not parse, which only a foreign hand could bring about.
    pub fn get_as<T: DeserializeOwned>(
        &self,
        plural: &str,
        namespace: &str,
        name: &str,
    ) -> Option<T> {
        serde_json::from_value(self.get(&ObjectKey::new(plural, namespace, name))?).ok()
    }

    /// All objects of a sort, by namespace and name.
    pub fn list(&self, plural: &str, namespace: Option<&str>) -> Vec<Value> {
        let state = self.lock();
        let of_sort = state
            .objects
            .range(ObjectKey::new(plural, "", "")..)
            .take_while(|(key, _)| key.plural == plural);
        let wanted =
            of_sort.filter(|(key, _)| namespace.is_none_or(|namespace| key.namespace == namespace));
        wanted.map(|(_, object)| object.clone()).collect()
    }

    /// [`Store::list`] in their own type.
    pub fn list_as<T: DeserializeOwned>(&self, plural: &str, namespace: Option<&str>) -> Vec<T> {
        self.list(plural, namespace)
            .into_iter()
            .filter_map(|object| serde_json::from_value(object).ok())
            .collect()
    }

    /// The version of the whole, as a list carries it.
    pub fn version(&self) -> u64 {
        self.lock().version
    }

    /// Why the latest change could not be kept on disk, if that is so: what is shown may be old then.
    pub fn trouble(&self) -> Option<String> {
        self.lock().trouble.clone()
    }

    /// Adds an object, with identity and version.
    pub fn create(&self, plural: &str, mut object: Value) -> Result<Value, StoreError> {
        let key = ObjectKey::of(plural, &object)?;
        let mut state = self.lock();
        if state.objects.contains_key(&key) {
            return Err(StoreError::Exists(key));
        }
        let lost = state.lost.contains(&key);
        if lost && plural == CLAIMS {
            let file = load::set_aside(&self.file(&key));
            return Err(StoreError::SetAside { key, file });
        }
        let uid = match lost.then(|| state.uid_of_lost(&key)).flatten() {
            Some(uid) => uid,
            None => new_uid()?,
        };
        let metadata = metadata_mut(&mut object)?;
        metadata.insert("namespace".into(), json!(key.namespace));
        metadata.insert("uid".into(), json!(uid));
        metadata.insert("creationTimestamp".into(), json!(now()));
        metadata.insert("generation".into(), json!(1));
        self.keep(&mut state, key, object)
    }

    /// Replaces everything of an object but its identity and status. A `uid` or `resourceVersion` in the new metadata
    /// must be that of the old.
    pub fn replace(&self, plural: &str, mut object: Value) -> Result<Value, StoreError> {
        let key = ObjectKey::of(plural, &object)?;
        let mut state = self.lock();
        let old = state
            .objects
            .get(&key)
            .ok_or_else(|| StoreError::NotFound(key.clone()))?;
        precondition(
            &key,
            old,
            object["metadata"]["uid"].as_str(),
            object["metadata"]["resourceVersion"].as_str(),
        )?;
        let same_spec =
            without(old, &["metadata", "status"]) == without(&object, &["metadata", "status"]);
        let generation =
            old["metadata"]["generation"].as_i64().unwrap_or(1) + i64::from(!same_spec);
        let fixed = [
            "uid",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "resourceVersion",
        ];
        let kept: Vec<_> = fixed
            .iter()
            .map(|field| (*field, old["metadata"][field].clone()))
            .collect();
        let status = old.get("status").cloned();
        let metadata = metadata_mut(&mut object)?;
        metadata.insert("namespace".into(), json!(key.namespace));
        metadata.insert("generation".into(), json!(generation));
        for (field, value) in kept {
            if value.is_null() {
                metadata.remove(field)
            } else {
                metadata.insert(field.into(), value)
            };
        }
        match (status, object.as_object_mut()) {
            (Some(status), Some(fields)) => drop(fields.insert("status".into(), status)),
            (None, Some(fields)) => drop(fields.remove("status")),
            (_, None) => {}
        }
        self.keep(&mut state, key, object)
    }

    /// Changes an object in place, status and metadata included; its identity cannot be changed. `uid` and
    /// `resource_version` are preconditions.
    pub fn edit(
        &self,
        key: &ObjectKey,
        uid: Option<&str>,
        resource_version: Option<&str>,
        change: impl FnOnce(&mut Value),
    ) -> Result<Value, StoreError> {
        let mut state = self.lock();
        let old = state
            .objects
            .get(key)
            .ok_or_else(|| StoreError::NotFound(key.clone()))?;
        precondition(key, old, uid, resource_version)?;
        let mut object = old.clone();
        change(&mut object);
        self.keep(&mut state, key.clone(), object)
    }

    /// Says that an object shall go: a pod when its process has ended, a claim when no pod uses it, everything else
    /// at once.
    pub fn delete(&self, key: &ObjectKey, uid: Option<&str>) -> Result<(), StoreError> {
        if !matches!(key.plural.as_str(), "pods" | "persistentvolumeclaims") {
            return self.remove(key, uid);
        }
        self.edit(key, uid, None, |pod| {
            if pod["metadata"]["deletionTimestamp"].is_null() {
                pod["metadata"]["deletionTimestamp"] = json!(now());
            }
        })?;
        Ok(())
    }

    /// Takes an object out.
    pub fn remove(&self, key: &ObjectKey, uid: Option<&str>) -> Result<(), StoreError> {
        let mut state = self.lock();
        let old = state
            .objects
            .get(key)
            .ok_or_else(|| StoreError::NotFound(key.clone()))?;
        precondition(key, old, uid, None)?;
        let file = self.file(key);
        match fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(io_error("cannot remove", &file)(error).into());
            }
            _ => {}
        }
        if let Some(folder) = file.parent().filter(|_| !is_transient(&key.plural)) {
            sync_dir(folder).map_err(io_error("cannot sync", folder))?;
        }
        state.objects.remove(key);
        state.version = next_version(state.version);
        self.changed.send_modify(|count| *count += 1);
        Ok(())
    }

    /// The objects all of whose owners are gone. An owner whose file is damaged is not gone, nor is one of a kind that
    /// is not known here.
    pub fn orphans(&self) -> Vec<(ObjectKey, String)> {
        let state = self.lock();
        let alive: BTreeSet<&str> = state
            .objects
            .values()
            .filter_map(|object| object["metadata"]["uid"].as_str())
            .collect();
        let gone = |namespace: &str, owner: &Value| {
            let known = owner["uid"].as_str().is_some_and(|uid| alive.contains(uid));
            let lost = resource_type_of(owner).is_none_or(|sort| {
                let name = owner["name"].as_str().unwrap_or_default();
                let key = ObjectKey::new(&sort.plural, namespace, name);
                state.lost.contains(&key)
            });
            !known && !lost
        };
        let orphaned = |key: &ObjectKey, object: &Value| {
            let owners = object["metadata"]["ownerReferences"]
                .as_array()
                .map_or(&[][..], Vec::as_slice);
            !owners.is_empty() && owners.iter().all(|owner| gone(&key.namespace, owner))
        };
        let uid = |object: &Value| {
            object["metadata"]["uid"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        state
            .objects
            .iter()
            .filter(|(key, object)| orphaned(key, object))
            .map(|(key, object)| (key.clone(), uid(object)))
            .collect()
    }

    fn keep(
        &self,
        state: &mut State,
        key: ObjectKey,
        mut object: Value,
    ) -> Result<Value, StoreError> {
        if state.objects.get(&key) == Some(&object) {
            return Ok(object);
        }
        let version = next_version(state.version);
        metadata_mut(&mut object)?.insert("resourceVersion".into(), json!(version.to_string()));
        // All but the transient must outlive a crash of the machine.
        let transient = is_transient(&key.plural);
        let durability = if transient {
            Durability::Process
        } else {
            Durability::Machine
        };
        let kept = replace_json(&self.file(&key), &object, durability);
        state.trouble = kept.as_ref().err().map(ToString::to_string);
        // On a full disk, too, people are shown the processes as they are.
        if !transient {
            kept?;
        }
        state.version = version;
        if state.lost.remove(&key) {
            // It only says what is true no more.
            let _ = fs::remove_file(load::set_aside(&self.file(&key)));
        }
        state.objects.insert(key, object.clone());
        self.changed.send_modify(|count| *count += 1);
        Ok(object)
    }

    fn file(&self, key: &ObjectKey) -> PathBuf {
        self.folder
            .join(&key.plural)
            .join(&key.namespace)
            .join(format!("{}.json", key.name))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is made of whole steps; a panic in between leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The identity of an object whose file is damaged, as those that it owns name it.
    fn uid_of_lost(&self, lost: &ObjectKey) -> Option<String> {
        let beside = self
            .objects
            .iter()
            .filter(|(key, _)| key.namespace == lost.namespace);
        let mut owners = beside
            .filter_map(|(_, object)| object["metadata"]["ownerReferences"].as_array())
            .flatten();
        let owner = owners.find(|owner| {
            owner["name"] == lost.name.as_str()
                && resource_type_of(owner).is_some_and(|sort| sort.plural == lost.plural)
        })?;
        Some(owner["uid"].as_str()?.to_owned())
    }
}

/// A pod is remade from its StatefulSet and its process, and events only tell.
fn is_transient(plural: &str) -> bool {
    matches!(plural, "pods" | "events")
}

fn precondition(
    key: &ObjectKey,
    old: &Value,
    uid: Option<&str>,
    version: Option<&str>,
) -> Result<(), StoreError> {
    let holds = |field: &str, wanted: Option<&str>| {
        wanted.is_none_or(|wanted| old["metadata"][field].as_str() == Some(wanted))
    };
    if holds("uid", uid) && holds("resourceVersion", version) {
        Ok(())
    } else {
        Err(StoreError::Conflict(key.clone()))
    }
}

fn metadata_mut(object: &mut Value) -> Result<&mut Map<String, Value>, StoreError> {
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
    metadata.ok_or_else(|| StoreError::Invalid("metadata must be an object with a name".into()))
}

fn without(object: &Value, fields: &[&str]) -> Value {
    let mut object = object.clone();
    if let Some(map) = object.as_object_mut() {
        map.retain(|name, _| !fields.contains(&name.as_str()));
    }
    object
}

fn version_of(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"]
        .as_str()
        .and_then(|version| version.parse().ok())
        .unwrap_or(0)
}

/// Grows by the clock, so that versions of objects that are gone do not come again after a restart.
fn next_version(last: u64) -> u64 {
    u64::try_from(Timestamp::now().as_microsecond())
        .unwrap_or(0)
        .max(last + 1)
}

/// The time as objects carry it: RFC 3339, whole seconds.
pub(crate) fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn new_uid() -> Result<String, StateDirError> {
    let source = Path::new("/proc/sys/kernel/random/uuid");
    Ok(fs::read_to_string(source)
        .map_err(io_error("cannot read", source))?
        .trim()
        .to_owned())
}

mod load;
#[cfg(test)]
mod tests;
