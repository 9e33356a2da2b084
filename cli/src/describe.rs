//! `quorate describe`.

use quorate_local::{Control, resource_type};
use serde_json::{Value, json};

use crate::args::ObjectArgs;
use crate::get::{lines, one, print, rows, yaml};

pub(crate) async fn describe(control: &Control, args: ObjectArgs) -> anyhow::Result<()> {
    let (resource, name) = one(&args.kind, args.name.as_deref())?;
    let object = control
        .get(resource, Some(&args.namespace), Some(name))
        .await?;
    let list = async |kind: &str| -> anyhow::Result<Vec<Value>> {
        let Some(sort) = resource_type(kind) else {
            return Ok(Vec::new());
        };
        let answer = control.get(sort, Some(&args.namespace), None).await?;
        Ok(answer["items"].as_array().cloned().unwrap_or_default())
    };
    let uid = &object["metadata"]["uid"];
    let owns = |owner: &Value, item: &Value| {
        item["metadata"]["ownerReferences"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|reference| &reference["uid"] == owner)
    };
    let sets: Vec<Value> = list("statefulsets")
        .await?
        .into_iter()
        .filter(|set| owns(uid, set))
        .collect();
    let owners: Vec<&Value> = sets
        .iter()
        .map(|set| &set["metadata"]["uid"])
        .chain([uid])
        .collect();
    let pods: Vec<Value> = list("pods")
        .await?
        .into_iter()
        .filter(|pod| owners.iter().any(|owner| owns(owner, pod)))
        .collect();
    let mut events: Vec<Value> = list("events")
        .await?
        .into_iter()
        .filter(|event| &event["involvedObject"]["uid"] == uid)
        .collect();
    // All are written in one form, which sorts as time does.
    events.sort_by(|one, other| {
        let (one, other) = (&one["lastTimestamp"], &other["lastTimestamp"]);
        one.as_str().cmp(&other.as_str())
    });

    let mut text = head(&object)?;
    for (title, kind, items) in [("Pods", "pods", pods), ("Events", "events", events)] {
        if let Some(sort) = resource_type(kind).filter(|_| !items.is_empty()) {
            text += &section(title, &lines(&rows(sort, &items, true, false)));
        }
    }
    print(&text)
}

fn head(object: &Value) -> anyhow::Result<String> {
    let metadata = &object["metadata"];
    let fields = [
        "name",
        "namespace",
        "uid",
        "generation",
        "creationTimestamp",
        "labels",
        "annotations",
    ];
    let shown: serde_json::Map<String, Value> = fields
        .iter()
        .filter(|field| !metadata[**field].is_null())
        .map(|field| ((*field).to_owned(), metadata[*field].clone()))
        .collect();
    let mut text = yaml(&json!({ "kind": object["kind"], "metadata": shown }))?;
    let mut status = object["status"].clone();
    let conditions = status
        .as_object_mut()
        .and_then(|status| status.remove("conditions"));
    for (title, part) in [
        ("Spec", &object["spec"]),
        ("Data", &object["data"]),
        ("Status", &status),
    ] {
        if !part.is_null() {
            text += &section(title, &yaml(part)?);
        }
    }
    if let Some(Value::Array(conditions)) = conditions {
        let cell = |condition: &Value, field: &str| {
            condition[field].as_str().unwrap_or_default().to_owned()
        };
        let columns = ["type", "status", "reason", "message"];
        let mut table = vec![columns.map(str::to_uppercase).to_vec()];
        table.extend(
            conditions
                .iter()
                .map(|condition| columns.map(|field| cell(condition, field)).to_vec()),
        );
        text += &section("Conditions", &lines(&table));
    }
    Ok(text)
}

fn section(title: &str, body: &str) -> String {
    body.lines().fold(format!("{title}:\n"), |text, line| {
        text + "  " + line + "\n"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_stand_in_a_table_of_their_own() {
        let text = head(&json!({
            "kind": "K",
            "metadata": { "name": "a", "resourceVersion": "1" },
            "spec": { "members": 3 },
            "status": { "leader": "a-0", "conditions": [{ "type": "Ready", "status": "True", "reason": "AsSpecified", "message": "m" }] },
        }))
        .unwrap();
        assert!(text.contains("Spec:\n  members: 3\n"), "{text}");
        assert!(text.contains("Status:\n  leader: a-0\n"), "{text}");
        assert!(
            text.contains("TYPE    STATUS   REASON        MESSAGE"),
            "{text}"
        );
        assert!(!text.contains("resourceVersion"), "{text}");
    }
}
