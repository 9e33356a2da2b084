//! Telling people, by events that `quorate describe` shows, and by a line where `quorate up` runs.

use jiff::{SignedDuration, Timestamp};
use quorate_plan::{Event, Refusal, owner_reference};
use serde_json::{Value, json};

use crate::node::Node;
use crate::resources::resource_type;
use crate::store::{ObjectKey, Store, StoreError, now};

/// So many events of a resource are kept: nothing else takes old ones away.
const KEPT: usize = 64;
/// What was not heard of for so long is told anew.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_mins(1);

/// So long may a start take before what it waits for is news.
const START: SignedDuration = SignedDuration::from_secs(30);

/// Tells of something that happened to a resource. What happens again is counted in the same object.
pub(crate) fn tell(
    node: &Node,
    key: &ObjectKey,
    resource: &Value,
    event: &Event,
) -> Result<(), StoreError> {
    let kind = resource["kind"].as_str().unwrap_or_default();
    if record(&node.store, key, resource, event)? {
        let singular = resource_type(kind).map_or(kind, |resource| resource.singular.as_str());
        let text = format!(
            "{singular}/{}: {}: {}",
            key.name, event.reason, event.message
        );
        let begun = node.begun();
        node.tell(
            text,
            is_of_a_start(event, resource, begun, Timestamp::now()),
        );
    }
    Ok(())
}

/// Whether it is what a healthy start brings along: something waits for what is just about to come. It is news when the
/// start takes long, and once the resource was Ready.
fn is_of_a_start(event: &Event, resource: &Value, begun: Timestamp, now: Timestamp) -> bool {
    let waits = Refusal::OF_BOTH
        .iter()
        .any(|refusal| refusal.name() == event.reason && !refusal.needs_attention());
    let created = resource["metadata"]["creationTimestamp"].as_str();
    let created = created.and_then(|time| time.parse().ok()).unwrap_or(begun);
    let conditions = resource["status"]["conditions"].as_array();
    let ready = conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
    waits && !ready && now.duration_since(begun.max(created)) < START
}

/// Keeps an event; whether it is news.
fn record(
    store: &Store,
    key: &ObjectKey,
    resource: &Value,
    event: &Event,
) -> Result<bool, StoreError> {
    let uid = resource["metadata"]["uid"].as_str().unwrap_or_default();
    let at = ObjectKey::new("events", &key.namespace, &event.name(&key.name, uid));
    if let Some(old) = store.get(&at) {
        store.edit(&at, None, None, |old| {
            old["count"] = json!(old["count"].as_i64().unwrap_or(0) + 1);
            old["lastTimestamp"] = json!(now());
        })?;
        let last = old["lastTimestamp"].as_str().unwrap_or_default();
        let last: Timestamp = last.parse().unwrap_or_default();
        return Ok(Timestamp::now().duration_since(last) > FORGOTTEN_AFTER);
    }
    let object = json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": { "name": at.name, "namespace": at.namespace, "ownerReferences": [owner_reference(resource)] },
        "involvedObject": {
            "apiVersion": resource["apiVersion"], "kind": resource["kind"],
            "name": key.name, "namespace": key.namespace, "uid": uid,
        },
        "type": if event.warning { "Warning" } else { "Normal" },
        "reason": event.reason, "message": event.message, "count": 1,
        "firstTimestamp": now(), "lastTimestamp": now(),
        "source": { "component": "quorate" },
    });
    store.create("events", object)?;
    let mut events = store.list("events", Some(&key.namespace));
    events.retain(|event| event["involvedObject"]["uid"] == uid);
    events.sort_by_key(|event| {
        let version = event["metadata"]["resourceVersion"].as_str();
        version.and_then(|version| version.parse::<u64>().ok())
    });
    let surplus = events.len().saturating_sub(KEPT);
    for event in events.iter().take(surplus) {
        store.remove(&ObjectKey::of("events", event)?, None)?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_start_waits_for_is_news_when_it_takes_long_or_comes_after_it() {
        let begun: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        let event = |reason, warning| Event {
            warning,
            reason,
            message: "m".into(),
        };
        let resource = |ready: &str| json!({ "metadata": { "creationTimestamp": "2026-11-23T11:00:00Z" }, "status": { "conditions": [{ "type": "Ready", "status": ready }] } });
        let quiet = |reason, ready, seconds: i64| {
            let now = begun + SignedDuration::from_secs(seconds);
            is_of_a_start(&event(reason, false), &resource(ready), begun, now)
        };
        for reason in ["MemberSilent", "CachesBehind", "ChangeInFlight"] {
            assert!(quiet(reason, "Unknown", 29), "{reason}");
            assert!(!quiet(reason, "Unknown", 30), "{reason}");
            assert!(!quiet(reason, "True", 1), "{reason}");
        }
        for reason in ["Forming", "NoLeader", "MemberDamaged"] {
            assert!(!quiet(reason, "Unknown", 1), "{reason}");
        }
        // A resource that is applied later has its own start.
        let mut late = resource("False");
        late["metadata"]["creationTimestamp"] = json!("2026-11-23T13:00:00Z");
        let now = begun + SignedDuration::from_secs(3605);
        assert!(is_of_a_start(
            &event("MemberSilent", false),
            &late,
            begun,
            now
        ));
    }

    #[test]
    fn each_message_is_an_event_that_counts_and_the_oldest_go() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let resource = json!({
            "apiVersion": "quorate.dev/v1alpha1", "kind": "RaftCluster", "metadata": { "name": "demo" },
        });
        let demo = store.create("raftclusters", resource).unwrap();
        let key = ObjectKey::new("raftclusters", "default", "demo");
        let say = |message: String| {
            let event = Event {
                warning: true,
                reason: "MemberDamaged",
                message,
            };
            record(&store, &key, &demo, &event).unwrap()
        };
        assert!(say("the log is torn".into()));
        assert!(say("nothing answers".into()));
        assert!(!say("the log is torn".into()));
        let events = store.list("events", None);
        let count = |message: &str| {
            let event = events.iter().find(|event| event["message"] == message);
            event.map(|event| event["count"].as_i64().unwrap())
        };
        assert_eq!(count("the log is torn"), Some(2));
        assert_eq!(count("nothing answers"), Some(1));

        for number in 0..KEPT {
            say(format!("number {number}"));
        }
        let events = store.list("events", None);
        assert_eq!(events.len(), KEPT);
        let latest = json!(format!("number {}", KEPT - 1));
        assert!(events.iter().any(|event| event["message"] == latest));
    }
}
