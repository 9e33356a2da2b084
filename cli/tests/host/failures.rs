//! What cannot work is said plainly, and the exit code is not 0.

use std::net::TcpListener;

use rustix::process::Signal;

use crate::fixture::{Host, KIND, addresses, is_alive};

#[test]
fn without_an_up_every_command_says_that_nothing_supervises() {
    let host = Host::new();
    let manifest = host.manifest(3);
    let file = manifest.to_str().unwrap();
    for (command, arguments) in [
        ("get", &["pods"][..]),
        ("describe", &[KIND, "fake"]),
        ("apply", &["-f", file]),
        ("scale", &[KIND, "fake", "--members", "5"]),
        ("delete", &[KIND, "fake"]),
        ("logs", &["fake-rcl-0"]),
    ] {
        let said = host.refused(command, arguments);
        assert!(
            said.contains("nothing supervises") && said.contains("quorate up -f"),
            "{command}: {said}"
        );
    }
    // The same where an `up` was and was killed.
    let mut host = Host::new();
    let members = host.start_three();
    host.signal_up(Signal::KILL);
    host.wait_up();
    assert!(
        host.refused("get", &["pods"])
            .contains("nothing supervises")
    );
    assert!(members.iter().all(|(_, pid)| is_alive(*pid)));
}

#[test]
fn a_folder_has_one_up_and_two_folders_never_share_an_address() {
    let mut first = Host::new();
    first.start_three();
    let manifest = first.manifest(3);
    let said = first.refused("up", &["-f", manifest.to_str().unwrap()]);
    assert!(
        said.contains("is in use") && said.contains("--state-dir"),
        "{said}"
    );
    let mut second = Host::new();
    second.start_three();
    assert!(addresses(&first.pods()).is_disjoint(&addresses(&second.pods())));
    assert_eq!(first.wait_running(3).len(), 3);
}

#[test]
fn a_bad_resource_is_refused_before_anything_starts() {
    for (spec, named) in [
        ("members: 4", "members must be 1, 3, 5 or 7"),
        ("membres: 3", "spec.membres: unknown field"),
        ("members: three", "spec.members: "),
        ("limits: {keyBytes: []}", "spec.limits.keyBytes: "),
        ("limits: {maxKeyBytes: 0}", "spec.limits.maxKeyBytes: "),
        ("storage: {size: 1Mi}", "storage.size"),
    ] {
        let host = Host::new();
        let manifest = host.manifest_with(spec);
        let said = host.refused("up", &["-f", manifest.to_str().unwrap()]);
        assert!(said.contains(named), "{spec}: {said}");
        assert_eq!(host.recorded(), []);
    }
    let host = Host::new();
    assert!(
        host.refused("up", &["-f", "/none.yaml"])
            .contains("/none.yaml")
    );
    assert!(host.refused("up", &[]).contains("nothing to run"));
}

#[test]
fn a_missing_binary_is_named() {
    let host = Host::new();
    let manifest = host.manifest(1);
    let file = manifest.to_str().unwrap();
    let said = host.refused("up", &["-f", file, "--image", "x=/none/such"]);
    assert!(said.contains("/none/such"), "{said}");
    // A copy of `quorate` in a folder of its own has no members beside it.
    let alone = host.folder.path().join("quorate");
    std::fs::copy(env!("CARGO_BIN_EXE_quorate"), &alone).unwrap();
    let output = std::process::Command::new(alone)
        .args(["up", "-f", file])
        .env("QUORATE_STATE_DIR", host.state())
        .env("PATH", "/none")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said.contains("no binary for image") && said.contains("--image"),
        "{said}"
    );
}

#[test]
fn a_port_in_use_is_named() {
    let mut host = Host::new();
    let (manifest, image) = (host.manifest(1), host.image("healthy"));
    let arguments = ["-f", manifest.to_str().unwrap(), "--image", &image];
    host.start(&arguments);
    host.wait_running(1);
    let address = addresses(&host.pods()).pop_first().unwrap();
    host.signal_up(Signal::TERM);
    host.wait_up();
    let _taken = TcpListener::bind((address.as_str(), 7071)).unwrap();
    let said = host.refused("up", &arguments);
    assert!(said.contains("7071") && said.contains(&address), "{said}");
}

#[test]
fn one_port_of_three_in_use_is_named() {
    let mut host = Host::new();
    host.start_three();
    let address = addresses(&host.pods()).pop_first().unwrap();
    host.signal_up(Signal::TERM);
    host.wait_up();
    let _taken = TcpListener::bind((address.as_str(), 7071)).unwrap();
    // Where some are Ready it goes on without the one.
    let said = host.refused("up", &["--image", &host.image("unready")]);
    assert!(said.contains("7071") && said.contains(&address), "{said}");
}
