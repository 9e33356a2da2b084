//! This machine as a node: what every part of the host shares.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;

use crate::images::Images;
use crate::launch::PodFiles;
use crate::members::Members;
use crate::network::Subnet;
use crate::resources::resource_types;
use crate::state_dir::StateDir;
use crate::store::{ObjectKey, Store};

/// The DNS domain of the names in the hosts file.
pub(crate) const CLUSTER_DOMAIN: &str = "cluster.local";

/// How far `up` still is from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// It keeps everything running.
    Supervise,
    /// Members end by SIGTERM, within their grace periods.
    Drain,
    /// Members end now.
    Kill,
}

/// What people may hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// In words.
    pub text: String,
    /// Whether it is of use only to who asks for details: what a healthy `up` tells too.
    pub detail: bool,
}

/// What every part of the host shares.
#[derive(Debug)]
pub struct Node {
    /// Where everything is kept.
    pub dir: StateDir,
    /// The objects.
    pub store: Store,
    pub(crate) images: Images,
    pub(crate) launcher: Vec<PathBuf>,
    pub(crate) members: Members,
    pub(crate) hosts: Arc<Hosts>,
    subnet: Subnet,
    begun: Timestamp,
    notices: UnboundedSender<Notice>,
    told: Mutex<BTreeSet<String>>,
}

/// The pods' names and addresses, as the hosts file has them.
#[derive(Debug, Default)]
pub(crate) struct Hosts(Mutex<BTreeMap<String, Ipv4Addr>>);

impl Hosts {
    /// The address of a name.
    pub fn lookup(&self, name: &str) -> Option<Ipv4Addr> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .copied()
    }

    /// Takes the place of all names; says whether that changed anything.
    pub fn replace(&self, names: BTreeMap<String, Ipv4Addr>) -> bool {
        let mut old = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *old, names.clone()) != names
    }
}

impl Node {
    pub(crate) fn new(
        dir: StateDir,
        images: Images,
        launcher: Vec<PathBuf>,
        subnet: Subnet,
        notices: UnboundedSender<Notice>,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            store: Store::open(&dir.objects())?,
            members: Members::new()?,
            hosts: Arc::default(),
            told: Mutex::default(),
            begun: Timestamp::now(),
            dir,
            images,
            launcher,
            subnet,
            notices,
        })
    }

    /// When this `up` began.
    pub(crate) fn begun(&self) -> Timestamp {
        self.begun
    }

    /// Tells people something, once: repeated in the next breath it is not news.
    pub(crate) fn notify_once(&self, text: String) {
        self.tell_once(text, false);
    }

    /// Tells something to who asks for details, once.
    pub(crate) fn detail_once(&self, text: String) {
        self.tell_once(text, true);
    }

    fn tell_once(&self, text: String, detail: bool) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.insert(text.clone()) {
            self.tell(text, detail);
        }
    }

    /// Tells people something.
    pub(crate) fn notify(&self, text: String) {
        self.tell(text, false);
    }

    pub(crate) fn tell(&self, text: String, detail: bool) {
        // Nobody listens any more only while `up` ends.
        let _ = self.notices.send(Notice { text, detail });
    }

    pub(crate) fn pod_files(&self, key: &ObjectKey) -> PodFiles {
        PodFiles::new(
            self.dir.pod(&key.namespace, &key.name),
            self.dir.log(&key.namespace, &key.name),
        )
    }

    /// Whether an address is one of this folder's.
    pub(crate) fn has_address(&self, address: &str) -> bool {
        address
            .parse()
            .is_ok_and(|address| self.subnet.has(address))
    }

    /// An address for a new pod.
    pub(crate) fn assign_address(&self, namespace: &str, name: &str) -> anyhow::Result<Ipv4Addr> {
        let pods = self.store.list("pods", None);
        let taken = pods
            .iter()
            .filter_map(|pod| pod["status"]["podIP"].as_str()?.parse().ok())
            .collect();
        Ok(self.subnet.assign(&format!("{namespace}/{name}"), &taken)?)
    }

    /// The binary that a pod's image stands for.
    pub(crate) fn program(&self, pod: &Pod) -> anyhow::Result<PathBuf> {
        let container = pod.spec.as_ref().and_then(|spec| spec.containers.first());
        let image = container.and_then(|container| container.image.as_deref());
        let command = container.and_then(|container| container.command.as_deref());
        let Some([binary]) = command else {
            anyhow::bail!(
                "{}: its command must be the name of a binary, without arguments; delete the pod, and it is made anew",
                pod.metadata.name.as_deref().unwrap_or("a pod")
            );
        };
        Ok(self.images.resolve(image.unwrap_or_default(), binary)?)
    }

    /// The custom resources, with their sorts.
    pub fn resources(&self) -> Vec<(&'static crate::resources::ResourceType, Value)> {
        let custom = resource_types()
            .iter()
            .filter(|resource| resource.custom.is_some());
        custom
            .flat_map(|resource| {
                self.store
                    .list(&resource.plural, None)
                    .into_iter()
                    .map(move |object| (resource, object))
            })
            .collect()
    }
}

/// Whether an object names this owner.
pub(crate) fn is_owned_by(object: &Value, uid: &str) -> bool {
    object["metadata"]["ownerReferences"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|owner| owner["uid"] == uid)
}
