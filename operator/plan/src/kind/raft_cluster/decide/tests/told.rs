//! What the conditions say, in words and by their reasons.

use quorate_wire::{BAD_CERTIFICATES, DISK_FULL};
use serde_json::{Value, json};

use super::situation::Situation;
use crate::Template;

#[test]
fn ready_is_said_only_of_what_is_as_specified() {
    let mut situation = Situation::formed(3);
    assert_eq!(
        situation.condition("Ready"),
        ("True".into(), "AsSpecified".into())
    );
    situation.lag(2);
    assert_eq!(
        situation.condition("Ready"),
        ("False".into(), "MemberUnavailable".into())
    );
    assert_eq!(
        situation.condition("Degraded"),
        ("True".into(), "MemberUnavailable".into())
    );
    let mut unprobed = Situation::formed(3);
    unprobed.unready(2);
    assert_eq!(
        unprobed.condition("Ready"),
        ("False".into(), "Waiting".into()),
        "no Service leads to one of them yet"
    );
    let mut late = Situation::formed(3);
    late.break_at_update(2);
    assert_eq!(
        late.condition("Degraded"),
        ("True".into(), "UpgradeStopped".into())
    );
    assert_eq!(
        late.condition("Ready"),
        ("False".into(), "UpgradeStopped".into()),
        "rather than that it upgrades"
    );
    let mut paused = Situation::formed(3);
    paused.resource["spec"]["paused"] = json!(true);
    assert_eq!(paused.condition("Ready"), ("True".into(), "Paused".into()));
}

#[test]
fn what_a_person_is_to_mend_is_an_event_when_it_begins() {
    let mut stopped = Situation::formed(3);
    stopped.break_at_update(2);
    let told = |situation: &Situation| {
        let events = situation.decide().events;
        let mut warnings = events.iter().filter(|event| event.warning);
        warnings.any(|event| event.reason == "UpgradeStopped")
    };
    assert!(told(&stopped));
    stopped.observed.behind.push("the status".into());
    assert!(!told(&stopped), "it may be told already");
    stopped.observed.behind.clear();
    stopped.write_status();
    assert!(!told(&stopped));
    let mut lagging = Situation::formed(3);
    lagging.lag(2);
    assert_eq!(lagging.decide().events, [], "it passes by itself");
}

