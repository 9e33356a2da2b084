//! What is common to the reports of all kinds: the part of the status that an observation tells whatever the spec is.

use k8s_openapi::api::core::v1::Pod;
use quorate_api::{Endpoints, Status};

use super::census::{Census, is_ready};

/// Writes it into the status, of the pools of a resource, the first of which is the one that scales. `secure`: clients come
/// over TLS.
pub fn report(pools: &[&Census<'_>], secure: bool, status: &mut Status) {
    let documents = || pools.iter().flat_map(|pool| pool.documents());
    let members = pools.iter().flat_map(|pool| pool.members.values());
    let pods = members.filter_map(|member| member.pod);
    status.endpoints = Endpoints {
        client: pods.filter_map(|pod| client_url(pod, secure)).collect(),
    };
    if let Some(first) = pools.first() {
        // What `kubectl get` shows side by side is of one observation.
        status.replicas = first.count_pods(|_| true);
        status.ready_replicas = first.count_pods(is_ready);
    }
    status.current_version = documents()
        .map(|document| document.version.clone())
        .min_by_key(|version| numbers(version));
    status.insecure = documents().any(|document| document.insecure);
}

/// Where any program that can reach the pod's address finds its client listener.
fn client_url(pod: &Pod, secure: bool) -> Option<String> {
    let address = pod
        .status
        .as_ref()?
        .pod_ip
        .as_deref()
        .filter(|_| pod.metadata.deletion_timestamp.is_none())?;
    let containers = &pod.spec.as_ref()?.containers;
    let mut ports = containers
        .iter()
        .flat_map(|container| container.ports.iter().flatten());
    let port = ports
        .find(|port| port.name.as_deref() == Some("client"))?
        .container_port;
    let scheme = if secure { "https" } else { "http" };
    let host = if address.contains(':') {
        format!("[{address}]")
    } else {
        address.to_owned()
    };
    Some(format!("{scheme}://{host}:{port}"))
}

/// The numbers in a version, to compare by.
fn numbers(version: &str) -> Vec<u64> {
    version
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}
