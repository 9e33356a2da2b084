//! State folders that moved, were copied, or lost a file.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::fixture::{Host, KIND, addresses, is_alive};

fn pids(members: &[(String, i32)]) -> Vec<i32> {
    members.iter().map(|(_, pid)| *pid).collect()
}

#[test]
fn members_of_a_folder_that_moved_are_started_anew_and_write_into_no_other() {
    let mut host = Host::new();
    let before = host.start_three();
    host.signal_up(Signal::KILL);
    host.wait_up();
    let (manifest, image) = (host.manifest(3), host.image("healthy"));
    let (first, second) = (host.state(), host.folder.path().join("second"));
    fs::rename(&first, &second).unwrap();

    // The members still have the old path: nobody else may use it.
    let said = host.refused("up", &["-f", manifest.to_str().unwrap(), "--image", &image]);
    let named = before
        .iter()
        .all(|(_, pid)| said.contains(&pid.to_string()));
    assert!(named && said.contains(second.to_str().unwrap()), "{said}");

    host.use_state("second");
    host.start(&["--image", &image]);
    host.wait_for("their end", Duration::from_secs(10), |_| {
        before.iter().all(|(_, pid)| !is_alive(*pid)).then_some(())
    });
    let after = host.wait_running(3);
    assert!(pids(&after).iter().all(|pid| !pids(&before).contains(pid)));
    assert!(
        host.said().contains("stopped and started anew"),
        "{}",
        host.said()
    );
    host.wait_for(
        "six starts in the new place",
        Duration::from_secs(5),
        |host| (host.starts().len() == 6).then_some(()),
    );
    assert!(host.starts().iter().all(|start| start.starts_with("START")));
    for claim in host.json(&["pvc"])["items"].as_array().unwrap() {
        let folder = claim["metadata"]["annotations"]["quorate.dev/folder"]
            .as_str()
            .unwrap();
        assert!(Path::new(folder).starts_with(&second), "{folder}");
    }

    // The old place is free for another, with addresses of its own.
    let mut other = Host::new();
    other.use_state(first.to_str().unwrap());
    other.start_three();
    assert!(addresses(&host.pods()).is_disjoint(&addresses(&other.pods())));
}

#[test]
fn a_copied_folder_is_refused_with_the_way_out() {
    let mut host = Host::new();
    host.start_three();
    host.signal_up(Signal::TERM);
    host.wait_up();
    let (original, copy) = (host.state(), host.folder.path().join("copy"));
    let copied = Command::new("cp")
        .arg("-a")
        .args([&original, &copy])
        .status()
        .unwrap();
    assert!(copied.success());
    let image = host.image("healthy");
    host.use_state("copy");
    let said = host.refused("up", &["--image", &image]);
    assert!(
        said.contains(&format!("is a copy of {}", original.display())),
        "{said}"
    );
    assert_eq!(host.starts().len(), 3);
    // Told to take the place of one that is gone, while that one has its addresses.
    fs::remove_file(copy.join("folder.json")).unwrap();
    host.start(&["--image", &image]);
    host.wait_running(3);
    let kept: Vec<Value> = fs::read_dir(original.join("objects/pods/default"))
        .unwrap()
        .map(|file| serde_json::from_slice(&fs::read(file.unwrap().path()).unwrap()).unwrap())
        .collect();
    assert!(addresses(&host.pods()).is_disjoint(&addresses(&kept)));
}

#[test]
fn a_folder_of_which_any_file_is_torn_runs_and_says_what_is_lost() {
    let mut host = Host::new();
    let before = host.start_three();
    let uid = |host: &Host| host.json(&[KIND, "fake"])["metadata"]["uid"].clone();
    let identity = uid(&host);
    host.signal_up(Signal::KILL);
    host.wait_up();
    let image = host.image("healthy");
    let manifest = host.manifest(3);
    let mut torn = Vec::new();
    for (sort, name) in [
        ("pods", "fake-rcl-0"),
        ("statefulsets", "fake-rcl"),
        ("services", "fake-rcl-peers"),
        ("raftclusters", "fake"),
    ] {
        let folder = host.state().join("objects").join(sort).join("default");
        let file = folder.join(format!("{name}.json"));
        let file = if file.exists() {
            file
        } else {
            fs::read_dir(&folder)
                .unwrap()
                .next()
                .unwrap()
                .unwrap()
                .path()
        };
        fs::write(&file, "").unwrap();
        torn.push((sort, file));
    }
    fs::write(host.state().join("subnet"), "").unwrap();
    // An `up` of another file runs; only the resource waits, and its members run on.
    let other = host.folder.path().join("map.yaml");
    fs::write(&other, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: b}\n---\napiVersion: quorate.dev/v1alpha1\nkind: RaftCluster\nmetadata: {name: other}\nspec: {members: 1}\n").unwrap();
    host.start(&["-f", other.to_str().unwrap(), "--image", &image]);
    host.wait_for("words of each", Duration::from_secs(10), |host| {
        let said = host.said();
        torn.iter()
            .all(|(sort, _)| said.contains(&format!("{sort} default/")))
            .then_some(())
    });
    host.wait_for("the other", Duration::from_secs(20), |host| {
        host.pods()
            .iter()
            .any(|pod| pod["metadata"]["name"] == "other-rcl-0")
            .then_some(())
    });
    assert!(before[1..].iter().all(|(_, pid)| is_alive(*pid)));
    let applied = host.ok("apply", &["-f", manifest.to_str().unwrap()]);
    assert_eq!(applied, format!("{KIND}/fake created\n"));
    assert_eq!(uid(&host), identity);
    host.wait_running(4);
    assert!(host.starts().iter().all(|start| start.starts_with("START")));
}
