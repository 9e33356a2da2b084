//! What a host reads of a member's pod to reach it.

use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::core::v1::Pod;

/// Where a pod's health listener is, once the pod has an address.
pub fn health_address(pod: &Pod) -> Option<SocketAddr> {
    let address: IpAddr = pod.status.as_ref()?.pod_ip.as_deref()?.parse().ok()?;
    Some(SocketAddr::new(address, named_port(pod, "health")?))
}

/// The number of a pod's port of this name.
fn named_port(pod: &Pod, name: &str) -> Option<u16> {
    let ports = pod.spec.as_ref()?.containers.first()?.ports.as_deref()?;
    let port = ports
        .iter()
        .find(|port| port.name.as_deref() == Some(name))?;
    u16::try_from(port.container_port).ok()
}

/// Where a pod's admin listener is, by the name that its certificate has, as HOST:PORT.
pub fn admin_address(pod: &Pod, cluster_domain: &str) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let (host, service) = (spec.hostname.as_deref()?, spec.subdomain.as_deref()?);
    let namespace = pod.metadata.namespace.as_deref()?;
    let port = named_port(pod, "admin")?;
    Some(format!(
        "{host}.{service}.{namespace}.svc.{cluster_domain}:{port}"
    ))
}
