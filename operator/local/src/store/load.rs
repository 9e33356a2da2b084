//! What an earlier `up` kept, read back file by file: one that is torn costs its own object at most.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{CLAIMS, ObjectKey, is_transient, version_of};
use crate::resources::{ResourceType, Writers, resource_type_of, resource_types};
use crate::state_dir::{StateDirError, io_error};

/// What is put after the name of a file that is set aside.
const SET_ASIDE: &str = ".damaged";

/// What the files hold.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub objects: BTreeMap<ObjectKey, Value>,
    /// The highest of all.
    pub version: u64,
    /// Objects that were there and whose file is damaged.
    pub lost: BTreeSet<ObjectKey>,
    /// What people should hear.
    pub words: Vec<String>,
}

/// Where a damaged file of this name goes.
pub(super) fn set_aside(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(SET_ASIDE);
    name.into()
}

/// Reads everything below the folder.
pub(super) fn load(folder: &Path) -> Result<Loaded, StateDirError> {
    let mut loaded = Loaded::default();
    for sorts in entries(folder)? {
        let plural = name_of(&sorts);
        match resource_types()
            .iter()
            .find(|resource| resource.plural == plural)
        {
            Some(resource) if sorts.is_dir() => {
                for namespace in entries(&sorts)? {
                    if !namespace.is_dir() {
                        loaded.foreign(&namespace);
                        continue;
                    }
                    for file in entries(&namespace)? {
                        loaded.take(resource, &name_of(&namespace), &file)?;
                    }
                }
            }
            _ => loaded.foreign(&sorts),
        }
    }
    Ok(loaded)
}

impl Loaded {
    fn foreign(&mut self, path: &Path) {
        self.words.push(format!(
            "{}: nothing that this `quorate` knows; left alone",
            path.display()
        ));
    }

    fn take(
        &mut self,
        resource: &ResourceType,
        namespace: &str,
        file: &Path,
    ) -> Result<(), StateDirError> {
        let name = name_of(file);
        if let Some(object) = name.strip_suffix(&format!(".json{SET_ASIDE}")) {
            if !file.with_extension("").exists() {
                self.lose(
                    resource,
                    ObjectKey::new(&resource.plural, namespace, object),
                    file,
                    "damaged before",
                );
            }
            return Ok(());
        }
        if name.ends_with(".json.new") {
            // A write that its `up` did not live to finish: what it replaces is there.
            return fs::remove_file(file).map_err(io_error("cannot remove", file));
        }
        let Some(object) = name.strip_suffix(".json").filter(|_| file.is_file()) else {
            self.foreign(file);
            return Ok(());
        };
        let key = ObjectKey::new(&resource.plural, namespace, object);
        match read(file, &key) {
            Ok(found)
                if resource_type_of(&found).is_some_and(|sort| sort.plural == resource.plural)
                    && ObjectKey::of(&resource.plural, &found).is_ok_and(|found| found == key) =>
            {
                self.version = self.version.max(version_of(&found));
                self.objects.insert(key, found);
            }
            Ok(_) => {
                // Perhaps a later version's: what belongs to it must not look like what nobody owns.
                self.foreign(file);
                self.lost.insert(key);
            }
            Err(error) if is_transient(&key.plural) => {
                self.words
                    .push(format!("{key}: its file is damaged ({error}): made again"));
                fs::remove_file(file).map_err(io_error("cannot remove", file))?;
            }
            Err(error) => {
                let aside = set_aside(file);
                fs::rename(file, &aside).map_err(io_error("cannot set aside", file))?;
                self.lose(resource, key, &aside, &error);
            }
        }
        Ok(())
    }

    fn lose(&mut self, resource: &ResourceType, key: ObjectKey, aside: &Path, error: &str) {
        let next = if key.plural == CLAIMS {
            "its member waits; its data is not touched: put the file back from a copy, or remove it, and the claim is made anew"
        } else if resource.writers == Writers::People {
            "it waits, and what it owns runs on: apply it again, and it goes on with its identity and its data"
        } else {
            "it is made again"
        };
        self.words.push(format!(
            "{key}: its file is damaged ({error}) and set aside as {}; {next}",
            aside.display()
        ));
        self.lost.insert(key);
    }
}

