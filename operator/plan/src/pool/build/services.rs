//! The two Services: one that peers find each other by, one for clients.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use quorate_api::ServiceType;

use crate::Env;
use crate::common::identity::Identity;
use crate::pool::{Audience, Pool, PoolName};

/// The suffix of the headless Service, which is the domain of the members' names.
pub(crate) const PEERS: &str = "-peers";
/// What the name of the Service for clients adds to the StatefulSet's.
pub(crate) const CLIENT: &str = "-client";

/// The names of the Service for clients, from the shortest to the whole.
pub(crate) fn client_names(identity: &Identity, pool: PoolName, env: &Env) -> Vec<String> {
    let (set, namespace) = (identity.set(pool), identity.namespace());
    let domain = &env.cluster_domain;
    let ends = [
        String::new(),
        format!(".{namespace}"),
        format!(".{namespace}.svc"),
        format!(".{namespace}.svc.{domain}"),
    ];
    ends.map(|end| format!("{set}{CLIENT}{end}")).into()
}

/// A name per member. Names of members that are not ready are published too: a group that has yet to elect a leader
/// is not ready, and could never become so if its members did not find each other.
pub(super) fn peers(pool: &Pool) -> Service {
    let spec = ServiceSpec {
        cluster_ip: Some("None".into()),
        publish_not_ready_addresses: Some(true),
        selector: Some(pool.selector()),
        ports: Some(ports(pool, |audience| audience != Audience::Clients)),
        ..ServiceSpec::default()
    };
    Service {
        metadata: pool.meta(PEERS),
        spec: Some(spec),
        status: None,
    }
}

/// Any Ready member serves any request. None of a pool that serves no clients.
pub(super) fn client(pool: &Pool) -> Option<Service> {
    let ports = ports(pool, |audience| audience == Audience::Clients);
    let mut metadata = pool.meta(CLIENT);
    metadata.annotations =
        (!pool.service.annotations.is_empty()).then(|| pool.service.annotations.clone());
    let type_ = match pool.service.type_ {
        ServiceType::ClusterIP => "ClusterIP",
        ServiceType::NodePort => "NodePort",
        ServiceType::LoadBalancer => "LoadBalancer",
    };
    let spec = ServiceSpec {
        type_: Some(type_.into()),
        selector: Some(pool.selector()),
        ports: Some(ports).filter(|ports| !ports.is_empty()),
        ..ServiceSpec::default()
    };
    spec.ports.is_some().then_some(Service {
        metadata,
        spec: Some(spec),
        status: None,
    })
}

fn ports(pool: &Pool, is_meant: impl Fn(Audience) -> bool) -> Vec<ServicePort> {
    let ports = pool.program.ports.iter();
    ports
        .filter(|port| is_meant(port.audience))
        .map(|port| service_port(port.name, port.number))
        .collect()
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
