//! What the members are and say of themselves: the part of the status that an observation tells whatever the spec is.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use quorate_api::{Endpoints, Member as MemberReport, RaftCluster, RaftClusterStatus};
use quorate_wire::MemberState;

use super::census::{Lead, Member, count_pods, is_ready};

/// Writes it into the status.
pub(super) fn report(
    resource: &RaftCluster,
    members: &BTreeMap<i32, Member<'_>>,
    lead: Option<&Lead<'_>>,
    status: &mut RaftClusterStatus,
) {
    let name = resource.metadata.name.as_deref().unwrap_or_default();
    let pod_name = |ordinal: i32| format!("{name}-{ordinal}");
    let documents = || members.values().filter_map(|member| member.status);
    let pods = members.values().filter_map(|member| member.pod);
    let there = members.values().filter(|member| member.pod.is_some());
    status.members = there
        .map(|member| of_member(pod_name(member.ordinal), member, lead))
        .collect();
    status.leader = lead.map(|lead| pod_name(lead.ordinal));
    status.term = lead.map(|lead| saturating(lead.term));
    status.endpoints = Endpoints {
        client: pods.filter_map(|pod| client_url(resource, pod)).collect(),
    };
    // What `kubectl get` shows side by side is of one observation.
    status.replicas = count_pods(members, |_| true);
    status.ready_replicas = count_pods(members, is_ready);
    status.current_version = documents()
        .map(|document| document.version.clone())
        .min_by_key(|version| numbers(version));
    status.insecure = documents().any(|document| document.insecure);
}

fn of_member(name: String, member: &Member<'_>, lead: Option<&Lead<'_>>) -> MemberReport {
    let mut configured = lead
        .into_iter()
        .flat_map(|lead| &lead.configuration.members);
    let configured = configured.find(|configured| Some(configured.id.as_str()) == member.id());
    let group = member.group();
    let role = match (member.state(), group) {
        (Some(MemberState::Running), Some(group)) => format!("{:?}", group.role),
        (Some(state), _) => format!("{state:?}"),
        (None, _) => "Unreachable".to_owned(),
    };
    MemberReport {
        name,
        incarnation: member.id().map(str::to_owned),
        role,
        term: group.map(|group| saturating(group.term)),
        match_index: configured
            .and_then(|configured| configured.match_index)
            .map(saturating),
        applied: group.map(|group| saturating(group.applied)),
        lag: group.map(|group| saturating(group.commit.saturating_sub(group.applied))),
        version: member.status.map(|status| status.version.clone()),
        ready: member.status.is_some_and(|status| status.ready),
    }
}

/// Where any program that can reach the pod's address finds its client listener.
fn client_url(resource: &RaftCluster, pod: &Pod) -> Option<String> {
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
    let scheme = if resource.spec.tls.is_some() {
        "https"
    } else {
        "http"
    };
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

fn saturating(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
