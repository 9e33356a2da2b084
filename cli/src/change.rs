//! `quorate apply`, `scale` and `delete`.

use std::time::{Duration, Instant};

use anyhow::ensure;
use quorate_local::{Control, ControlError, Difference, ResourceType, resource_type, sort_of};
use serde_json::Value;

use crate::args::{ApplyArgs, DeleteArgs, ScaleArgs};
use crate::get::{one, target};
use crate::manifest;
use crate::tally::Tally;

/// So long a deletion goes without a word.
const PATIENCE: Duration = Duration::from_secs(3);

pub(crate) async fn apply(control: &Control, args: &ApplyArgs) -> anyhow::Result<()> {
    let manifest = manifest::read(&args.files);
    let mut tally = Tally::of(manifest.documents.len() + manifest.faults.len());
    manifest
        .faults
        .into_iter()
        .for_each(|words| tally.fault(words));
    for document in &manifest.documents {
        let label = label(document);
        match control.apply(document).await {
            Ok((applied, difference)) => {
                println!("{label} {}", format!("{applied:?}").to_lowercase());
                tell(&difference);
            }
            Err(error @ ControlError::NothingRuns(_)) => return Err(error.into()),
            Err(error) => tally.fault(format!("{label}: {error}")),
        }
    }
    tally.end("applied")
}

/// KIND/NAME of a document.
fn label(document: &Value) -> String {
    let kind = document["kind"].as_str().unwrap_or_default();
    let kind = resource_type(kind).map_or(kind, |resource| resource.singular.as_str());
    let name = document["metadata"]["name"].as_str().unwrap_or("?");
    format!("{kind}/{name}")
}

/// Prints what changed; what will be missed, to standard error.
fn tell(difference: &Difference) {
    for field in &difference.fields {
        println!("  {field}");
    }
    for words in &difference.warnings {
        eprintln!("Warning: {words}");
    }
}

pub(crate) async fn scale(control: &Control, args: &ScaleArgs) -> anyhow::Result<()> {
    let (resource, name) = one(&args.kind, args.name.as_deref())?;
    let difference = control
        .scale(resource, &args.namespace, name, args.replicas)
        .await?;
    println!("{}/{name} scaled", resource.singular);
    tell(&difference);
    Ok(())
}

pub(crate) async fn delete(control: &Control, args: &DeleteArgs) -> anyhow::Result<()> {
    let manifest = manifest::read(&args.files);
    let mut targets = Vec::new();
    if let Some(kind) = &args.kind {
        let (resource, inline) = target(kind, None)?;
        ensure!(
            inline.is_none() || args.names.is_empty(),
            "write KIND NAME or KIND/NAME, not both"
        );
        let names = inline
            .into_iter()
            .chain(args.names.iter().map(String::as_str));
        targets.extend(names.map(|name| (resource, args.namespace.as_str(), name)));
        ensure!(!targets.is_empty(), "say which: {} NAME", resource.singular);
    }
    let mut tally = Tally::of(targets.len() + manifest.documents.len() + manifest.faults.len());
    manifest
        .faults
        .into_iter()
        .for_each(|words| tally.fault(words));
    for document in &manifest.documents {
        let metadata = &document["metadata"];
        let namespace = metadata["namespace"].as_str().unwrap_or(&args.namespace);
        match (sort_of(document), metadata["name"].as_str()) {
            (Ok(resource), Some(name)) => targets.push((resource, namespace, name)),
            (Ok(_), None) => tally.fault(format!("{}: metadata.name is missing", label(document))),
            (Err(error), _) => tally.fault(format!("{}: {error}", label(document))),
        }
    }
    for (resource, namespace, name) in targets {
        match delete_one(control, resource, namespace, name, !args.no_wait).await {
            Ok(()) => println!("{}/{name} deleted", resource.singular),
            Err(error @ ControlError::NothingRuns(_)) => return Err(error.into()),
            Err(error) => tally.fault(format!("{}/{name}: {error}", resource.singular)),
        }
    }
    tally.end("deleted")
}

async fn delete_one(
    control: &Control,
    resource: &ResourceType,
    namespace: &str,
    name: &str,
    wait: bool,
) -> Result<(), ControlError> {
    let before = control.get(resource, Some(namespace), Some(name)).await?;
    control.delete(resource, namespace, name).await?;
    if wait {
        gone(control, resource, namespace, &before).await?;
    }
    Ok(())
}

/// Waits until this very object is there no more.
async fn gone(
    control: &Control,
    resource: &ResourceType,
    namespace: &str,
    object: &Value,
) -> Result<(), ControlError> {
    let name = object["metadata"]["name"].as_str();
    let (begun, mut told) = (Instant::now(), false);
    loop {
        if !told && begun.elapsed() > PATIENCE {
            told = true;
            eprintln!(
                "waiting for the end of what uses it: a claim goes, with its data, when its pod goes (Ctrl-C ends the waiting alone)"
            );
        }
        match control.get(resource, Some(namespace), name).await {
            Ok(now) if now["metadata"]["uid"] == object["metadata"]["uid"] => {
                tokio::time::sleep(Duration::from_millis(100)).await
            }
            Ok(_) | Err(ControlError::Refused { code: 404, .. }) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
