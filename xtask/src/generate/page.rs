//! The reference page of a kind, from its CRD.

use std::fmt::Write;

use anyhow::{Context, Result};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion, JSONSchemaProps,
    JSONSchemaPropsOrArray,
};

/// The page, in Markdown.
pub fn of(crd: &CustomResourceDefinition, mark: &str) -> Result<String> {
    let mut page = String::new();
    let names = &crd.spec.names;
    let version = crd.spec.versions.first().context("a CRD has a version")?;
    let schema = version
        .schema
        .as_ref()
        .and_then(|schema| schema.open_api_v3_schema.as_ref())
        .context("a CRD has a schema")?;
    let short = names
        .short_names
        .iter()
        .flatten()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ");
    writeln!(page, "<!-- {mark} -->\n# {}\n", names.kind)?;
    writeln!(
        page,
        "{}\n",
        schema.description.as_deref().unwrap_or_default()
    )?;
    writeln!(
        page,
        "`apiVersion: {}/{}`, plural `{}`, short {short}.\n",
        crd.spec.group, version.name, names.plural
    )?;
    columns(&mut page, version)?;
    for (part, title) in [("spec", "Spec"), ("status", "Status")] {
        let part_schema = schema
            .properties
            .iter()
            .flatten()
            .find(|(name, _)| *name == part)
            .map(|(_, schema)| schema);
        let part_schema = part_schema.with_context(|| format!("a CRD has a {part}"))?;
        let mut rows = Vec::new();
        fields(part, part_schema, &mut rows);
        writeln!(
            page,
            "## {title}\n\n| field | type | default | |\n|---|---|---|---|"
        )?;
        for row in &rows {
            writeln!(page, "{row}")?;
        }
        writeln!(page)?;
    }
    rules(&mut page, schema)?;
    overrides(&mut page)?;
    Ok(page)
}

fn columns(page: &mut String, version: &CustomResourceDefinitionVersion) -> Result<()> {
    let column = |wide: bool| {
        let columns = version.additional_printer_columns.iter().flatten();
        columns
            .filter(|column| column.priority.is_some_and(|priority| priority > 0) == wide)
            .map(|column| column.name.clone())
            .collect::<Vec<_>>()
            .join(", ")
    };
    writeln!(
        page,
        "Columns: {}; with `-o wide` also {}.\n",
        column(false),
        column(true)
    )?;
    Ok(())
}

/// A row per field, parents before children.
fn fields(path: &str, schema: &JSONSchemaProps, rows: &mut Vec<String>) {
    let mut properties: Vec<_> = schema.properties.iter().flatten().collect();
    properties.sort_by_key(|(name, _)| *name);
    for (name, property) in properties {
        let path = format!("{path}.{name}");
        let required = schema
            .required
            .iter()
            .flatten()
            .any(|required| required == name);
        let children = property.properties.is_some();
        let default = match &property.default {
            // Of an object the fields say it.
            Some(default) if !children => format!("`{}`", default.0),
            None if required => "required".into(),
            _ => String::new(),
        };
        rows.push(format!(
            "| `{path}` | {} | {default} | {} |",
            type_of(property),
            describe(property)
        ));
        fields(&path, property, rows);
        if let Some(JSONSchemaPropsOrArray::Schema(item)) = &property.items {
            fields(&format!("{path}[]"), item, rows);
        }
    }
}

fn type_of(schema: &JSONSchemaProps) -> String {
    if let Some(values) = &schema.enum_ {
        let values = values.iter().filter_map(|value| value.0.as_str());
        return values.collect::<Vec<_>>().join(" \\| ");
    }
    if schema.x_kubernetes_int_or_string == Some(true) {
        return "quantity".into();
    }
    let item = match &schema.items {
        Some(JSONSchemaPropsOrArray::Schema(item)) => Some(type_of(item)),
        _ => None,
    };
    let name = schema.type_.as_deref().unwrap_or("any");
    match (name, item) {
        ("array", Some(item)) => format!("list of {item}"),
        ("object", _) if schema.additional_properties.is_some() => "map".into(),
        _ => name.into(),
    }
}

/// The description on one line, with the bounds that the schema itself sets.
fn describe(schema: &JSONSchemaProps) -> String {
    let text = schema.description.as_deref().unwrap_or_default();
    let mut text = text
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|");
    let bounds = [("at least", schema.minimum), ("at most", schema.maximum)];
    let bounds: Vec<_> = bounds
        .iter()
        .filter_map(|(word, bound)| bound.map(|bound| format!("{word} {bound}")))
        .collect();
    if !bounds.is_empty() {
        let _ = write!(text, " ({})", bounds.join(", "));
    }
    text
}

/// The rules of the schema, in the words that a refusal has.
fn rules(page: &mut String, schema: &JSONSchemaProps) -> Result<()> {
    let (mut always, mut changes) = (Vec::new(), Vec::new());
    collect(schema, &mut always, &mut changes);
    for (title, rules) in [("Rules", always), ("What cannot change", changes)] {
        writeln!(page, "## {title}\n")?;
        for rule in rules {
            writeln!(page, "- {rule}")?;
        }
        writeln!(page)?;
    }
    Ok(())
}

fn collect(schema: &JSONSchemaProps, always: &mut Vec<String>, changes: &mut Vec<String>) {
    for rule in schema.x_kubernetes_validations.iter().flatten() {
        let rules = if rule.rule.contains("oldSelf") {
            &mut *changes
        } else {
            &mut *always
        };
        rules.push(rule.message.clone().unwrap_or_else(|| rule.rule.clone()));
    }
    let mut properties: Vec<_> = schema.properties.iter().flatten().collect();
    properties.sort_by_key(|(name, _)| *name);
    for (_, property) in properties {
        collect(property, always, changes);
        if let Some(JSONSchemaPropsOrArray::Schema(item)) = &property.items {
            collect(item, always, changes);
        }
    }
}

fn overrides(page: &mut String) -> Result<()> {
    writeln!(
        page,
        "## What podOverrides must leave alone\n\n| path | why |\n|---|---|"
    )?;
    for (path, reason) in quorate_plan::FORBIDDEN_OVERRIDES {
        writeln!(page, "| `{}` | {reason} |", path.join("."))?;
    }
    Ok(())
}
