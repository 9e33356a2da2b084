//! Who may talk to whom.

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{MEMBER, ValidRaftCluster};
use crate::Env;
use crate::common::identity::matching;

/// The operator's pods, and the label by which Kubernetes itself names a namespace.
const OPERATOR: [(&str, &str); 1] = [("app.kubernetes.io/name", "quorate-operator")];
const NAMESPACE: &str = "kubernetes.io/metadata.name";

/// Clients and the kubelet come from anywhere; peers are members only; the admin listener is for the operator and for
/// members. It is the second lock beside certificates, and the only one without them.
pub(super) fn policy(valid: &ValidRaftCluster, env: &Env) -> NetworkPolicy {
    let members = NetworkPolicyPeer {
        pod_selector: Some(matching(valid.identity.selector(MEMBER))),
        ..NetworkPolicyPeer::default()
    };
    let admin = env
        .operator_namespace
        .as_ref()
        .map(|namespace| vec![members.clone(), operator(namespace)]);
    NetworkPolicy {
        metadata: valid.identity.meta("", MEMBER),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(matching(valid.identity.selector(MEMBER))),
            policy_types: Some(vec!["Ingress".into()]),
            ingress: Some(vec![
                allow(&["client", "health"], None),
                allow(&["peer"], Some(vec![members])),
                allow(&["admin"], admin),
            ]),
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
