//! The bounds that a schema sets without a rule (lengths, numbers, words): an API server tells them in words of its own,
//! which nobody hears where there is none.

use serde_json::Value;

use crate::Invalid;

/// Everything in a spec that is outside the bounds of its schema.
pub(crate) fn exceeded(schema: &Value, spec: &Value) -> Vec<Invalid> {
    let mut faults = Vec::new();
    walk("spec", schema, spec, &mut faults);
    faults
}

fn walk(path: &str, schema: &Value, value: &Value, faults: &mut Vec<Invalid>) {
    if let Some(message) = words(schema, value) {
        let field = path.to_owned();
        faults.push(Invalid { field, message });
    }
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let child = schema["properties"]
                    .get(name)
                    .unwrap_or(&schema["additionalProperties"]);
                walk(&format!("{path}.{name}"), child, value, faults);
            }
        }
        Value::Array(items) => {
            for (at, value) in items.iter().enumerate() {
                walk(&format!("{path}[{at}]"), &schema["items"], value, faults);
            }
        }
        _ => {}
    }
}

fn words(schema: &Value, value: &Value) -> Option<String> {
    let bounds = |least: &str, most: &str| (schema[least].as_f64(), schema[most].as_f64());
    let (number, (least, most), unit) = match value {
        Value::Number(number) => (number.as_f64()?, bounds("minimum", "maximum"), ""),
        Value::String(text) => {
            if let Some(known) = schema["enum"].as_array()
                && !known.contains(value)
            {
                return Some(format!("must be {}", one_of(known)));
            }
            let characters = text.chars().count();
            (
                characters as f64,
                bounds("minLength", "maxLength"),
                " characters",
            )
        }
        Value::Array(items) => (
            items.len() as f64,
            bounds("minItems", "maxItems"),
            " entries",
        ),
        Value::Object(fields) => {
            let bounds = bounds("minProperties", "maxProperties");
            (fields.len() as f64, bounds, " entries")
        }
        Value::Null | Value::Bool(_) => return None,
    };
    let outside =
        least.is_some_and(|least| number < least) || most.is_some_and(|most| number > most);
    let words = match (least, most) {
        (Some(least), Some(most)) => format!("must be {least} to {most}{unit}"),
        (Some(least), None) => format!("must be at least {least}{unit}"),
        (None, Some(most)) => format!("must be at most {most}{unit}"),
        (None, None) => return None,
    };
    outside.then_some(words)
}

/// `A, B or C`.
fn one_of(known: &[Value]) -> String {
    let mut words: Vec<_> = known.iter().filter_map(Value::as_str).collect();
    let last = words.pop().unwrap_or_default();
    match words.is_empty() {
        true => last.to_owned(),
        false => format!("{} or {last}", words.join(", ")),
    }
}
