//! What people are told to try.

use kube::ResourceExt;
use quorate_api::RaftCluster;

use super::{POOL, RaftClusters};
use crate::Kind;
use crate::common::identity::set_name;
use crate::pool::build::CLIENT;

/// A write and a read, by curl.
pub(super) fn try_next(resource: &RaftCluster, endpoint: &str) -> Vec<String> {
    let plain = ("curl".to_owned(), endpoint.to_owned());
    let (curl, url) = with_names(resource, endpoint).unwrap_or(plain);
    vec![
        format!("{curl} -X PUT --data 'hello' {url}/kv/greeting"),
        format!("{curl} {url}/kv/greeting"),
    ]
}

/// The certificate has names, the endpoint an address: curl opens the one and verifies the other.
fn with_names(resource: &RaftCluster, endpoint: &str) -> Option<(String, String)> {
    let (address, port) = endpoint.strip_prefix("https://")?.rsplit_once(':')?;
    let (name, namespace) = (resource.name_any(), resource.namespace()?);
    let set = set_name(&name, RaftClusters::NAMES, POOL);
    Some((
        format!("curl --cacert ca.crt --connect-to ::{address}:"),
        format!("https://{set}{CLIENT}.{namespace}.svc:{port}"),
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(spec: serde_json::Value, endpoint: &str) -> Vec<String> {
        let resource = json!({
            "apiVersion": "quorate.dev/v1alpha1", "kind": "RaftCluster",
            "metadata": { "name": "a", "namespace": "n" }, "spec": spec,
        });
        try_next(&serde_json::from_value(resource).unwrap(), endpoint)
    }

    #[test]
    fn what_is_told_can_be_copied() {
        assert_eq!(
            of(json!({}), "http://127.0.0.2:7070"),
            [
                "curl -X PUT --data 'hello' http://127.0.0.2:7070/kv/greeting",
                "curl http://127.0.0.2:7070/kv/greeting",
            ]
        );
        let secured = of(
            json!({ "tls": { "secretName": "s" } }),
            "https://127.0.0.2:7070",
        );
        assert_eq!(
            secured[1],
            "curl --cacert ca.crt --connect-to ::127.0.0.2: https://a-rcl-client.n.svc:7070/kv/greeting"
        );
    }
}
