//! Processes are kept running, adopted, never doubled, and ended.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::fixture::{Host, addresses, is_alive, name, pid, signal};

const LONG_ENOUGH: Duration = Duration::from_secs(5);

#[test]
fn sigterm_ends_every_member_and_exits_with_zero() {
    for sent in [Signal::TERM, Signal::INT] {
        let mut host = Host::new();
        let members = host.start_three();
        assert_eq!(addresses(&host.pods()).len(), 3);
        host.signal_up(sent);
        assert_eq!(host.wait_up().code(), Some(0), "{}", host.said());
        assert!(members.iter().all(|(_, pid)| !is_alive(*pid)));
    }
}

#[test]
fn members_outlive_a_killed_up_and_the_next_one_adopts_them() {
    let mut host = Host::new();
    let before = host.start_three();
    host.signal_up(Signal::KILL);
    host.wait_up();
    std::thread::sleep(Duration::from_millis(300));
    assert!(before.iter().all(|(_, pid)| is_alive(*pid)));
    let image = host.image("healthy");
    host.start(&["--image", &image]);
    assert_eq!(host.wait_running(3), before);
    // Adopted members are looked after as those that were born here.
    let (victim, old) = before[1].clone();
    signal(old, Signal::KILL);
    host.wait_for("another process", Duration::from_secs(5), |host| {
        // It has a process before that process has said that it started.
        let new = host
            .pods()
            .iter()
            .find(|pod| name(pod) == victim)
            .and_then(pid)?;
        (new != old && host.starts().len() == 4).then_some(())
    });
    host.signal_up(Signal::TERM);
    assert_eq!(host.wait_up().code(), Some(0));
    assert!(before.iter().all(|(_, pid)| !is_alive(*pid)));
    assert!(
        host.starts().iter().all(|start| start.starts_with("START")),
        "{:?}",
        host.starts()
    );
    assert_eq!(host.starts().len(), 4);
}

#[test]
fn an_up_killed_at_any_moment_of_its_start_leaves_no_double() {
    let mut host = Host::new();
    let (manifest, image) = (host.manifest(3), host.image("healthy"));
    for pause in [0, 20, 40, 60, 80, 100, 150, 200, 300, 500] {
        host.start(&["-f", manifest.to_str().unwrap(), "--image", &image]);
        std::thread::sleep(Duration::from_millis(pause));
        host.signal_up(Signal::KILL);
        host.wait_up();
    }
    host.start(&["-f", manifest.to_str().unwrap(), "--image", &image]);
    let running = host.wait_running(3);
    let starts = host.starts();
    assert!(
        starts.iter().all(|start| start.starts_with("START")),
        "{starts:?}"
    );
    let mut recorded = host.recorded();
    recorded.sort();
    assert_eq!(recorded, running);
}

#[test]
fn a_member_that_crashed_while_no_up_ran_is_started_again() {
    let mut host = Host::new();
    let before = host.start_three();
    host.signal_up(Signal::KILL);
    host.wait_up();
    signal(before[0].1, Signal::KILL);
    host.wait_for("its end", LONG_ENOUGH, |_| {
        (!is_alive(before[0].1)).then_some(())
    });
    let image = host.image("healthy");
    host.start(&["--image", &image]);
    let after = host.wait_running(3);
    assert_ne!(after[0].1, before[0].1);
    assert_eq!(after[1..], before[1..]);
    let restarts: Vec<_> = host
        .pods()
        .iter()
        .map(|pod| {
            pod["status"]["containerStatuses"][0]["restartCount"]
                .as_i64()
                .unwrap()
        })
        .collect();
    assert_eq!(restarts, [1, 0, 0]);
}

#[test]
fn who_lived_long_restarts_at_once_and_keeps_pod_and_address() {
    let mut host = Host::new();
    let before = host.start_three();
    let pods = host.pods();
    std::thread::sleep(LONG_ENOUGH);
    signal(before[2].1, Signal::KILL);
    let killed = Instant::now();
    let pod = host.wait_for("another process", LONG_ENOUGH, |host| {
        host.pods()
            .into_iter()
            .find(|pod| name(pod) == before[2].0 && pid(pod).is_some_and(|pid| pid != before[2].1))
    });
    assert!(
        killed.elapsed() < Duration::from_secs(1),
        "{:?}",
        killed.elapsed()
    );
    assert_eq!(pod["metadata"]["uid"], pods[2]["metadata"]["uid"]);
    assert_eq!(pod["status"]["podIP"], pods[2]["status"]["podIP"]);
    assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 1);
    assert_eq!(
        pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["signal"],
        9
    );
}

#[test]
fn who_ends_at_its_start_is_tried_again_ever_more_seldom() {
    let mut host = Host::new();
    let (manifest, image) = (host.manifest(1), host.image("crash"));
    host.start(&["-f", manifest.to_str().unwrap(), "--image", &image]);
    let pod = host.wait_for("third restart", Duration::from_secs(20), |host| {
        host.pods()
            .into_iter()
            .find(|pod| pod["status"]["containerStatuses"][0]["restartCount"].as_i64() >= Some(3))
    });
    let container = &pod["status"]["containerStatuses"][0];
    assert_eq!(container["state"]["waiting"]["reason"], "CrashLoopBackOff");
    assert_eq!(container["lastState"]["terminated"]["exitCode"], 3);
    assert!(host.ok("get", &["pods"]).contains("CrashLoopBackOff"));
    assert!(host.ok("logs", &["fake-rcl-0"]).contains("told to crash"));
    // Half a second of rest, then one, now two.
    assert!(
        container["state"]["waiting"]["message"]
            .as_str()
            .unwrap()
            .contains("next try in 2000 ms"),
        "{container}"
    );
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(host.starts().len(), 3);
}

#[test]
fn a_member_that_is_not_ready_runs_and_says_so() {
    let mut host = Host::new();
    let (manifest, image) = (host.manifest(1), host.image("unready"));
    host.start(&["-f", manifest.to_str().unwrap(), "--image", &image]);
    host.wait_running(1);
    let container = host.wait_for("a started container", LONG_ENOUGH, |host| {
        let container = host.pods().first()?["status"]["containerStatuses"][0].clone();
        (container["started"] == true).then_some(container)
    });
    assert_eq!(container["ready"], false);
}

#[test]
fn a_pod_that_is_deleted_comes_back_as_another() {
    let mut host = Host::new();
    let before = host.start_three();
    let uid = |host: &Host| {
        host.pods()
            .iter()
            .find(|pod| name(pod) == before[0].0)
            .map(|pod| pod["metadata"]["uid"].clone())
    };
    let old = uid(&host);
    host.ok("delete", &["pod", &before[0].0]);
    assert!(!is_alive(before[0].1));
    host.wait_for("a new pod", LONG_ENOUGH, |host| {
        uid(host).filter(|new| Some(new) != old.as_ref())
    });
    assert_eq!(host.wait_running(3)[1..], before[1..]);
}
