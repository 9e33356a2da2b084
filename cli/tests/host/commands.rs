//! The commands against a running `up`.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use crate::fixture::{Host, KIND};

#[test]
fn get_prints_kubectls_shapes() {
    let mut host = Host::new();
    host.start_three();
    let list = host.json(&["pods"]);
    assert_eq!(
        (list["kind"].as_str(), list["apiVersion"].as_str()),
        (Some("PodList"), Some("v1"))
    );
    assert_eq!(list["items"].as_array().unwrap().len(), 3);
    let pod = host.json(&["pod", "fake-rcl-1"]);
    assert_eq!(
        (pod["kind"].as_str(), pod["apiVersion"].as_str()),
        (Some("Pod"), Some("v1"))
    );
    assert!(pod["status"]["podIP"].as_str().unwrap().starts_with("127."));
    let resource = host.json(&[&format!("{KIND}/fake")]);
    assert_eq!(resource["spec"]["members"], 3);
    // Defaults are filled in, as an API server does.
    assert_eq!(resource["spec"]["storage"]["size"], "10Gi");
    assert!(host.ok("get", &[KIND, "-o", "yaml"]).contains("\nitems:\n"));
    let (narrow, wide) = (
        host.ok("get", &["po"]),
        host.ok("get", &["po", "-o", "wide"]),
    );
    assert!(
        !narrow.contains("PID") && wide.contains("PID") && wide.contains("127."),
        "{wide}"
    );
    assert!(host.refused("get", &["pod", "none"]).contains("not found"));
    assert!(host.refused("get", &["nodes"]).contains("no kind `nodes`"));
    let described = host.ok("describe", &[KIND, "fake"]);
    assert!(
        described.contains("Spec:") && described.contains("fake-rcl-2"),
        "{described}"
    );
}

#[test]
fn apply_says_what_became_of_it_and_refuses_what_must_not_change() {
    let mut host = Host::new();
    host.start_three();
    let manifest = host.manifest(3);
    let file = manifest.to_str().unwrap();
    assert_eq!(
        host.ok("apply", &["-f", file]),
        format!("{KIND}/fake unchanged\n")
    );
    let manifest = host.manifest_with("limits: {maxSessions: 7}");
    assert_eq!(
        host.ok("apply", &["-f", manifest.to_str().unwrap()]),
        format!("{KIND}/fake configured\n  limits.maxSessions 10000 -> 7\n")
    );
    let resource = host.json(&[KIND, "fake"]);
    assert_eq!(
        (
            &resource["spec"]["limits"]["maxSessions"],
            &resource["metadata"]["generation"]
        ),
        (&7.into(), &2.into())
    );
    let manifest = host.manifest_with("storage: {size: 1Gi}");
    let said = host.refused("apply", &["-f", manifest.to_str().unwrap()]);
    assert!(said.contains("storage.size can only grow"), "{said}");
    assert_eq!(host.json(&[KIND, "fake"])["metadata"]["generation"], 2);
}

#[test]
fn scale_writes_the_number_and_nothing_that_is_not_allowed() {
    let mut host = Host::new();
    host.start_three();
    assert_eq!(
        host.ok("scale", &[&format!("{KIND}/fake"), "--members", "5"]),
        format!("{KIND}/fake scaled\n  members 3 -> 5\n")
    );
    assert_eq!(host.json(&[KIND, "fake"])["spec"]["members"], 5);
    let said = host.refused("scale", &[KIND, "fake", "--replicas", "4"]);
    assert!(said.contains("members must be 1, 3, 5 or 7"), "{said}");
    assert!(
        host.refused("scale", &["pod", "fake-rcl-0", "--replicas", "2"])
            .contains("cannot be scaled")
    );
}

#[test]
fn a_file_that_does_not_state_the_members_does_not_own_them() {
    let mut host = Host::new();
    let manifest = host.manifest_with("limits: {maxSessions: 7}");
    let (file, image) = (manifest.to_str().unwrap(), host.image("healthy"));
    host.start(&["-f", file, "--image", &image]);
    host.wait_running(3);
    host.ok("scale", &[&format!("{KIND}/fake"), "--replicas", "5"]);
    assert_eq!(
        host.ok("apply", &["-f", file]),
        format!("{KIND}/fake unchanged\n")
    );
    assert_eq!(host.json(&[KIND, "fake"])["spec"]["members"], 5);
    host.signal_up(rustix::process::Signal::TERM);
    host.wait_up();
    host.start(&["-f", file, "--image", &image]);
    host.wait_running(5);
    assert_eq!(host.json(&[KIND, "fake"])["spec"]["members"], 5);
    // One that states them takes them back, and says so.
    let manifest = host.manifest(3);
    let output = host.run("apply", &["-f", manifest.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("\n  members 5 -> 3\n"), "{said}");
    let warned = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        warned.contains("Warning: members 5 -> 3: 2 members go, their data stays"),
        "{warned}"
    );
    assert_eq!(host.json(&[KIND, "fake"])["spec"]["members"], 3);
}

