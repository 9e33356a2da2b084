//! What keeps a member from starting, and what it says then.

use std::net::TcpListener;

use crate::cluster::{Cluster, Member, binary};

/// Runs a member that must not start; its exit code and what it says.
async fn refused(member: &mut Member) -> (Option<i32>, String) {
    std::fs::remove_file(&member.log).ok();
    member.start();
    let ended = member.end().await;
    (ended.code(), member.logged())
}

#[test]
fn version_and_help_and_configuration_are_printed() {
    let run = |flags: &[&str]| {
        let output = binary().args(flags).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(
        run(&["--version"]),
        format!("quorate-raft-cluster {}\n", quorate_raft_cluster::VERSION)
    );
    assert!(run(&["--help"]).contains("--max-value-bytes"));
    let needed = [
        "--cluster=c",
        "--name=n",
        "--data-dir=/d",
        "--bind-address=127.0.0.1",
        "--peer-address=n.p:7071",
        "--print-config",
    ];
    let printed = run(&needed);
    for line in [
        "clientPort: 7070",
        "maxValueBytes: 1048576",
        "logFormat: human",
        "logFilter: info",
    ] {
        assert!(printed.contains(line), "{line} is not in\n{printed}");
    }
}

#[test]
fn all_wrong_settings_are_told_at_once() {
    let output = binary()
        .args(["--client-port=no", "--colour"])
        .env("QUORATE_BIND_ADDRESS", "here")
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{told}");
    for words in [
        "--client-port (QUORATE_CLIENT_PORT, file key clientPort)",
        "'--colour'",
        "--bind-address",
        "--cluster",
        "--data-dir",
        "--peer-address",
    ] {
        assert!(told.contains(words), "{words} is not in\n{told}");
    }
}

#[tokio::test]
async fn a_port_in_use() {
    let mut cluster = Cluster::prepare(1, &[]);
    let member = &mut cluster.members[0];
    let _taken = TcpListener::bind(member.at(7072)).unwrap();
    let (code, told) = refused(member).await;
    assert_eq!(code, Some(78), "{told}");
    assert!(
        told.contains("the admin listener")
            && told.contains("the port is in use")
            && told.contains("--admin-port"),
        "{told}"
    );
}

#[tokio::test]
async fn an_address_of_another_machine() {
    let mut cluster = Cluster::prepare(1, &[]);
    let member = &mut cluster.members[0];
    member
        .flags
        .retain(|flag| !flag.starts_with("--bind-address"));
    member.flags.push("--bind-address=192.0.2.1".into());
    let (code, told) = refused(member).await;
    assert!(
        code == Some(78)
            && told.contains("no address of this machine")
            && told.contains("--bind-address"),
        "{told}"
    );
}

#[tokio::test]
async fn a_folder_of_another_cluster_or_process() {
    let mut cluster = Cluster::start(2, &[]).await;
    let first = cluster.members[0].dir.display().to_string();
    let second = &mut cluster.members[1];
    second.stop(rustix::process::Signal::TERM).await;
    second.flags.retain(|flag| !flag.starts_with("--data-dir"));
    second.flags.push(format!("--data-dir={first}"));
    let (code, told) = refused(second).await;
    assert!(
        code == Some(78) && told.contains("another process uses"),
        "{told}"
    );

    cluster.members[0].stop(rustix::process::Signal::TERM).await;
    let second = &mut cluster.members[1];
    second.flags.retain(|flag| !flag.starts_with("--cluster"));
    second.flags.push("--cluster=c-2".into());
    let (code, told) = refused(second).await;
    assert!(
        code == Some(78)
            && told.contains("belongs to cluster c-1")
            && told.contains("use an empty folder"),
        "{told}"
    );
}

#[tokio::test]
async fn a_folder_that_cannot_be_used() {
    let mut cluster = Cluster::prepare(1, &[]);
    let member = &mut cluster.members[0];
    std::fs::write(&member.dir, "a file").unwrap();
    let (code, told) = refused(member).await;
    assert!(
        code == Some(78) && told.contains("data-dir") && told.contains("cannot be used"),
        "{told}"
    );
}

#[tokio::test]
async fn certificates_that_are_not_there() {
    let mut cluster = Cluster::prepare(1, &["--tls-dir=/nowhere"]);
    let (code, told) = refused(&mut cluster.members[0]).await;
    assert!(
        code == Some(78)
            && told.contains("/nowhere/tls.crt cannot be read")
            && told.contains("ca.crt"),
        "{told}"
    );
}
