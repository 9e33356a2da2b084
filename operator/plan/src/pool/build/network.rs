//! Who may talk to whom.

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::Env;
use crate::common::identity::matching;
use crate::pool::{Audience, Pool};

/// The operator's pods, and the label by which Kubernetes itself names a namespace.
const OPERATOR: [(&str, &str); 1] = [("app.kubernetes.io/name", "quorate-operator")];
const NAMESPACE: &str = "kubernetes.io/metadata.name";

/// Clients and the kubelet come from anywhere; peers are members of the resource only; the admin listener is for the
/// operator and for members. It is the second lock beside certificates, and the only one without them.
pub(super) fn policy(pool: &Pool, env: &Env) -> NetworkPolicy {
    let members = NetworkPolicyPeer {
        pod_selector: Some(matching(pool.identity.all())),
        ..NetworkPolicyPeer::default()
    };
    let admin = env
        .operator_namespace
        .as_ref()
        .map(|namespace| vec![members.clone(), operator(namespace)]);
    let rules = [
        (&[Audience::Clients, Audience::Kubelet][..], None),
        (&[Audience::Members], Some(vec![members])),
        (&[Audience::Operator], admin),
    ];
    let rules = rules.into_iter().filter_map(|(audiences, from)| {
        let ports = pool.program.ports.iter();
        let ports: Vec<_> = ports
            .filter(|port| audiences.contains(&port.audience))
            .map(|port| port.name)
            .collect();
        (!ports.is_empty()).then(|| allow(&ports, from))
    });
    NetworkPolicy {
        metadata: pool.meta(""),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(matching(pool.selector())),
            policy_types: Some(vec!["Ingress".into()]),
            ingress: Some(rules.collect()),
            egress: None,
        }),
    }
}

fn operator(namespace: &str) -> NetworkPolicyPeer {
    let labels = |pairs: &[(&str, &str)]| {
        matching(
            pairs
                .iter()
                .map(|(key, value)| ((*key).into(), (*value).into()))
                .collect(),
        )
    };
    NetworkPolicyPeer {
        namespace_selector: Some(labels(&[(NAMESPACE, namespace)])),
        pod_selector: Some(labels(&OPERATOR)),
        ip_block: None,
    }
}

fn allow(ports: &[&str], from: Option<Vec<NetworkPolicyPeer>>) -> NetworkPolicyIngressRule {
    let port = |name: &&str| NetworkPolicyPort {
        port: Some(IntOrString::String((*name).into())),
        protocol: Some("TCP".into()),
        end_port: None,
    };
    NetworkPolicyIngressRule {
        ports: Some(ports.iter().map(port).collect()),
        from,
    }
}
