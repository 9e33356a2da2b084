//! A StatefulSet that is none of ours: it shows what the cluster itself does, and bears the faults that all bear.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::cluster::{Cluster, wait};
use crate::images::restricted;
use crate::install::Tier;
use crate::pods::{Member, pods};
use crate::tenants::{Inject, Tenant};

const NAMESPACE: &str = "web";
const DNS: (Ipv4Addr, u16) = (Ipv4Addr::new(198, 18, 255, 1), 53);

pub struct Web(Cluster);

impl Web {
    pub fn make(cluster: &Cluster) -> Result<Self> {
        let it = Self(cluster.make(NAMESPACE)?);
        it.0.apply(&objects())?;
        Ok(it)
    }

    pub fn runs_in_every_zone_with_names_and_volumes(&self) -> Result<()> {
        self.wait_ready()?;
        let pods = self.pods()?;
        let nodes: BTreeSet<_> = pods.values().map(|pod| pod.node.as_str()).collect();
        ensure!(nodes.len() == 3, "a pod in each zone: {pods:?}");
        for pod in pods.values() {
            let name = format!("{}.web.{NAMESPACE}.svc.cluster.local", pod.pod);
            wait(&name, || {
                Ok(resolve(&name)?.filter(|address| address.to_string() == pod.address))
            })?;
        }
        a_volume_grows(&self.0)?;
        the_audit_log_tells_who_wrote(&self.0)
    }

    /// The names of its volumes.
    fn volumes(&self) -> Result<BTreeSet<String>> {
        let claims = self.0.get(&["pvc"])?;
        let claims = claims["items"].as_array().context("items")?.iter();
        let names = claims.filter_map(|claim| claim["spec"]["volumeName"].as_str());
        Ok(names.map(str::to_owned).collect())
    }
}

impl Tenant for Web {
    fn cluster(&self) -> &Cluster {
        &self.0
    }

    fn pods(&self) -> Result<BTreeMap<String, Member>> {
        pods(&self.0, "app=web")
    }

    /// Its containers keep nothing.
    fn identities(&self) -> Result<BTreeMap<String, String>> {
        Ok(BTreeMap::new())
    }

    fn dearest(&self) -> Result<Option<String>> {
        Ok(None)
    }

    fn wait_ready(&self) -> Result<()> {
        wait("three pods run", || {
            let list = self.0.get(&["pods", "-l", "app=web"])?;
            let pods = list["items"].as_array().context("items")?;
            let is_ready = |pod: &&Value| pod["status"]["containerStatuses"][0]["ready"] == true;
            Ok((pods.iter().filter(is_ready).count() == 3).then_some(()))
        })
    }

    /// It has no clients.
    fn window(&self, _: &str, inject: Inject<'_>) -> Result<Duration> {
        inject().map(|()| Duration::ZERO)
    }

    fn program(&self) -> Option<&'static str> {
        None
    }

    fn left_in_order(&self, _: &str) -> bool {
        true
    }

    fn suffer(&self, _: Tier) -> Result<()> {
        Ok(())
    }

    /// Its volumes go with their claims.
    fn end(self: Box<Self>) -> Result<()> {
        let volumes = self.volumes()?;
        ensure!(volumes.len() == 3, "{volumes:?}");
        let folders = self.0.state()?.join("volumes");
        self.0.kubectl(&["delete", "namespace", NAMESPACE])?;
        wait("no volume is left", || {
            let there = self.0.get(&["persistentvolumes"])?;
            let there = there["items"].as_array().context("items")?.iter();
            let mut names = there.filter_map(|volume| volume["metadata"]["name"].as_str());
            let is_left = names.any(|name| volumes.contains(name));
            let has_folder = volumes.iter().any(|name| folders.join(name).exists());
            Ok((!is_left && !has_folder).then_some(()))
        })
    }
}

/// A StatefulSet that a `restricted` namespace admits: a pod in each zone, a volume for each.
fn objects() -> Value {
    let labels = json!({ "app": "web" });
    let pod = json!({
        "topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone",
            "whenUnsatisfiable": "DoNotSchedule", "labelSelector": { "matchLabels": labels },
        }],
        "securityContext": { "runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": { "type": "RuntimeDefault" } },
        "containers": [{
            "name": "pause", "image": "quorate.local/pause:1",
            "securityContext": restricted(),
            "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
        }],
    });
    let claim = json!({ "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } });
    json!({ "apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web" },
            "spec": { "clusterIP": "None", "selector": labels, "ports": [{ "port": 80 }] },
        },
        {
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": { "name": "web" },
            "spec": {
                "serviceName": "web", "replicas": 3, "podManagementPolicy": "Parallel",
                "selector": { "matchLabels": labels },
                "template": { "metadata": { "labels": labels }, "spec": pod },
                "volumeClaimTemplates": [{ "metadata": { "name": "data" }, "spec": claim }],
            },
        },
    ]})
}

/// Asks the cluster's DNS for the address of a name.
fn resolve(name: &str) -> Result<Option<Ipv4Addr>> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    // RFC 1035, section 4.1: one question, recursion desired, type A, class IN.
    let mut question = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        question.push(u8::try_from(label.len())?);
        question.extend(label.bytes());
    }
    question.extend([0, 0, 1, 0, 1]);
    socket.send_to(&question, DNS)?;
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer)?;
    // The only answer ends with the address.
    let address: [u8; 4] = *answer[..length].last_chunk().context("an answer")?;
    Ok((answer[7] == 1).then_some(address.into()))
}

/// Before anybody says that volumes of the class cannot.
fn a_volume_grows(cluster: &Cluster) -> Result<()> {
    let more = r#"{"spec":{"resources":{"requests":{"storage":"2Gi"}}}}"#;
    cluster.kubectl(&["patch", "pvc", "data-web-0", "-p", more])?;
    wait("the volume has grown", || {
        let claim = cluster.get(&["pvc", "data-web-0"])?;
        Ok((claim["status"]["capacity"]["storage"] == "2Gi").then_some(()))
    })
}

fn the_audit_log_tells_who_wrote(cluster: &Cluster) -> Result<()> {
    let audit = std::fs::read_to_string(cluster.audit_log()?)?;
    let wrote = |line: &str| line.contains("statefulset-controller") && line.contains("\"create\"");
    ensure!(
        audit.lines().any(wrote),
        "the audit log must tell who wrote"
    );
    Ok(())
}
