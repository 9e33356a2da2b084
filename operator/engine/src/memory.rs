//! What one operator process remembers of one resource between rounds. Losing it loses nothing but politeness:
//! every write carries the precondition that makes it safe on an old observation, this only saves the attempt.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use quorate_plan::{Action, Event, Object};
use serde_json::Value;

use crate::Snapshot;

/// A status in which only numbers moved is written this seldom.
const STATUS_INTERVAL: Duration = Duration::from_secs(30);

/// Our own last writes, to recognise an observation that is older than they are.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// The generation that a StatefulSet had after we applied it, by its UID.
    generations: BTreeMap<String, i64>,
    /// UIDs of pods that we deleted.
    deleted_pods: BTreeSet<String>,
    /// UIDs of pods that the resource owns no longer.
    given_back: BTreeSet<String>,
    /// Marks that we set on claims, by the claim's UID.
    marks: BTreeMap<String, BTreeMap<String, String>>,
    /// When we asked the member of a pod for something last, by the pod's UID: what it said before is history.
    asked: BTreeMap<String, Timestamp>,
    /// The resourceVersion of the resource after we wrote its status.
    status_version: Option<String>,
    status_written: Option<Timestamp>,
    told: Vec<Event>,
}

impl Memory {
    /// Our writes that the observation does not show yet. What it shows is forgotten.
    pub(crate) fn unseen(&mut self, seen: &Snapshot) -> Vec<String> {
        let mut unseen = Vec::new();
        let (sets, pods) = (&seen.observed.stateful_sets, &seen.observed.pods);
        self.generations.retain(|uid, written| {
            let set = sets
                .values()
                .find(|set| set.metadata.uid.as_ref() == Some(uid));
            let behind = set.is_some_and(|set| set.metadata.generation.unwrap_or(0) < *written);
            if behind {
                unseen.push(format!("generation {written} of the StatefulSet"));
            }
            behind
        });
        let pod_of = |uid: &String| {
            let mut pods = pods.values();
            pods.find(|pod| pod.metadata.uid.as_ref() == Some(uid))
        };
        self.deleted_pods.retain(|uid| {
            let behind = pod_of(uid).is_some_and(|pod| pod.metadata.deletion_timestamp.is_none());
            if behind {
                unseen.push(format!("the deletion of pod {uid}"));
            }
            behind
        });
        let resource = seen.resource["metadata"]["uid"].as_str();
        self.given_back.retain(|uid| {
            let owners = pod_of(uid).and_then(|pod| pod.metadata.owner_references.as_ref());
            let mut owners = owners.into_iter().flatten();
            let behind = owners.any(|owner| Some(owner.uid.as_str()) == resource);
            if behind {
                unseen.push(format!("that the resource owns pod {uid} no longer"));
            }
            behind
        });
        let claims = &seen.observed.claims;
        self.marks.retain(|uid, marks| {
            let claim = claims
                .values()
                .find(|claim| claim.metadata.uid.as_ref() == Some(uid));
            let behind = claim.is_some_and(|claim| {
                let shown = claim.metadata.annotations.as_ref();
                let shows = |(key, value)| shown.and_then(|shown| shown.get(key)) == Some(value);
                !marks.iter().all(shows)
            });
            if behind {
                unseen.push(format!("the marks on claim {uid}"));
            }
            behind
        });
        let answers = &seen.observed.members;
        self.asked.retain(|uid, asked| {
            let answer = answers.values().find(|answer| answer.pod_uid == *uid);
            let behind = answer.is_some_and(|answer| answer.at <= *asked);
            if behind {
                unseen.push(format!("what the member of pod {uid} was asked for"));
            }
            behind
        });
        let number =
            |version: Option<&str>| version.and_then(|version| version.parse::<u64>().ok());
        let observed = seen
            .resource
            .pointer("/metadata/resourceVersion")
            .and_then(Value::as_str);
        match (number(observed), number(self.status_version.as_deref())) {
            (Some(observed), Some(written)) if observed < written => {
                unseen.push("the status".to_owned())
            }
            _ => self.status_version = None,
        }
        unseen
    }

    pub(crate) fn applied(&mut self, object: &Object) {
        if let Object::StatefulSet(set) = object
            && let (Some(uid), Some(generation)) = (&set.metadata.uid, set.metadata.generation)
        {
            self.generations.insert(uid.clone(), generation);
        }
    }

    /// A request may be carried out though its answer was lost.
    pub(crate) fn acts(&mut self, action: &Action, now: Timestamp) {
        if let Action::Ask { pod_uid, .. } = action {
            self.asked.insert(pod_uid.clone(), now);
        }
    }

    pub(crate) fn acted(&mut self, action: &Action) {
        match action {
            Action::DeletePod { uid, .. } => {
                self.deleted_pods.insert(uid.clone());
            }
            Action::MarkClaim {
                uid, annotations, ..
            } => {
                let marks = self.marks.entry(uid.clone()).or_default();
                marks.extend(annotations.clone());
            }
            Action::OwnPod {
                uid, owned: false, ..
            } => {
                self.given_back.insert(uid.clone());
            }
            // Asked for once more, these change nothing.
            Action::GrowClaim { .. }
            | Action::OwnPod { .. }
            | Action::OrphanSet { .. }
            | Action::DeleteClaim { .. }
            | Action::Ask { .. } => {}
        }
    }

    pub(crate) fn status_written(&mut self, version: String, now: Timestamp) {
        self.status_version = Some(version);
        self.status_written = Some(now);
    }

