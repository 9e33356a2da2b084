//! The kubelet of every node: it takes the pods, gives them an address each and volumes, starts and ends their members,
//! and tells what a kubelet tells. It is the scheduler and the provisioner too, since both would cost more than they
//! show.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::reflector::{ObjectRef, Store, reflector, store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use quorate_model::{is_ready, is_terminating, ordinal};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::task::JoinSet;

use super::members::{Member, Members};
use super::server::serve;

const OURS: &str = "app.kubernetes.io/managed-by=quorate";
/// Who places a pod that is to be simulated, and whose volume it has: nobody else knows either name.
pub const SCHEDULER: &str = "simulated";
pub const CLASS: &str = "simulated";
/// Nobody else places pods on them.
const NODES: [&str; 3] = ["simulated1", "simulated2", "simulated3"];
const TICK: Duration = Duration::from_millis(100);
/// Well within the time after which a node is given up.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// Works while it is kept.
pub struct Kubelet {
    client: Client,
    tasks: JoinSet<()>,
}

impl Kubelet {
    /// With nodes of its own.
    pub async fn start(client: &Client) -> Result<Self> {
        let nodes: Api<Node> = Api::all(client.clone());
        for node in NODES {
            let node = json!({ "metadata": { "name": node }, "spec": { "unschedulable": true } });
            let node = serde_json::from_value(node)?;
            nodes.create(&PostParams::default(), &node).await?;
        }
        let mut tasks = JoinSet::new();
        let work = Arc::new(Work {
            client: client.clone(),
            pods: cached(client, &mut tasks),
            claims: cached(client, &mut tasks),
            members: Arc::default(),
            running: Mutex::default(),
            addresses: AtomicU16::new(256),
        });
        let beating = client.clone();
        tasks.spawn(async move {
            loop {
                for node in NODES {
                    // The next one makes good for a beat that is lost.
                    let _ = beat(&beating, node).await;
                }
                tokio::time::sleep(HEARTBEAT).await;
            }
        });
        tasks.spawn(work.go());
        let client = client.clone();
        Ok(Self { client, tasks })
    }

    /// Takes the nodes away, when no pod is left on them.
    pub async fn end(mut self) -> Result<()> {
        self.tasks.shutdown().await;
        let nodes: Api<Node> = Api::all(self.client.clone());
        for node in NODES {
            nodes.delete(node, &DeleteParams::default()).await?;
        }
        Ok(())
    }
}

/// A cache of all objects that the operator made, kept by one of the tasks.
fn cached<K>(client: &Client, tasks: &mut JoinSet<()>) -> Store<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let (reader, writer) = store();
    let config = watcher::Config::default().labels(OURS);
    let watched = watcher(Api::<K>::all(client.clone()), config).default_backoff();
    tasks.spawn(reflector(writer, watched).for_each(|_| std::future::ready(())));
    reader
}

async fn beat(client: &Client, node: &str) -> kube::Result<()> {
    let now = Timestamp::now();
    let ready = json!({
        "type": "Ready", "status": "True", "reason": "Simulated", "message": "simulated",
        "lastHeartbeatTime": now, "lastTransitionTime": now,
    });
    let patch = Patch::Strategic(json!({ "status": { "conditions": [ready] } }));
    let nodes: Api<Node> = Api::all(client.clone());
    nodes
        .patch_status(node, &PatchParams::default(), &patch)
        .await
        .map(drop)
}

/// A pod's member, and its listeners.
struct Running {
    member: Member,
    address: IpAddr,
    _serving: JoinSet<()>,
}

struct Work {
    client: Client,
    pods: Store<Pod>,
    claims: Store<PersistentVolumeClaim>,
    members: Arc<Mutex<Members>>,
    /// By the pod's UID.
    running: Mutex<BTreeMap<String, Running>>,
    /// How many were given out: none is used twice.
    addresses: AtomicU16,
}

impl Work {
    async fn go(self: Arc<Self>) {
        let mut looks = JoinSet::new();
        let mut looked_at = BTreeSet::new();
        loop {
            let is_ours = |pod: &Arc<Pod>| {
                let spec = pod.spec.as_ref();
                spec.is_some_and(|spec| spec.scheduler_name.as_deref() == Some(SCHEDULER))
            };
            for pod in self.pods.state().into_iter().filter(is_ours) {
                let uid = pod.metadata.uid.clone().unwrap();
                if looked_at.insert(uid.clone()) {
                    let work = Arc::clone(&self);
                    looks.spawn(async move {
                        // What failed, mostly on a pod that went, is tried again at the next tick.
                        let _ = work.look(&pod, &uid).await;
                        uid
                    });
                }
            }
            tokio::time::sleep(TICK).await;
            self.members.lock().unwrap().step();
            while let Some(Ok(uid)) = looks.try_join_next() {
                looked_at.remove(&uid);
            }
        }
    }

