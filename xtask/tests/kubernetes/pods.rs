//! Pods, as those who share a fault compare them.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::cluster::Cluster;

/// A pod, with where it runs and what.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    pub pod: String,
    pub uid: String,
    pub node: String,
    pub address: String,
    /// Of the container, once there is one.
    pub container: String,
    pub image: String,
}

/// By name.
pub fn pods(cluster: &Cluster, selector: &str) -> Result<BTreeMap<String, Member>> {
    let pods = cluster.get(&["pods", "-l", selector])?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let pods = pods["items"].as_array().context("items")?.iter();
    let member = |pod: &Value| Member {
        pod: text(&pod["metadata"]["name"]),
        uid: text(&pod["metadata"]["uid"]),
        node: text(&pod["spec"]["nodeName"]),
        address: text(&pod["status"]["podIP"]),
        container: text(&pod["status"]["containerStatuses"][0]["containerID"]),
        image: text(&pod["spec"]["containers"][0]["image"]),
    };
    Ok(pods
        .map(member)
        .map(|member| (member.pod.clone(), member))
        .collect())
}

/// The process of a container, by how its pod names the program and by a variable of its own.
pub fn process(program: &str, variable: &str) -> Result<Option<i32>> {
    let (program, variable) = (format!("{program}\0"), format!("{variable}\0"));
    for entry in std::fs::read_dir("/proc")? {
        let folder = entry?.path();
        let Ok(command) = std::fs::read(folder.join("cmdline")) else {
            continue;
        };
        let environment = std::fs::read(folder.join("environ")).unwrap_or_default();
        let is_it = command.starts_with(program.as_bytes())
            && String::from_utf8_lossy(&environment).contains(&variable);
        if is_it {
            let pid = folder.file_name().and_then(|name| name.to_str());
            return Ok(Some(pid.context("a number")?.parse()?));
        }
    }
    Ok(None)
}
