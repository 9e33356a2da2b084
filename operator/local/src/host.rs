//! The engine's host: what a resource's world looks like on this machine, and how to act on it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Secret};
use quorate_client::{Client, Identity, Resolver, Timeouts};
use quorate_engine::{Failure, Host, Key, Snapshot};
use quorate_plan::{
    APP, Action, AnyKind, Env, Event, INSTANCE, Object, Observed, admin_address,
    co_owner_reference, is_pod_of, owner_reference,
};
use quorate_wire::MemberRequest;
use serde_json::{Value, json};

use crate::events::tell;
use crate::fields::audit;
use crate::node::{CLUSTER_DOMAIN, Node, is_owned_by};
use crate::resources::resource_type_of;
use crate::sets::{named, orphan_set};
use crate::store::{ObjectKey, StoreError};

/// The host of one resource.
pub(crate) struct LocalHost {
    node: Arc<Node>,
    /// The resource as it was observed last, and its plural.
    seen: Option<(ObjectKey, Value)>,
    /// uid and resourceVersion of the StatefulSets as they were observed last.
    sets: BTreeMap<String, (Value, Value)>,
    /// The Secret with the members' certificates.
    certificates: Option<String>,
    /// The client for the certificates that it was made with.
    client: Option<(Option<Identity>, Client)>,
}

/// What builders must know of this machine.
pub(crate) fn env() -> Env {
    Env {
        cluster_domain: CLUSTER_DOMAIN.to_owned(),
        // No registry: a name that says whose binary it is, and that changes with the version, so that a new `quorate`
        // rolls its members as a new operator does.
        default_image: concat!("quorate:", env!("CARGO_PKG_VERSION")).to_owned(),
        operator_namespace: None,
    }
}

impl LocalHost {
    pub fn new(node: &Arc<Node>) -> Self {
        Self {
            node: Arc::clone(node),
            seen: None,
            sets: BTreeMap::new(),
            certificates: None,
            client: None,
        }
    }

    fn resource(&self) -> Result<(&ObjectKey, &Value, &str), Failure> {
        let (key, resource) = self
            .seen
            .as_ref()
            .ok_or_else(|| Failure::Unavailable("nothing was observed yet".to_owned()))?;
        Ok((
            key,
            resource,
            resource["metadata"]["uid"].as_str().unwrap_or_default(),
        ))
    }

    fn members_of(&self, app: &str, namespace: &str, uid: &str, name: &str) -> Observed {
        let store = &self.node.store;
        let owned = |plural: &str, uid: &str| -> Vec<Value> {
            store
                .list(plural, Some(namespace))
                .into_iter()
                .filter(|object| is_owned_by(object, uid))
                .collect()
        };
        let stateful_sets = named(owned("statefulsets", uid));
        let mut pods: BTreeMap<String, Pod> = named(store.list("pods", Some(namespace)));
        pods.retain(|_, pod| is_pod_of(pod, uid, &stateful_sets));
        let claims = store
            .list("persistentvolumeclaims", Some(namespace))
            .into_iter();
        let answer = |name: &String| {
            let key = ObjectKey::new("pods", namespace, name);
            Some((name.clone(), self.node.members.answer(&key)?))
        };
        let others = [
            "serviceaccounts",
            "configmaps",
            "services",
            "networkpolicies",
            "poddisruptionbudgets",
        ];
        Observed {
            members: pods.keys().filter_map(answer).collect(),
            stateful_sets,
            pods,
            claims: named(
                claims
                    .filter(|claim| {
                        let labels = &claim["metadata"]["labels"];
                        labels[APP] == app && labels[INSTANCE] == name
                    })
                    .collect(),
            ),
            objects: others
                .iter()
                .flat_map(|plural| owned(plural, uid))
                .filter_map(Object::of)
                .collect(),
            ..Observed::default()
        }
    }