    /// The next thing that a pod needs.
    async fn look(&self, pod: &Pod, uid: &str) -> Result<()> {
        let namespace = pod.metadata.namespace.as_deref().context("a namespace")?;
        let name = pod.metadata.name.as_deref().context("a name")?;
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        if is_terminating(pod) {
            return self.end(&pods, name, uid).await;
        }
        if pod.spec.as_ref().context("a spec")?.node_name.is_none() {
            return bind(&pods, pod, name).await;
        }
        let known = self.running.lock().unwrap().get(uid).map(|it| {
            let ready = self.members.lock().unwrap().is_ready(&it.member);
            (it.address, ready)
        });
        let (address, ready) = match known {
            Some(known) => known,
            None => match self.begin(pod, uid, namespace, name).await? {
                Some(address) => (address, false),
                None => return Ok(()),
            },
        };
        let says = pod
            .status
            .as_ref()
            .and_then(|status| status.pod_ip.as_ref());
        if says.is_none() || is_ready(pod) != ready {
            let patch = Patch::Merge(status(uid, address, ready));
            pods.patch_status(name, &PatchParams::default(), &patch)
                .await?;
        }
        Ok(())
    }

    /// Starts the member, once its claim is bound.
    async fn begin(
        &self,
        pod: &Pod,
        uid: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<IpAddr>> {
        let at = ObjectRef::new(&format!("data-{name}")).within(namespace);
        let claim = self.claims.get(&at).context("no claim yet")?;
        let phase = claim.status.as_ref().and_then(|it| it.phase.as_deref());
        if phase != Some("Bound") {
            self.provision(&claim).await?;
            return Ok(None);
        }
        let member = Member::of(pod, &claim).context("not a member")?;
        let [high, low] = self.addresses.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let address = IpAddr::from(Ipv4Addr::new(127, 77, high, low));
        let running = Running {
            _serving: serve(&member, &self.members, address).await?,
            member: member.clone(),
            address,
        };
        self.members.lock().unwrap().start(&member);
        self.running.lock().unwrap().insert(uid.to_owned(), running);
        Ok(Some(address))
    }

    /// A volume for this claim alone.
    async fn provision(&self, claim: &PersistentVolumeClaim) -> Result<()> {
        let metadata = &claim.metadata;
        let name = format!("pvc-{}", metadata.uid.as_deref().context("a UID")?);
        let spec = claim.spec.as_ref().context("a spec")?;
        let volume = serde_json::from_value(json!({
            "metadata": { "name": name },
            "spec": {
                "accessModes": spec.access_modes,
                "capacity": spec.resources.as_ref().and_then(|it| it.requests.as_ref()),
                "claimRef": {
                    "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                    "name": metadata.name, "namespace": metadata.namespace, "uid": metadata.uid,
                },
                "hostPath": { "path": "/simulated" },
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": spec.storage_class_name,
            },
        }))?;
        let volumes: Api<PersistentVolume> = Api::all(self.client.clone());
        match volumes.create(&PostParams::default(), &volume).await {
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
            made => Ok(made.map(drop)?),
        }
    }

    /// Ends the member, and then says that the pod is gone.
    async fn end(&self, pods: &Api<Pod>, name: &str, uid: &str) -> Result<()> {
        let ended = self.running.lock().unwrap().remove(uid);
        if let Some(ended) = ended {
            self.members.lock().unwrap().stop(&ended.member);
        }
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions {
                uid: Some(uid.to_owned()),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        pods.delete(name, &params).await?;
        Ok(())
    }
}

async fn bind(pods: &Api<Pod>, pod: &Pod, name: &str) -> Result<()> {
    let set = name.rsplit_once('-').context("an ordinal")?.0;
    let at = usize::try_from(ordinal(set, name).context("an ordinal")?)?;
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding",
        "metadata": { "name": name, "uid": pod.metadata.uid },
        "target": { "apiVersion": "v1", "kind": "Node", "name": NODES[at % NODES.len()] },
    });
    let _: serde_json::Value = pods
        .create_subresource("binding", name, &PostParams::default(), &binding)
        .await?;
    Ok(())
}

fn status(uid: &str, address: IpAddr, ready: bool) -> serde_json::Value {
    let now = Timestamp::now();
    let ready = if ready { "True" } else { "False" };
    let conditions = [
        ("PodScheduled", "True"),
        ("Initialized", "True"),
        ("ContainersReady", ready),
        ("Ready", ready),
    ];
    let conditions = conditions
        .map(|(kind, status)| json!({ "type": kind, "status": status, "lastTransitionTime": now }));
    json!({
        "metadata": { "uid": uid },
        "status": {
            "phase": "Running", "podIP": address, "podIPs": [{ "ip": address }],
            "startTime": now, "conditions": conditions,
        },
    })
}