#[test]
fn a_stopped_upgrade_says_what_the_member_lacks() {
    for (leader, caught_up, words) in [
        (
            None,
            true,
            "demo-rcl-2: it finds no leader among its peers.",
        ),
        (
            Some("id-0"),
            true,
            "demo-rcl-2: it follows its leader, and never gets ready.",
        ),
        (Some("id-0"), false, "demo-rcl-2: it does not catch up."),
    ] {
        let mut stopped = Situation::formed(3);
        stopped.outdate([0, 1]);
        stopped.set_partition(2);
        stopped.answer_unready(2, leader, caught_up);
        let said = stopped.words("Degraded");
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn an_upgrade_to_an_image_of_another_version_stops_and_says_so() {
    for (version, degraded) in [
        ("9.9.9", ("True", "UpgradeStopped")),
        ("1.0.0", ("False", "Healthy")),
    ] {
        let mut upgraded = Situation::formed_of(3, json!({ "version": version }));
        upgraded.outdate([0, 1]);
        upgraded.set_partition(2);
        let (status, reason) = upgraded.condition("Degraded");
        assert_eq!((&*status, &*reason), degraded, "{version}");
    }
}

#[test]
fn a_group_made_of_an_image_of_another_version_says_so() {
    let made = Situation::formed_of(3, json!({ "version": "9.9.9" }));
    for (condition, status) in [("Ready", "False"), ("Degraded", "True")] {
        let said = made.condition(condition);
        assert_eq!(said, (status.into(), "OtherVersion".into()));
    }
    let words = made.words("Degraded");
    assert!(
        words.contains("demo-rcl-0 reports version 1.0.0, not 9.9.9"),
        "{words}"
    );
}

#[test]
fn an_upgrade_that_a_pause_holds_back_is_no_other_version() {
    let mut held_back = Situation::formed(3);
    held_back.resource["spec"]["version"] = json!("9.9.9");
    held_back.resource["spec"]["paused"] = json!(true);
    assert_eq!(held_back.condition("Degraded").1, "Healthy");
    assert_eq!(held_back.condition("Ready").1, "Waiting");
}

#[test]
fn what_keeps_a_pod_from_running_is_told_in_words() {
    let forming = || {
        let mut forming = Situation::nothing();
        forming.make_pods(3);
        forming.observed.members.remove("demo-rcl-1");
        forming
    };
    let degraded = |situation: &Situation| situation.condition("Degraded").1;
    let ready = |situation: &Situation| situation.condition("Ready").1;
    assert_eq!(degraded(&forming()), "Healthy");
    assert_eq!(ready(&forming()), "Forming");

    let mut unschedulable = forming();
    unschedulable.pod_condition(1, "PodScheduled", "Unschedulable", 994_000);
    assert_eq!(degraded(&unschedulable), "PodUnschedulable");
    let mut a_moment_ago = forming();
    a_moment_ago.pod_condition(1, "PodScheduled", "Unschedulable", 999_999);
    assert_eq!(degraded(&a_moment_ago), "Healthy");

    let mut unbound = unschedulable;
    unbound.unbind(1);
    assert_eq!(
        degraded(&unbound),
        "ClaimUnbound",
        "it is the cause of the other"
    );

    let mut denied = forming();
    denied.observed.pods.remove("demo-rcl-2");
    let words = "exceeded quota: few, requested: pods=1".to_owned();
    denied.observed.denials.insert("demo-rcl".to_owned(), words);
    assert_eq!(degraded(&denied), "PodDenied");
    assert_eq!(ready(&denied), "PodDenied", "a table shows this one");
}

#[test]
fn a_secret_that_pods_wait_for_is_named() {
    let mut waiting = Situation::nothing();
    waiting.make_pods(3);
    waiting.observed.secret = Some("there is no Secret `s`; apply it".into());
    assert_eq!(
        waiting.condition("Degraded"),
        ("True".into(), "BadCertificates".into())
    );
}

#[test]
fn a_pod_that_cannot_start_is_told_with_its_reason() {
    let mut formed = Situation::formed(3);
    formed.crash_loop(1);
    assert_eq!(
        formed.condition("Degraded"),
        ("True".into(), "PodNotStarting".into())
    );
    let words = "demo-rcl-1 does not start: CrashLoopBackOff: see its log";
    assert_eq!(formed.words("Degraded"), words);

    for (ended, words) in [
        (
            json!({ "exitCode": 78, "reason": "Error", "message": "started\ntls.crt is no certificate\n" }),
            "CrashLoopBackOff after Error (exit code 78): tls.crt is no certificate",
        ),
        (
            json!({ "exitCode": 137, "reason": "OOMKilled", "message": "starting" }),
            "CrashLoopBackOff after OOMKilled (exit code 137): raise its memory limit",
        ),
    ] {
        formed.ended(1, ended);
        assert_eq!(
            formed.words("Degraded"),
            format!("demo-rcl-1 does not start: {words}")
        );
    }
}

#[test]
fn a_container_that_runs_in_between_is_told_once() {
    let ended = json!({ "exitCode": 78, "reason": "Error", "message": "no such key" });
    let words =
        "demo-rcl-1 does not start: CrashLoopBackOff after Error (exit code 78): no such key";
    let mut crashing = Situation::formed(3);
    crashing.crash_loop(1);
    crashing.ended(1, ended.clone());
    crashing.restart(1);
    assert_eq!(crashing.condition("Degraded").1, "MemberUnavailable");
    crashing.crash_loop(1);
    crashing.ended(1, ended);
    crashing.write_status();
    crashing.restart(1);
    assert_eq!(crashing.words("Degraded"), words);
    assert_eq!(crashing.decide().events, []);
    crashing.observed.members = Situation::formed(3).observed.members;
    assert_eq!(crashing.condition("Degraded").1, "Healthy");
}

#[test]
fn a_group_without_its_statefulset_serves_on_and_says_what_is_being_done() {
    let mut orphaned = Situation::formed(3);
    orphaned.orphan();
    assert_eq!(orphaned.step(), "replicas 3 partition 3");
    assert_eq!(
        orphaned.condition("Ready"),
        ("False".into(), "Repairing".into())
    );
    assert_eq!(orphaned.condition("Degraded").1, "Healthy");
    let status = orphaned.write_status();
    assert_eq!(
        (&status["replicas"], &status["readyReplicas"]),
        (&json!(3), &json!(3))
    );
    let template = |situation: &Situation| situation.pool().template;
    assert_eq!(template(&orphaned), Template::Target);
    orphaned.resource["status"]["stable"] = json!({ "image": "member:1" });
    assert!(
        matches!(template(&orphaned), Template::Stable(stable) if stable.image == "member:1"),
        "a pod that is evicted in the middle of an upgrade comes back at it"
    );
    orphaned.resource["spec"]["paused"] = json!(true);
    assert_eq!(orphaned.decide().stage, None, "nothing is changed");
    assert_eq!(
        orphaned.condition("Ready"),
        ("False".into(), "Paused".into())
    );
    assert!(orphaned.words("Ready").contains("its StatefulSet is gone"));
    orphaned.silence(0);
    let words = orphaned.words("Degraded");
    assert!(words.contains("no pod comes back"), "{words}");
}

#[test]
fn what_runs_under_an_invalid_spec_is_reported() {
    let mut formed = Situation::formed(3);
    formed.write_status();
    let seen = |situation: &Situation| {
        let status = situation.invalid();
        let roles = status["members"].as_array().unwrap().iter();
        let roles: Vec<_> = roles.map(|member| member["role"].clone()).collect();
        (
            status["leader"].clone(),
            status["readyReplicas"].clone(),
            roles,
        )
    };
    let leads = [json!("Leader"), json!("Follower"), json!("Follower")];
    assert_eq!(seen(&formed), (json!("demo-rcl-0"), json!(3), leads.into()));
    formed.silence(0);
    formed.unready(0);
    let gone = [json!("Unreachable"), json!("Follower"), json!("Follower")];
    assert_eq!(seen(&formed), (Value::Null, json!(2), gone.into()));
}

#[test]
fn certificates_that_cannot_be_used_are_said_while_the_group_serves() {
    let mut renewed = Situation::formed(3);
    renewed.ail(1, BAD_CERTIFICATES);
    assert_eq!(renewed.step(), "replicas 3 partition 0");
    for (kind, status, reason) in [
        ("Ready", "True", "AsSpecified"),
        ("Degraded", "True", "BadCertificates"),
    ] {
        assert_eq!(renewed.condition(kind), (status.into(), reason.into()));
    }
}

#[test]
fn a_full_disk_is_said_and_nothing_is_done_about_it() {
    let mut full = Situation::formed(3);
    full.ail(1, DISK_FULL);
    assert_eq!(full.step(), "replicas 3 partition 0");
    for (kind, status) in [("Ready", "False"), ("Degraded", "True")] {
        assert_eq!(full.condition(kind), (status.into(), "DiskFull".into()));
    }
}