    /// The client of the members' admin listeners, with the certificates of the resource's Secret as it is now.
    fn client(&mut self) -> Result<Client, Failure> {
        let (key, _, _) = self.resource()?;
        let identity = match &self.certificates {
            None => None,
            Some(name) => Some(self.identity(&key.namespace, name)?),
        };
        if let Some((made_with, client)) = &self.client
            && *made_with == identity
        {
            return Ok(client.clone());
        }
        let hosts = Arc::clone(&self.node.hosts);
        let resolver = Resolver::table(move |name| hosts.lookup(name).map(IpAddr::V4));
        let client = Client::new(resolver, identity.as_ref(), Timeouts::default())
            .map_err(|error| Failure::Unavailable(format!("the certificates: {error}")))?;
        self.client = Some((identity, client.clone()));
        Ok(client)
    }

    fn identity(&self, namespace: &str, name: &str) -> Result<Identity, Failure> {
        let secret: Option<Secret> = self.node.store.get_as("secrets", namespace, name);
        let mut data = secret
            .ok_or_else(|| {
                Failure::Unavailable(format!(
                    "there is no Secret `{name}` with the certificates; apply it"
                ))
            })?
            .data
            .unwrap_or_default();
        Identity::of(|key| data.remove(key).map(|bytes| bytes.0))
            .map_err(|key| Failure::Unavailable(format!("Secret `{name}` has no {key}; add it")))
    }

    async fn ask(
        &mut self,
        pod_name: &str,
        pod_uid: &str,
        request: &MemberRequest,
    ) -> Result<(), Failure> {
        let (key, _, _) = self.resource()?;
        let pod: Option<Pod> = self.node.store.get_as("pods", &key.namespace, pod_name);
        let pod = pod
            .filter(|pod| pod.metadata.uid.as_deref() == Some(pod_uid))
            .ok_or_else(|| Failure::Conflict(format!("pod {pod_name}")))?;
        let admin = admin_address(&pod, CLUSTER_DOMAIN).ok_or_else(|| {
            Failure::Unavailable(format!("pod {pod_name} has no name or no port `admin`"))
        })?;
        let client = self.client()?;
        let answer = client.ask(&admin, request).await;
        answer
            .map(drop)
            .map_err(|error| Failure::of_member(pod_name, error.problem(), &error))
    }
}

fn failure(error: StoreError) -> Failure {
    match error {
        StoreError::NotFound(key) | StoreError::Exists(key) | StoreError::Conflict(key) => {
            Failure::Conflict(key.to_string())
        }
        other => Failure::Unavailable(other.to_string()),
    }
}

impl Host for LocalHost {
    fn env(&self) -> Env {
        env()
    }

    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn observe(
        &mut self,
        kind: &dyn AnyKind,
        key: &Key,
    ) -> Result<Option<Snapshot>, Failure> {
        let key = ObjectKey::new(&kind.names().plural, &key.namespace, &key.name);
        let Some(resource) = self.node.store.get(&key) else {
            return Ok(None);
        };
        let uid = resource["metadata"]["uid"].as_str().unwrap_or_default();
        let observed = self.members_of(kind.marks().app, &key.namespace, uid, &key.name);
        let version = |set: &Option<String>| json!(set);
        self.sets = observed
            .stateful_sets
            .iter()
            .map(|(name, set)| {
                (
                    name.clone(),
                    (
                        version(&set.metadata.uid),
                        version(&set.metadata.resource_version),
                    ),
                )
            })
            .collect();
        self.certificates = kind.certificates(&resource);
        self.seen = Some((key, resource.clone()));
        Ok(Some(Snapshot { resource, observed }))
    }