fn read(file: &Path, key: &ObjectKey) -> Result<Value, String> {
    let text = fs::read(file).map_err(|error| error.to_string())?;
    let object: Value = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    match object["metadata"]["uid"].as_str() {
        Some(_) => Ok(object),
        None => Err(format!("it holds no {}", key.plural)),
    }
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// The paths in a folder, in their order; none where there is no folder.
pub(crate) fn entries(folder: &Path) -> Result<Vec<PathBuf>, StateDirError> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(io_error("cannot read", folder)(error)),
        Ok(entries) => {
            let mut paths: Vec<PathBuf> = entries
                .filter_map(|entry| Some(entry.ok()?.path()))
                .collect();
            paths.sort();
            Ok(paths)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Store, StoreError};
    use super::*;

    fn owner(of: &Value) -> Value {
        json!([{ "apiVersion": of["apiVersion"], "kind": of["kind"], "name": of["metadata"]["name"], "uid": of["metadata"]["uid"] }])
    }

    /// A resource, a set of it, and what the set owns.
    fn filled(folder: &Path) -> Vec<(ObjectKey, Value)> {
        let store = Store::open(folder).unwrap();
        let resource = json!({ "apiVersion": "quorate.dev/v1alpha1", "kind": "RaftCluster", "metadata": { "name": "a" }, "spec": {} });
        let resource = store.create("raftclusters", resource).unwrap();
        let set = json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": { "name": "a", "ownerReferences": owner(&resource) } });
        let set = store.create("statefulsets", set).unwrap();
        let mut made = vec![
            (
                ObjectKey::new("raftclusters", "default", "a"),
                resource.clone(),
            ),
            (ObjectKey::new("statefulsets", "default", "a"), set.clone()),
        ];
        for (plural, kind, of) in [
            ("pods", "Pod", &set),
            ("persistentvolumeclaims", "PersistentVolumeClaim", &resource),
            ("events", "Event", &resource),
            ("secrets", "Secret", &resource),
        ] {
            let object = json!({ "apiVersion": "v1", "kind": kind, "metadata": { "name": "a-0", "ownerReferences": owner(of) } });
            let object = store.create(plural, object).unwrap();
            made.push((ObjectKey::new(plural, "default", "a-0"), object));
        }
        made
    }

    #[test]
    fn any_torn_file_costs_its_own_object_at_most_and_is_said_by_name() {
        for torn in ["", "{", "null", "{}"] {
            let temp = tempfile::tempdir().unwrap();
            for (key, _) in filled(temp.path()) {
                let temp = tempfile::tempdir().unwrap();
                let others = filled(temp.path());
                fs::write(Store::open(temp.path()).unwrap().file(&key), torn).unwrap();
                for _ in 0..2 {
                    let store = Store::open(temp.path()).unwrap();
                    let here: Vec<_> = others
                        .iter()
                        .filter(|(key, _)| store.get(key).is_some())
                        .map(|(key, _)| key)
                        .collect();
                    assert_eq!(here.len(), others.len() - 1, "{key} {torn:?}: {here:?}");
                    // What belongs to the lost one is not taken for what nobody owns.
                    assert_eq!(store.orphans(), [], "{key} {torn:?}");
                    let transient = is_transient(&key.plural);
                    let said = store
                        .words()
                        .iter()
                        .any(|words| words.contains(&key.to_string()));
                    assert!(said || transient, "{key}: {:?}", store.words());
                }
            }
        }
    }

    #[test]
    fn what_is_made_again_is_who_it_was() {
        for lost in ["raftclusters", "statefulsets"] {
            let temp = tempfile::tempdir().unwrap();
            let made = filled(temp.path());
            let (key, before) = made.iter().find(|(key, _)| key.plural == lost).unwrap();
            fs::write(Store::open(temp.path()).unwrap().file(key), "").unwrap();
            let store = Store::open(temp.path()).unwrap();
            let mut again = before.clone();
            for field in ["uid", "resourceVersion"] {
                again["metadata"].as_object_mut().unwrap().remove(field);
            }
            let after = store.create(lost, again).unwrap();
            assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
            let store = Store::open(temp.path()).unwrap();
            assert_eq!(store.words(), <[String; 0]>::default());
            assert_eq!(store.orphans(), []);
        }
    }

    #[test]
    fn a_claim_is_not_made_anew_over_its_data() {
        let temp = tempfile::tempdir().unwrap();
        let made = filled(temp.path());
        let (key, claim) = made.iter().find(|(key, _)| key.plural == CLAIMS).unwrap();
        let file = Store::open(temp.path()).unwrap().file(key);
        fs::write(&file, "").unwrap();
        let refused = Store::open(temp.path())
            .unwrap()
            .create(CLAIMS, claim.clone());
        assert!(
            matches!(refused, Err(StoreError::SetAside { .. })),
            "{refused:?}"
        );
        fs::remove_file(set_aside(&file)).unwrap();
        let store = Store::open(temp.path()).unwrap();
        assert!(store.create(CLAIMS, claim.clone()).is_ok());
    }

    #[test]
    fn foreign_files_and_sorts_are_named_and_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        filled(temp.path());
        let foreign = [
            "mangoes/default/a.json",
            "secrets/default/notes.txt",
            "secrets/README",
        ];
        for path in foreign {
            let path = temp.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "mine").unwrap();
        }
        let half = temp.path().join("secrets/default/a-0.json.new");
        fs::write(&half, "{").unwrap();
        let store = Store::open(temp.path()).unwrap();
        assert_eq!(store.words().len(), foreign.len(), "{:?}", store.words());
        assert!(store.words().iter().any(|words| words.contains("mangoes")));
        assert!(
            foreign
                .iter()
                .all(|path| fs::read_to_string(temp.path().join(path)).unwrap() == "mine")
        );
        assert!(!half.exists());
        // Nor does what a later version's object owns belong to nobody.
        let owner =
            json!([{ "apiVersion": "quorate.dev/v9", "kind": "Mango", "name": "a", "uid": "u" }]);
        let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "b-0", "ownerReferences": owner } });
        store.create("pods", pod).unwrap();
        assert_eq!(store.orphans(), []);
    }
}
