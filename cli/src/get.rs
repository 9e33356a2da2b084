//! `quorate get`.

use std::io::Write;

use anyhow::{Context, bail};
use jiff::Timestamp;
use quorate_local::{Control, ResourceType, resource_type, resource_types};
use serde_json::Value;

use crate::args::{Format, GetArgs};
use crate::jsonpath;
use crate::table::{age, align};

pub(crate) async fn get(control: &Control, args: GetArgs) -> anyhow::Result<()> {
    let (resource, name) = target(&args.kind, args.name.as_deref())?;
    let namespace = (!args.all_namespaces).then_some(args.namespace.as_str());
    let mut answer = control.get(resource, namespace, name).await?;
    hide_managers(&mut answer);
    let text = match args.output {
        Some(Format::Json) => serde_json::to_string_pretty(&answer)? + "\n",
        Some(Format::Yaml) => yaml(&answer)?,
        format => {
            let items = match answer.get("items").and_then(Value::as_array) {
                Some(items) => items.clone(),
                None => vec![answer],
            };
            if items.is_empty() {
                eprintln!(
                    "No {} found{}.",
                    resource.plural,
                    namespace.map_or_else(String::new, |name| format!(" in namespace {name}"))
                );
                return Ok(());
            }
            lines(&rows(
                resource,
                &items,
                format == Some(Format::Wide),
                args.all_namespaces,
            ))
        }
    };
    print(&text)
}

/// Which fields the last file stated is of no use to a reader; kubectl hides it too.
fn hide_managers(answer: &mut Value) {
    let hide = |object: &mut Value| {
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
    };
    hide(answer);
    let items = answer.get_mut("items").and_then(Value::as_array_mut);
    items.into_iter().flatten().for_each(hide);
}

/// `KIND NAME` or `KIND/NAME`.
pub(crate) fn target<'a>(
    kind: &'a str,
    name: Option<&'a str>,
) -> anyhow::Result<(&'static ResourceType, Option<&'a str>)> {
    let (kind, name) = match (kind.split_once('/'), name) {
        (Some((kind, name)), None) => (kind, Some(name)),
        (Some(_), Some(_)) => bail!("write KIND NAME or KIND/NAME, not both"),
        (None, name) => (kind, name),
    };
    if name.is_some_and(|name| name.contains('/')) {
        bail!("no name has a `/`: write KIND/NAME, and name the namespace with -n");
    }
    let known = || {
        resource_types()
            .iter()
            .map(|resource| resource.plural.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let resource = resource_type(kind)
        .with_context(|| format!("there is no kind `{kind}` here; known are {}", known()))?;
    Ok((resource, name))
}

/// The one object that is meant.
pub(crate) fn one<'a>(
    kind: &'a str,
    name: Option<&'a str>,
) -> anyhow::Result<(&'static ResourceType, &'a str)> {
    let (resource, name) = target(kind, name)?;
    Ok((
        resource,
        name.with_context(|| format!("say which: {} NAME", resource.singular))?,
    ))
}

/// A table of objects, head first.
pub(crate) fn rows(
    resource: &ResourceType,
    items: &[Value],
    wide: bool,
    namespaces: bool,
) -> Vec<Vec<String>> {
    let now = Timestamp::now();
    let columns: Vec<_> = resource
        .columns
        .iter()
        .filter(|column| wide || !column.wide)
        .collect();
    let head = namespaces
        .then(|| "NAMESPACE".to_owned())
        .into_iter()
        .chain(["NAME".to_owned()]);
    let mut table = vec![
        head.chain(columns.iter().map(|column| column.name.to_uppercase()))
            .collect::<Vec<_>>(),
    ];
    for item in items {
        let text = |field: &str| {
            item["metadata"][field]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let fixed = namespaces
            .then(|| text("namespace"))
            .into_iter()
            .chain([text("name")]);
        let shown = columns.iter().map(|column| {
            let value = jsonpath::text(item, &column.path);
            let ending =
                column.name == "Status" && !item["metadata"]["deletionTimestamp"].is_null();
            match (ending, column.age) {
                (true, _) => "Terminating".to_owned(),
                (_, true) => age(&value, now),
                _ => value,
            }
        });
        table.push(fixed.chain(shown).collect());
    }
    table
}

/// A table as text.
pub(crate) fn lines(rows: &[Vec<String>]) -> String {
    align(rows).into_iter().map(|line| line + "\n").collect()
}

pub(crate) fn yaml(value: &Value) -> anyhow::Result<String> {
    let text = serde_saphyr::to_string(value)
        .map_err(|error| anyhow::anyhow!("cannot write YAML: {error}"))?;
    Ok(if text.ends_with('\n') {
        text
    } else {
        text + "\n"
    })
}

/// To standard output; a reader that has seen enough (`| head`) is no error.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to standard output"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_object_is_named_in_either_way() {
        assert_eq!(one("po/a", None).unwrap().1, "a");
        assert_eq!(one("pods", Some("a")).unwrap().0.kind, "Pod");
        assert!(one("po/a", Some("b")).is_err());
        assert!(
            one("pods", None)
                .unwrap_err()
                .to_string()
                .contains("pod NAME")
        );
        let unknown = one("nodes", Some("a")).err().unwrap().to_string();
        assert!(
            unknown.contains("nodes") && unknown.contains("pods"),
            "{unknown}"
        );
    }

    #[test]
    fn wide_tables_have_more_columns() {
        let pod = json!({
            "metadata": { "name": "a-0", "annotations": { "quorate.dev/pid": "42" } },
            "status": { "reason": "Running", "podIP": "127.1.2.3", "containerStatuses": [{ "ready": true, "restartCount": 3 }] },
        });
        let pods = resource_type("pods").unwrap();
        let narrow = rows(pods, std::slice::from_ref(&pod), false, false);
        assert_eq!(narrow[1][..4], ["a-0", "true", "Running", "3"]);
        let wide = rows(pods, &[pod], true, false);
        assert!(wide[1].contains(&"127.1.2.3".to_owned()) && wide[1].contains(&"42".to_owned()));
        assert!(wide[0].len() > narrow[0].len());
    }
}