    /// Whether a status says something new, or is due.
    pub(crate) fn worth_writing(
        &self,
        resource: &Value,
        status: &Value,
        volatile: &[&str],
        now: Timestamp,
    ) -> bool {
        let old = resource.get("status").unwrap_or(&Value::Null);
        if old == status {
            return false;
        }
        let due = self
            .status_written
            .is_none_or(|written| now.duration_since(written).unsigned_abs() >= STATUS_INTERVAL);
        due || steady(old, volatile) != steady(status, volatile)
    }

    /// Whether this was not told of the round before, or came to its end there.
    pub(crate) fn is_news(&self, event: &Event) -> bool {
        !self.told.contains(event)
    }

    /// What was told and is still so: it was refused, or is yet to be carried out.
    pub(crate) fn lasts(&mut self, told: Vec<Event>) {
        self.told = told;
    }
}

/// A status without the fields that move all the time.
fn steady(status: &Value, volatile: &[&str]) -> Value {
    match status {
        Value::Object(fields) => fields
            .iter()
            .filter(|(name, _)| !volatile.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), steady(value, volatile)))
            .collect(),
        Value::Array(items) => items.iter().map(|item| steady(item, volatile)).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_plan::{Answer, Observed};
    use quorate_wire::MemberRequest;
    use serde_json::json;

    fn snapshot(resource: Value, observed: Observed) -> Snapshot {
        Snapshot { resource, observed }
    }

    fn observed(generation: i64) -> Observed {
        let set = serde_json::from_value(
            json!({ "metadata": { "name": "a", "uid": "s", "generation": generation } }),
        );
        let owner = json!({ "apiVersion": "v1", "kind": "R", "name": "a", "uid": "r" });
        let pod = json!({ "metadata": { "name": "a-0", "uid": "p", "ownerReferences": [owner] } });
        let pod = serde_json::from_value(pod);
        let claim =
            serde_json::from_value(json!({ "metadata": { "name": "data-a-0", "uid": "c" } }));
        Observed {
            stateful_sets: [("a".to_owned(), set.unwrap())].into(),
            pods: [("a-0".to_owned(), pod.unwrap())].into(),
            claims: [("data-a-0".to_owned(), claim.unwrap())].into(),
            ..Observed::default()
        }
    }

    #[test]
    fn an_observation_older_than_our_writes_is_told_from_a_current_one() {
        let mut memory = Memory::default();
        let written = observed(7).stateful_sets.remove("a").unwrap();
        memory.applied(&Object::StatefulSet(written));
        let deleted = Action::DeletePod {
            name: "a-0".into(),
            uid: "p".into(),
        };
        memory.acted(&deleted);
        memory.acted(&Action::OwnPod {
            name: "a-0".into(),
            uid: "p".into(),
            owned: false,
        });
        memory.acted(&Action::MarkClaim {
            name: "data-a-0".into(),
            uid: "c".into(),
            annotations: [("mark".to_owned(), "1".to_owned())].into(),
            owned: false,
        });
        memory.status_written("40".into(), Timestamp::UNIX_EPOCH);

        let old = snapshot(
            json!({ "metadata": { "uid": "r", "resourceVersion": "39" } }),
            observed(6),
        );
        assert_eq!(memory.unseen(&old).len(), 5);
        let mut current = snapshot(
            json!({ "metadata": { "uid": "r", "resourceVersion": "40" } }),
            observed(7),
        );
        current.observed.pods.clear();
        let claim = current.observed.claims.get_mut("data-a-0").unwrap();
        let mark = ("mark".to_owned(), "1".to_owned());
        claim.metadata.annotations = Some([mark].into());
        assert_eq!(memory.unseen(&current), Vec::<String>::new());
        assert_eq!(
            memory.unseen(&old),
            Vec::<String>::new(),
            "what was seen once is forgotten"
        );
    }

    #[test]
    fn what_a_member_said_before_it_was_asked_is_history() {
        let mut memory = Memory::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        let request = MemberRequest::new("Do", "do", &());
        let ask = Action::Ask {
            pod: "a-0".into(),
            pod_uid: "p".into(),
            request,
        };
        memory.acts(&ask, at(10));
        let said = |second| {
            let answer = Answer {
                pod_uid: "p".into(),
                at: at(second),
                status: Err("it does not matter what".into()),
            };
            let mut observed = observed(1);
            observed.members.insert("a-0".into(), answer);
            snapshot(json!({}), observed)
        };
        assert_eq!(memory.unseen(&said(10)).len(), 1);
        assert_eq!(memory.unseen(&said(11)).len(), 0);
    }

    #[test]
    fn a_status_is_written_when_its_state_changes_and_else_when_due() {
        let mut memory = Memory::default();
        let old = json!({ "status": { "leader": "a", "members": [{ "applied": 1 }] } });
        let moved = json!({ "leader": "a", "members": [{ "applied": 2 }] });
        let changed = json!({ "leader": "b", "members": [{ "applied": 1 }] });
        memory.status_written("1".into(), Timestamp::UNIX_EPOCH);
        let at = |second| Timestamp::from_second(second).unwrap();
        assert!(!memory.worth_writing(&old, &moved, &["applied"], at(29)));
        assert!(memory.worth_writing(&old, &moved, &["applied"], at(30)));
        assert!(memory.worth_writing(&old, &changed, &["applied"], at(1)));
        assert!(!memory.worth_writing(&old, &old["status"], &["applied"], at(60)));
    }

    #[test]
    fn what_lasts_is_told_once() {
        let mut memory = Memory::default();
        let refused = Event {
            warning: true,
            reason: "NoLeader",
            message: "nobody leads".into(),
        };
        assert!(memory.is_news(&refused));
        memory.lasts(vec![refused.clone()]);
        assert!(!memory.is_news(&refused));
        memory.lasts(Vec::new());
        assert!(memory.is_news(&refused), "it begins again");
    }
}
