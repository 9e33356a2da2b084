//! What a user may get wrong.

use anyhow::{Result, ensure};
use serde_json::json;

use crate::cluster::Cluster;
use crate::demo::Demo;

/// What a user may get wrong, each said in words, and the first of them at a glance.
pub fn what_keeps_pods_from_running_is_told(cluster: &Cluster) -> Result<()> {
    let cluster = &cluster.make("mistakes")?;
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "few" },
        "spec": { "hard": { "pods": "1" } },
    });
    let garbage = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "garbage" },
        "stringData": { "tls.crt": "none", "tls.key": "none", "ca.crt": "none" },
    });
    cluster.apply(&quota)?;
    cluster.apply(&garbage)?;
    let tls = |secret: &str| json!({ "members": 1, "tls": { "secretName": secret } });
    let classless = json!({ "members": 1, "storage": { "storageClassName": "missing" } });
    for (name, spec, reason, words) in [
        (
            "denied",
            json!({ "members": 3 }),
            "PodDenied",
            "exceeded quota: few",
        ),
        (
            "classless",
            classless,
            "ClaimUnbound",
            "data-classless-rcl-0",
        ),
        (
            "secretless",
            tls("nowhere"),
            "BadCertificates",
            "there is no Secret `nowhere`",
        ),
        (
            "garbled",
            tls("garbage"),
            "PodNotStarting",
            "holds no certificate",
        ),
    ] {
        let resource = json!({
            "apiVersion": "quorate.dev/v1alpha1", "kind": "RaftCluster", "metadata": { "name": name }, "spec": spec,
        });
        cluster.apply(&resource)?;
        let resource = Demo {
            cluster: cluster.clone(),
            name,
        };
        let told = resource.wait_degraded(reason, words)?;
        println!("{name}: {told}");
        let table = cluster.kubectl(&["get", "raftcluster", name])?;
        ensure!(table.contains(reason), "{table}");
        cluster.kubectl(&["delete", "raftcluster", name])?;
        cluster.kubectl(&["delete", "resourcequota", "few", "--ignore-not-found"])?;
    }
    cluster.kubectl(&["delete", "secret", "garbage"]).map(drop)
}
