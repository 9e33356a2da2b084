//! Volumes that grow under a running group.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use quorate_world::Load;
use serde_json::{Value, json};

use crate::cluster::wait;
use crate::demo::{Demo, kill_operators};

/// The cluster's default.
const CLASS: &str = "quorate";

/// Where the class does not expand, the API server's own words are told. Where it does: claims first, then the
/// StatefulSet, around pods that notice nothing; with whichever operator works killed three times.
pub fn volumes_grow(demo: &Demo<'_>, load: &Load) -> Result<()> {
    let before = demo.members()?;
    let set = demo.cluster.get(&["statefulset", demo.name])?;
    demo.window(
        load,
        "volumes grown, the operator killed three times",
        || {
            expand(demo, false)?;
            demo.patch(&json!({ "storage": { "size": "12Gi" } }))?;
            println!("{}", demo.wait_degraded("RequestDenied", "data-demo-0")?);
            let table = demo.cluster.kubectl(&["get", "raftcluster", demo.name])?;
            ensure!(table.contains("RequestDenied"), "{table}");
            expand(demo, true)?;
            kill_operators(demo)?;
            wait("the StatefulSet was made anew at the size", || {
                let now = demo.cluster.get(&["statefulset", demo.name])?;
                let template = &now["spec"]["volumeClaimTemplates"][0]["spec"];
                ensure!(
                    template["resources"]["requests"]["storage"] == "12Gi",
                    "{template}"
                );
                Ok((now["metadata"]["uid"] != set["metadata"]["uid"]).then_some(()))
            })?;
            demo.wait_ready()
        },
    )?;
    let sizes = sizes(demo)?;
    let grown = before.keys().all(|pod| {
        sizes
            .get(&format!("data-{pod}"))
            .is_some_and(|size| size == "12Gi")
    });
    ensure!(grown, "{sizes:?}");
    let after = demo.members()?;
    ensure!(before == after, "pods were touched: {before:?} {after:?}");
    wait("the pods belong to the new StatefulSet alone", || {
        let pods = demo.cluster.get(&["pods", "-l", &demo.selector()])?;
        let mut pods = pods["items"].as_array().context("items")?.iter();
        let adopted = pods.all(|pod| {
            let owners = pod["metadata"]["ownerReferences"].as_array();
            let kinds = owners.into_iter().flatten().map(|owner| &owner["kind"]);
            kinds.eq(["StatefulSet"])
        });
        Ok(adopted.then_some(()))
    })
}

/// Says whether volumes of the default class can grow.
fn expand(demo: &Demo<'_>, allows: bool) -> Result<()> {
    let patch = json!({ "allowVolumeExpansion": allows }).to_string();
    let patched = ["patch", "storageclass", CLASS, "--type=merge", "-p", &patch];
    demo.cluster.kubectl(&patched).map(drop)
}

/// How large the claims' volumes are.
fn sizes(demo: &Demo<'_>) -> Result<BTreeMap<String, String>> {
    let claims = demo.cluster.get(&["pvc", "-l", &demo.selector()])?;
    let claims = claims["items"].as_array().context("items")?.iter();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(claims
        .map(|claim| {
            (
                text(&claim["metadata"]["name"]),
                text(&claim["status"]["capacity"]["storage"]),
            )
        })
        .collect())
}