#[test]
fn a_bad_document_is_named_and_the_others_are_done() {
    let mut host = Host::new();
    let file = host.folder.path().join("many.yaml");
    let map = |name: &str, value: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{a: \"{value}\"}}\n---\n"
        )
    };
    let large = "x".repeat((1 << 20) + 1);
    let resource = std::fs::read_to_string(host.manifest(3)).unwrap();
    let text = map("first", "1") + "kind: [\n---\n" + &map("large", &large) + &resource;
    std::fs::write(&file, text).unwrap();
    let (file, image) = (file.to_str().unwrap().to_owned(), host.image("healthy"));
    host.start(&["-f", &file, "--image", &image]);
    host.wait_running(3);
    let output = host.run("apply", &["-f", &file]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for words in ["no YAML", "data: too long", "2 of 4 were not applied"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let done = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(
        done,
        format!("configmap/first unchanged\n{KIND}/fake unchanged\n")
    );
    let said = host.refused("delete", &["-f", &file]);
    assert!(said.contains("2 of 4 were not deleted"), "{said}");
    let said = host.refused("get", &["configmap", "first"]);
    assert!(said.contains("not found"), "{said}");
    host.signal_up(rustix::process::Signal::TERM);
    assert_eq!(host.wait_up().code(), Some(1));
    assert!(
        host.said()
            .contains("refused: ConfigMap large: data: too long"),
        "{}",
        host.said()
    );
}

#[test]
fn a_start_is_told_in_steps_with_times_and_details_only_to_who_asks() {
    let details = [
        "without effect on this machine",
        "MemberSilent",
        "CachesBehind",
        "refused",
    ];
    for verbose in [false, true] {
        let mut host = Host::new();
        let (manifest, image) = (host.manifest(3), host.image("healthy"));
        let mut arguments = vec!["-f", manifest.to_str().unwrap(), "--image", &image];
        arguments.extend(verbose.then_some("-v"));
        host.start(&arguments);
        host.wait_for("a step of each member", Duration::from_secs(20), |host| {
            let said = host.said();
            let told = |member| said.contains(&format!("s  fake-rcl-{member}: Running"));
            (0..3).all(told).then_some(())
        });
        let said = host.said();
        let found: Vec<_> = details
            .iter()
            .filter(|words| said.contains(**words))
            .collect();
        if verbose {
            assert!(found.contains(&&details[0]), "{said}");
        } else {
            assert_eq!(found, <[&&str; 0]>::default(), "{said}");
        }
    }
}

#[test]
fn a_deleted_resource_takes_its_pods_with_it_and_leaves_the_data() {
    let mut host = Host::new();
    host.start_three();
    host.ok("delete", &[KIND, "fake"]);
    host.wait_for("the end of the pods", Duration::from_secs(10), |host| {
        host.pods().is_empty().then_some(())
    });
    for kind in ["statefulsets", "services", "configmaps"] {
        assert_eq!(
            host.json(&[kind])["items"].as_array().unwrap().len(),
            0,
            "{kind}"
        );
    }
    assert_eq!(host.json(&["pvc"])["items"].as_array().unwrap().len(), 3);
    assert_eq!(host.starts().len(), 3);
    // Whoever wants the name again can give the data up.
    host.ok("delete", &["pvc", "data-fake-rcl-0"]);
    host.wait_for("the claim to go", Duration::from_secs(10), |host| {
        (host.json(&["pvc"])["items"].as_array()?.len() == 2).then_some(())
    });
}

#[test]
fn an_object_that_another_hand_changed_keeps_its_owner_and_is_put_back() {
    let mut host = Host::new();
    host.start_three();
    let before = host.json(&["configmap", "fake-rcl-config"]);
    let file = host.folder.path().join("changed.yaml");
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: fake-rcl-config}\ndata: {a: b}\n";
    std::fs::write(&file, text).unwrap();
    host.ok("apply", &["-f", file.to_str().unwrap()]);
    host.wait_for("the content of before", Duration::from_secs(10), |host| {
        let now = host.json(&["configmap", "fake-rcl-config"]);
        assert_eq!(
            now["metadata"]["ownerReferences"],
            before["metadata"]["ownerReferences"]
        );
        (now["data"] == before["data"]).then_some(())
    });
}

#[test]
fn what_belongs_to_another_is_said_in_the_status() {
    let mut host = Host::new();
    let file = host.folder.path().join("foreign.yaml");
    let foreign =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: fake-rcl-config}\ndata: {a: b}\n---\n";
    let resource = std::fs::read_to_string(host.manifest(3)).unwrap();
    std::fs::write(&file, foreign.to_owned() + &resource).unwrap();
    let image = host.image("healthy");
    host.start(&["-f", file.to_str().unwrap(), "--image", &image]);
    host.wait_for("Degraded", Duration::from_secs(10), |host| {
        let output = host.run("get", &[&format!("{KIND}/fake"), "-o", "json"]);
        let resource: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
        let conditions = resource["status"]["conditions"].as_array()?.clone();
        let degraded = conditions.iter().find(|c| c["type"] == "Degraded")?.clone();
        let words = degraded["message"].as_str()?.contains("fake-rcl-config");
        (degraded["status"] == "True" && words).then_some(())
    });
}

#[test]
fn logs_are_followed_through_a_restart() {
    let mut host = Host::new();
    let members = host.start_three();
    let mut following = host
        .command("logs")
        .args(["fake-rcl-0", "-f"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
    assert!(
        lines
            .next()
            .unwrap()
            .unwrap()
            .starts_with("fake-rcl-0 at 127.")
    );
    crate::fixture::signal(members[0].1, rustix::process::Signal::KILL);
    assert!(
        lines
            .next()
            .unwrap()
            .unwrap()
            .starts_with("fake-rcl-0 at 127.")
    );
    following.kill().unwrap();
    following.wait().unwrap();
    assert_eq!(
        host.ok("logs", &["fake-rcl-0", "--tail", "1"])
            .lines()
            .count(),
        1
    );
}
