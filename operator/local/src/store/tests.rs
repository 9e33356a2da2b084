use super::*;

fn config_map(name: &str, data: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "a": data } })
}

fn store() -> (tempfile::TempDir, Store) {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(temp.path()).unwrap();
    (temp, store)
}

#[test]
fn generation_counts_changes_of_content_and_version_every_change() {
    let (_temp, store) = store();
    let first = store.create("configmaps", config_map("a", "1")).unwrap();
    assert!(matches!(
        store.create("configmaps", config_map("a", "1")),
        Err(StoreError::Exists(_))
    ));
    let mut labelled = config_map("a", "1");
    labelled["metadata"]["labels"] = json!({ "x": "y" });
    let second = store.replace("configmaps", labelled).unwrap();
    let third = store.replace("configmaps", config_map("a", "2")).unwrap();
    let generations: Vec<_> = [&first, &second, &third]
        .iter()
        .map(|o| o["metadata"]["generation"].as_i64().unwrap())
        .collect();
    assert_eq!(generations, [1, 1, 2]);
    assert!(version_of(&first) < version_of(&second) && version_of(&second) < version_of(&third));
    assert_eq!(first["metadata"]["uid"], third["metadata"]["uid"]);
    let unchanged = store.replace("configmaps", config_map("a", "2")).unwrap();
    assert_eq!(unchanged, third);
}

#[test]
fn preconditions_hold_or_nothing_happens() {
    let (_temp, store) = store();
    let first = store.create("configmaps", config_map("a", "1")).unwrap();
    store.replace("configmaps", config_map("a", "2")).unwrap();
    let mut stale = first.clone();
    stale["data"]["a"] = json!("3");
    assert!(matches!(
        store.replace("configmaps", stale),
        Err(StoreError::Conflict(_))
    ));
    let key = ObjectKey::new("configmaps", "default", "a");
    assert!(matches!(
        store.delete(&key, Some("another")),
        Err(StoreError::Conflict(_))
    ));
    assert_eq!(store.get(&key).unwrap()["data"]["a"], "2");
    store
        .delete(&key, first["metadata"]["uid"].as_str())
        .unwrap();
    assert!(matches!(
        store.delete(&key, None),
        Err(StoreError::NotFound(_))
    ));
}

#[test]
fn the_next_up_finds_the_same_objects() {
    let (temp, store) = store();
    store.create("configmaps", config_map("a", "1")).unwrap();
    let key = ObjectKey::new("configmaps", "default", "a");
    let edited = store
        .edit(&key, None, None, |object| {
            object["status"] = json!({ "x": 1 })
        })
        .unwrap();
    drop(store);
    let store = Store::open(temp.path()).unwrap();
    assert_eq!(
        store.list("configmaps", None),
        std::slice::from_ref(&edited)
    );
    assert!(store.version() >= version_of(&edited));
    // A new version is new even if the clock was set back.
    let again = store.replace("configmaps", config_map("a", "2")).unwrap();
    assert_eq!(again["status"], edited["status"]);
    assert!(version_of(&again) > version_of(&edited));
}

#[test]
fn a_pod_stays_until_its_process_has_ended_and_orphans_are_named() {
    let (_temp, store) = store();
    let owner = store.create("configmaps", config_map("a", "1")).unwrap();
    let mut pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p" } });
    pod["metadata"]["ownerReferences"] = json!([{ "apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": owner["metadata"]["uid"] }]);
    store.create("pods", pod).unwrap();
    let key = ObjectKey::new("pods", "default", "p");
    assert!(store.orphans().is_empty());
    store
        .remove(&ObjectKey::new("configmaps", "default", "a"), None)
        .unwrap();
    assert_eq!(store.orphans()[0].0, key);
    store.delete(&key, None).unwrap();
    assert!(store.get(&key).unwrap()["metadata"]["deletionTimestamp"].is_string());
    store.remove(&key, None).unwrap();
    assert!(store.get(&key).is_none());
}

#[test]
fn what_cannot_be_kept_is_refused_and_pods_are_shown_all_the_same() {
    let (temp, store) = store();
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p" } });
    store.create("pods", pod).unwrap();
    store.create("configmaps", config_map("a", "1")).unwrap();
    assert_eq!(store.trouble(), None);
    // Files where folders should be: nothing can be written, whoever tries.
    for folder in ["pods", "configmaps"] {
        fs::remove_dir_all(temp.path().join(folder)).unwrap();
        fs::write(temp.path().join(folder), "").unwrap();
    }
    let key = ObjectKey::new("pods", "default", "p");
    let ready = |pod: &mut Value| pod["status"] = json!({ "ready": true });
    store.edit(&key, None, None, ready).unwrap();
    assert_eq!(store.get(&key).unwrap()["status"]["ready"], true);
    assert!(store.trouble().unwrap().contains("has space"));
    assert!(matches!(
        store.replace("configmaps", config_map("a", "2")),
        Err(StoreError::State(_))
    ));
    let key = ObjectKey::new("configmaps", "default", "a");
    assert_eq!(store.get(&key).unwrap()["data"]["a"], "1");
    fs::remove_file(temp.path().join("configmaps")).unwrap();
    store.replace("configmaps", config_map("a", "2")).unwrap();
    assert_eq!(store.trouble(), None);
}

#[test]
fn names_stay_in_their_folder() {
    let (_temp, store) = store();
    for bad in ["", "../a", "A", "a/b", ".", "-a", "a-"] {
        assert!(
            matches!(
                store.create("configmaps", config_map(bad, "1")),
                Err(StoreError::Invalid(_))
            ),
            "{bad}"
        );
    }
}
