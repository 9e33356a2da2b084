//! `quorate apply`, `scale` and `delete`.

use std::time::{Duration, Instant};

use anyhow::ensure;
use quorate_local::{Control, ControlError, ResourceType, sort_of};
use serde_json::Value;

use crate::args::{ApplyArgs, DeleteArgs, ScaleArgs};
use crate::get::{one, target};
use crate::manifest;

/// So long a deletion goes without a word.
const PATIENCE: Duration = Duration::from_secs(3);

pub(crate) async fn apply(control: &Control, args: &ApplyArgs) -> anyhow::Result<()> {
    let documents = manifest::read(&args.files)?;
    // All are looked at before the first is sent.
    for document in &documents {
        sort_of(document)?;
    }
    for document in &documents {
        let kind = &sort_of(document)?.singular;
        let name = document["metadata"]["name"].as_str().unwrap_or_default();
        let (applied, _) = control
            .apply(document)
            .await
            .map_err(|error| anyhow::anyhow!("{kind}/{name}: {error}"))?;
        println!("{kind}/{name} {}", format!("{applied:?}").to_lowercase());
    }
    Ok(())
}

pub(crate) async fn scale(control: &Control, args: &ScaleArgs) -> anyhow::Result<()> {
    let (resource, name) = one(&args.kind, args.name.as_deref())?;
    control
        .scale(resource, &args.namespace, name, args.replicas)
        .await?;
    println!("{}/{name} scaled", resource.singular);
    Ok(())
}

pub(crate) async fn delete(control: &Control, args: &DeleteArgs) -> anyhow::Result<()> {
    let (resource, inline) = target(&args.kind, None)?;
    ensure!(
        inline.is_none() || args.names.is_empty(),
        "write KIND NAME or KIND/NAME, not both"
    );
    let names: Vec<&str> = inline
        .into_iter()
        .chain(args.names.iter().map(String::as_str))
        .collect();
    ensure!(!names.is_empty(), "say which: {} NAME", resource.singular);
    for name in names {
        let before = control
            .get(resource, Some(&args.namespace), Some(name))
            .await?;
        control.delete(resource, &args.namespace, name).await?;
        if !args.no_wait {
            gone(control, resource, &args.namespace, &before).await?;
        }
        println!("{}/{name} deleted", resource.singular);
    }
    Ok(())
}

/// Waits until this very object is there no more.
async fn gone(
    control: &Control,
    resource: &ResourceType,
    namespace: &str,
    object: &Value,
) -> anyhow::Result<()> {
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
            Err(error) => return Err(error.into()),
        }
    }
}