    async fn apply(&mut self, object: Object) -> Result<Object, Failure> {
        let (key, _, uid) = self.resource()?;
        let mut value = serde_json::to_value(&object)
            .map_err(|error| Failure::Unavailable(error.to_string()))?;
        let (kind, name) = (object.kind(), object.name().to_owned());
        let resource = resource_type_of(&value)
            .ok_or_else(|| Failure::Unavailable(format!("this host does not know {kind}")))?;
        let found = audit(&value);
        if let Some(refusal) = found.refusal(&format!("{kind} {name}")) {
            return Err(Failure::Unavailable(refusal));
        }
        if !found.ignored.is_empty() {
            let fields: Vec<_> = found.ignored.into_iter().collect();
            self.node.detail_once(format!(
                "{kind} {name}: without effect on this machine: {}",
                fields.join(", ")
            ));
        }
        value["metadata"]["namespace"] = json!(key.namespace);
        let at = ObjectKey::new(&resource.plural, &key.namespace, &name);
        let stored = match self.node.store.get(&at) {
            None if self.sets.contains_key(&name) && kind == "StatefulSet" => {
                return Err(Failure::Conflict(format!("{kind} {name}")));
            }
            None => self.node.store.create(&resource.plural, value),
            Some(old) if !is_owned_by(&old, uid) => {
                return Err(Failure::Foreign(format!("{kind} {name}")));
            }
            Some(old) => {
                // Only the very StatefulSet that was decided on; of the others only the very object.
                let (uid, version) = match kind {
                    "StatefulSet" => self
                        .sets
                        .get(&name)
                        .cloned()
                        .ok_or_else(|| Failure::Conflict(format!("{kind} {name}")))?,
                    _ => (old["metadata"]["uid"].clone(), Value::Null),
                };
                value["metadata"]["uid"] = uid;
                value["metadata"]["resourceVersion"] = version;
                self.node.store.replace(&resource.plural, value)
            }
        };
        let stored = stored.map_err(failure)?;
        Object::of(stored)
            .ok_or_else(|| Failure::Unavailable(format!("{kind} {name} cannot be read back")))
    }

    async fn act(&mut self, action: &Action) -> Result<(), Failure> {
        let (key, resource, _) = self.resource()?;
        let (plural, namespace) = ("persistentvolumeclaims", key.namespace.as_str());
        match action {
            Action::MarkClaim {
                name,
                uid,
                annotations,
                owned,
            } => {
                let owner = owned.then(|| owner_reference(resource));
                let marked = self.node.store.edit(
                    &ObjectKey::new(plural, namespace, name),
                    Some(uid),
                    None,
                    |claim| {
                        for (key, value) in annotations {
                            claim["metadata"]["annotations"][key] = json!(value);
                        }
                        claim["metadata"]["ownerReferences"] =
                            json!(owner.into_iter().collect::<Vec<_>>());
                    },
                );
                marked.map(drop).map_err(failure)
            }
            // A folder is as large as its disk.
            Action::GrowClaim { name, uid, size } => {
                let key = ObjectKey::new(plural, namespace, name);
                let grown = self.node.store.edit(&key, Some(uid), None, |claim| {
                    claim["spec"]["resources"]["requests"]["storage"] = json!(size);
                });
                grown.map(drop).map_err(failure)
            }
            Action::OwnPod { name, uid, owned } => {
                let key = ObjectKey::new("pods", namespace, name);
                let owner = co_owner_reference(resource);
                let edited = self.node.store.edit(&key, Some(uid), None, |pod| {
                    if let Some(owners) = pod["metadata"]["ownerReferences"].as_array_mut() {
                        owners.retain(|other| *other != owner);
                        owners.extend(owned.then_some(owner));
                    }
                });
                edited.map(drop).map_err(failure)
            }
            Action::OrphanSet { name, uid } => {
                orphan_set(&self.node, namespace, name, uid).map_err(failure)
            }
            Action::DeleteClaim { name, uid } => self
                .node
                .store
                .delete(&ObjectKey::new(plural, namespace, name), Some(uid))
                .map_err(failure),
            Action::DeletePod { name, uid } => self
                .node
                .store
                .delete(&ObjectKey::new("pods", namespace, name), Some(uid))
                .map_err(failure),
            Action::Ask {
                pod,
                pod_uid,
                request,
            } => self.ask(pod, pod_uid, request).await,
        }
    }

    async fn emit(&mut self, event: &Event) -> Result<(), Failure> {
        let (key, resource, _) = self.resource()?;
        tell(&self.node, key, resource, event).map_err(failure)
    }

    async fn write_status(&mut self, status: Value) -> Result<String, Failure> {
        let (key, resource, uid) = self.resource()?;
        let version = resource["metadata"]["resourceVersion"].as_str();
        let stored = self
            .node
            .store
            .edit(key, Some(uid), version, |resource| {
                resource["status"] = status
            })
            .map_err(failure)?;
        let version = stored["metadata"]["resourceVersion"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let key = key.clone();
        self.seen = Some((key, stored));
        Ok(version)
    }
}
