//! The documents are read by other versions than wrote them: what they look like is pinned here.

use serde_json::{Value, json};

use crate::*;

fn status() -> MemberStatus {
    MemberStatus {
        schema: STATUS_VERSION.into(),
        kind: "RaftCluster".into(),
        name: "a-0".into(),
        version: "0.1.0".into(),
        feature_level: 1,
        cluster: "uid".into(),
        incarnation: "00000000000000aa".into(),
        state: MemberState::Running,
        reason: Some("why".into()),
        ready: true,
        insecure: false,
        can_set_aside: false,
        problems: vec![MemberProblem {
            code: DISK_FULL.into(),
            message: "words".into(),
        }],
        restart_blockers: vec![RestartBlocker {
            code: "Leader".into(),
            message: "words".into(),
        }],
        summary: Vec::new(),
        own: None,
        groups: vec![GroupStatus {
            group: 1,
            role: Role::PreCandidate,
            term: 2,
            leader: Some("00000000000000aa".into()),
            last: 5,
            commit: 4,
            applied: 3,
            caught_up: true,
            configuration: ConfigurationStatus {
                index: 1,
                committed: true,
                joint: false,
                members: vec![ConfiguredMember {
                    id: "00000000000000aa".into(),
                    name: "a-0".into(),
                    address: "a-0.a-peers.default.svc:7071".into(),
                    part: Part::Voter,
                    match_index: Some(5),
                    caught_up: Some(true),
                }],
            },
        }],
    }
}

/// `status()` as it was first served, and must be for as long as its schema is v1.
fn written() -> Value {
    json!({
        "schema": "quorate.dev/member-status/v1",
        "kind": "RaftCluster",
        "name": "a-0",
        "version": "0.1.0",
        "featureLevel": 1,
        "cluster": "uid",
        "incarnation": "00000000000000aa",
        "state": "Running",
        "reason": "why",
        "ready": true,
        "insecure": false,
        "problems": [{"code": "DiskFull", "message": "words"}],
        "restartBlockers": [{"code": "Leader", "message": "words"}],
        "groups": [{
            "group": 1,
            "role": "PreCandidate",
            "term": 2,
            "leader": "00000000000000aa",
            "last": 5,
            "commit": 4,
            "applied": 3,
            "caughtUp": true,
            "configuration": {
                "index": 1,
                "committed": true,
                "joint": false,
                "members": [{
                    "id": "00000000000000aa",
                    "name": "a-0",
                    "address": "a-0.a-peers.default.svc:7071",
                    "part": "Voter",
                    "matchIndex": 5,
                    "caughtUp": true
                }]
            }
        }]
    })
}

/// Adds a field to every object.
fn with_news(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(with_news),
        Value::Object(fields) => {
            fields.values_mut().for_each(with_news);
            fields.insert("somethingNew".into(), json!({"of": ["a later version"]}));
        }
        _ => {}
    }
}

/// Takes a field away wherever it stands.
fn without(value: &mut Value, name: &str) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| without(value, name)),
        Value::Object(fields) => {
            fields.remove(name);
            fields.values_mut().for_each(|value| without(value, name));
        }
        _ => {}
    }
}

#[test]
fn a_status_looks_as_it_always_did() {
    assert_eq!(serde_json::to_value(status()).unwrap(), written());
    let read: MemberStatus = serde_json::from_value(written()).unwrap();
    assert_eq!(read, status());
    let mut damaged = status();
    damaged.can_set_aside = true;
    let mut since = written();
    since["canSetAside"] = json!(true);
    assert_eq!(serde_json::to_value(damaged).unwrap(), since);
}

#[test]
fn what_a_later_version_adds_is_ignored() {
    let mut later = written();
    with_news(&mut later);
    let read: MemberStatus = serde_json::from_value(later).unwrap();
    assert_eq!(read, status());
    let problem =
        json!({"type": "t", "title": "t", "status": 400, "detail": "d", "instance": "/x"});
    let problem: Problem = serde_json::from_value(problem).unwrap();
    assert_eq!((problem.field, problem.leader), (None, None));
}

#[test]
fn what_an_earlier_version_does_not_say_has_a_default() {
    let mut earlier = written();
    let optional = [
        "reason",
        "problems",
        "restartBlockers",
        "leader",
        "matchIndex",
    ];
    for name in optional {
        without(&mut earlier, name);
    }
    let read: MemberStatus = serde_json::from_value(earlier.clone()).unwrap();
    assert_eq!((read.reason.as_ref(), read.problems.len()), (None, 0));
    assert_eq!(
        serde_json::to_value(&read).unwrap(),
        earlier,
        "what there is not is not written either"
    );
    without(&mut earlier, "incarnation");
    let error = serde_json::from_value::<MemberStatus>(earlier).unwrap_err();
    assert!(
        error.to_string().contains("incarnation"),
        "nobody may guess an identity: {error}"
    );
}

#[test]
fn a_change_with_an_unknown_field_is_no_change() {
    let body = json!({"configurationIndex": 7});
    let read: ChangeMember = serde_json::from_value(body.clone()).unwrap();
    assert_eq!(read.configuration_index, 7);
    assert_eq!(serde_json::to_value(read).unwrap(), body);
    // What a member does not understand may be what makes the change safe.
    for body in [
        json!({"configurationIndex": 7, "force": false}),
        json!({"configuration_index": 7}),
    ] {
        assert!(
            serde_json::from_value::<ChangeMember>(body.clone()).is_err(),
            "{body}"
        );
    }
    let anyone: TransferLeader = serde_json::from_value(json!({})).unwrap();
    assert_eq!(
        (anyone.to.clone(), serde_json::to_value(anyone).unwrap()),
        (None, json!({}))
    );
}
