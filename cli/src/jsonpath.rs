//! The JSONPath of a CRD's printer columns: `.a.b`, `['a.b']`, `[0]`, `[*]`, `[?(@.type=="Ready")]`.

use serde_json::Value;

/// The values that the path names, as a table shows them: several are joined by commas; nothing is an empty text.
pub(crate) fn text(object: &Value, path: &str) -> String {
    select(object, path)
        .iter()
        .map(|value| show(value))
        .collect::<Vec<_>>()
        .join(",")
}

fn show(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(show).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

fn select<'a>(object: &'a Value, path: &str) -> Vec<&'a Value> {
    let mut found = vec![object];
    let mut rest = path.trim();
    while !rest.is_empty() && !found.is_empty() {
        let (step, after) = next_step(rest);
        found = found
            .into_iter()
            .flat_map(|value| take(value, &step))
            .collect();
        rest = after;
    }
    found.retain(|value| !value.is_null());
    found
}

enum Step<'p> {
    Field(&'p str),
    Index(usize),
    All,
    Where(&'p str, &'p str),
    Unknown,
}

fn next_step(path: &str) -> (Step<'_>, &str) {
    if let Some(inner) = path.strip_prefix("[?(@.") {
        let Some((condition, after)) = inner.split_once(")]") else {
            return (Step::Unknown, "");
        };
        let Some((field, wanted)) = condition.split_once("==") else {
            return (Step::Unknown, after);
        };
        return (
            Step::Where(field.trim(), wanted.trim().trim_matches(['"', '\''])),
            after,
        );
    }
    if let Some(inner) = path.strip_prefix("['") {
        return inner
            .split_once("']")
            .map_or((Step::Unknown, ""), |(field, after)| {
                (Step::Field(field), after)
            });
    }
    if let Some(inner) = path.strip_prefix('[') {
        let Some((index, after)) = inner.split_once(']') else {
            return (Step::Unknown, "");
        };
        return match index {
            "*" => (Step::All, after),
            index => (index.parse().map_or(Step::Unknown, Step::Index), after),
        };
    }
    let field = path.strip_prefix('.').unwrap_or(path);
    let end = field.find(['.', '[']).unwrap_or(field.len());
    (Step::Field(&field[..end]), &field[end..])
}

fn take<'a>(value: &'a Value, step: &Step<'_>) -> Vec<&'a Value> {
    let items = || value.as_array().into_iter().flatten();
    match step {
        Step::Field(name) => value.get(name).into_iter().collect(),
        Step::Index(index) => value.get(index).into_iter().collect(),
        Step::All => items().collect(),
        Step::Where(field, wanted) => items()
            .filter(|item| show(&item[*field]) == *wanted)
            .collect(),
        Step::Unknown => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_paths_of_printer_columns() {
        let object = json!({
            "a": { "b": 1, "c.d/e": "x" },
            "list": [{ "type": "Ready", "status": "True" }, { "type": "Other", "status": "False" }],
            "urls": ["u", "v"],
        });
        for (path, shown) in [
            (".a.b", "1"),
            (".a['c.d/e']", "x"),
            (".list[0].status", "True"),
            (".list[*].type", "Ready,Other"),
            (".list[?(@.type==\"Other\")].status", "False"),
            (".list[?(@.type=='None')].status", ""),
            (".urls", "u,v"),
            (".none.at.all", ""),
            (".list[x", ""),
            (".list[?(@.type", ""),
        ] {
            assert_eq!(text(&object, path), shown, "{path}");
        }
    }
}
