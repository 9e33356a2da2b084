//! The two Services: one that peers find each other by, one for clients.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use quorate_api::ServiceType;

use super::{MEMBER, ValidRaftCluster, port};
use crate::Env;

/// The suffix of the headless Service, which is the domain of the members' names.
pub(super) const PEERS: &str = "-peers";
/// What the name of the Service for clients adds to the resource's.
pub(in crate::kind::raft_cluster) const CLIENT: &str = "-client";

/// A name per member. Names of members that are not ready are published too: a group that has yet to elect a leader
/// is not ready, and could never become so if its members did not find each other.
pub(super) fn peers(valid: &ValidRaftCluster) -> Service {
    let spec = ServiceSpec {
        cluster_ip: Some("None".into()),
        publish_not_ready_addresses: Some(true),
        selector: Some(valid.identity.selector(MEMBER)),
        ports: Some(vec![
            service_port("peer", port::PEER),
            service_port("admin", port::ADMIN),
            service_port("health", port::HEALTH),
        ]),
        ..ServiceSpec::default()
    };
    Service {
        metadata: valid.identity.meta(PEERS, MEMBER),
        spec: Some(spec),
        status: None,
    }
}

/// Where the peers of this pod find it: by name, since its IP is another one after every restart.
pub(in crate::kind::raft_cluster) fn peer_address(
    valid: &ValidRaftCluster,
    env: &Env,
    pod: &str,
) -> String {
    let (name, namespace) = (valid.identity.name(), valid.identity.namespace());
    format!(
        "{pod}.{name}{PEERS}.{namespace}.svc.{}:{}",
        env.cluster_domain,
        port::PEER
    )
}

/// Any Ready member serves any request.
pub(super) fn client(valid: &ValidRaftCluster) -> Service {
    let mut metadata = valid.identity.meta(CLIENT, MEMBER);
    metadata.annotations =
        (!valid.service.annotations.is_empty()).then(|| valid.service.annotations.clone());
    let type_ = match valid.service.type_ {
        ServiceType::ClusterIP => "ClusterIP",
        ServiceType::NodePort => "NodePort",
        ServiceType::LoadBalancer => "LoadBalancer",
    };
    let spec = ServiceSpec {
        type_: Some(type_.into()),
        selector: Some(valid.identity.selector(MEMBER)),
        ports: Some(vec![service_port("client", port::CLIENT)]),
        ..ServiceSpec::default()
    };
    Service {
        metadata,
        spec: Some(spec),
        status: None,
    }
}

fn service_port(name: &str, port: i32) -> ServicePort {
    ServicePort {
        name: Some(name.into()),
        port,
        // By name, so that it is the pod that says which number that is.
        target_port: Some(IntOrString::String(name.into())),
        protocol: Some("TCP".into()),
        ..ServicePort::default()
    }
}
