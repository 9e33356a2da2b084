//! The engine's host on Kubernetes, for one resource: what its world looks like, and how to act on it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolumeClaim, Pod, Secret};
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, Resource};
use quorate_engine::{Failure, Host, Key, Snapshot};
use quorate_plan::{
    Action, AnyKind, Env, Event, Object, Observed, co_owner_reference, is_pod_of, owner_reference,
};
use quorate_wire::MemberRequest;
use serde_json::{Value, json};

use crate::apply::failure;
use crate::caches::{Caches, Owner};
use crate::denials::Denials;
use crate::events::Reporter;
use crate::ledger::{Ledger, Task, belongs};
use crate::members::{Admin, Status, identity};
use crate::metrics::Metrics;
use crate::{CLAIMS, OWNERS, SIZES, STATUS};

/// What marks of ours on a claim begin with.
const MARKS: &str = "quorate.dev/";

/// What all resources' hosts share.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub client: Client,
    pub caches: Caches,
    pub members: Status,
    pub reporter: Reporter,
    pub metrics: Metrics,
    pub env: Env,
}

/// The host of one resource.
pub(crate) struct KubeHost {
    around: Arc<Surroundings>,
    resource: ApiResource,
    resources: Store<DynamicObject>,
    seen: Option<Seen>,
    ledger: Ledger,
    denials: Denials,
    admin: Admin,
}

/// What was observed last.
#[derive(Clone, Debug)]
struct Seen {
    key: Key,
    resource: Value,
    /// The Secret with the members' certificates.
    certificates: Option<String>,
    stateful_sets: BTreeMap<String, StatefulSet>,
    pods: BTreeMap<String, Pod>,
    claims: BTreeMap<String, PersistentVolumeClaim>,
}

impl Seen {
    fn uid(&self) -> &str {
        self.resource["metadata"]["uid"]
            .as_str()
            .unwrap_or_default()
    }

    /// Whether the objects of this kind were there: of every object there is one, whatever the spec, and the status has a
    /// selector since the last of them was. A StatefulSet may be away from its pods, which the resource owns meanwhile, by our
    /// own hand.
    fn was_applied(&self, kind: &str) -> bool {
        let pods = self.pods.values();
        let mut owners = pods.flat_map(|pod| pod.metadata.owner_references.iter().flatten());
        let is_away = kind == "StatefulSet" && owners.any(|owner| owner.uid == self.uid());
        self.resource["status"]["selector"].is_string() && !is_away
    }
}

impl KubeHost {
    pub fn new(
        around: &Arc<Surroundings>,
        resource: &ApiResource,
        resources: &Store<DynamicObject>,
    ) -> Self {
        Self {
            around: Arc::clone(around),
            resource: resource.clone(),
            resources: resources.clone(),
            seen: None,
            ledger: Ledger::default(),
            denials: Denials::default(),
            admin: Admin::default(),
        }
    }

    fn seen(&self) -> Result<&Seen, Failure> {
        let unseen = || Failure::Unavailable("nothing was observed yet".to_owned());
        self.seen.as_ref().ok_or_else(unseen)
    }

    fn api<K>(&self) -> Result<Api<K>, Failure>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        let namespace = &self.seen()?.key.namespace;
        Ok(Api::namespaced(self.around.client.clone(), namespace))
    }

    async fn mark(
        &self,
        name: &str,
        uid: &str,
        annotations: &BTreeMap<String, String>,
        owned: bool,
    ) -> Result<(), Failure> {
        let seen = self.seen()?;
        // An apply says everything that is ours: what was marked before too.
        let claim = seen.claims.get(name);
        let old = claim.and_then(|claim| claim.metadata.annotations.as_ref());
        let marks = old.into_iter().flatten();
        let mut marks: BTreeMap<_, _> = marks.filter(|(key, _)| key.starts_with(MARKS)).collect();
        marks.extend(annotations);
        let owner = owned.then(|| owner_reference(&seen.resource));
        let wanted = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {
                "name": name, "uid": uid, "annotations": marks,
                "ownerReferences": owner.into_iter().collect::<Vec<_>>(),
            },
        });
        self.say::<PersistentVolumeClaim>(CLAIMS, name, &wanted)
            .await
    }

    async fn grow(&self, name: &str, uid: &str, size: &str) -> Result<(), Failure> {
        let wanted = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": { "name": name, "uid": uid },
            "spec": { "resources": { "requests": { "storage": size } } },
        });
        self.say::<PersistentVolumeClaim>(SIZES, name, &wanted)
            .await
    }

    async fn own(&self, name: &str, uid: &str, owned: bool) -> Result<(), Failure> {
        let resource = &self.seen()?.resource;
        let owner = owned.then(|| co_owner_reference(resource));
        let wanted = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": name, "uid": uid, "ownerReferences": owner.into_iter().collect::<Vec<_>>(),
            },
        });
        self.say::<Pod>(OWNERS, name, &wanted).await
    }

    /// Says what one of our writers has to say of the object with that UID.
    async fn say<K>(&self, writer: &str, name: &str, wanted: &Value) -> Result<(), Failure>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned,
    {
        let params = PatchParams::apply(writer).force();
        let said = self
            .api::<K>()?
            .patch(name, &params, &Patch::Apply(wanted))
            .await;
        said.map(drop)
            .map_err(|error| failure(&format!("{} {name}", K::kind(&())), error))
    }

    /// What is wrong with the Secret that a pod without an address may wait for; nobody else says so but an event of
    /// that pod.
    async fn waited_for(
        &self,
        certificates: Option<&str>,
        key: &Key,
        pods: &BTreeMap<String, Pod>,
    ) -> Option<String> {
        let name = certificates?;
        let waits = |pod: &Pod| {
            let status = pod.status.as_ref();
            status.is_none_or(|status| status.pod_ip.is_none())
        };
        if !pods.values().any(waits) {
            return None;
        }
        let secrets = Api::<Secret>::namespaced(self.around.client.clone(), &key.namespace);
        match identity(&secrets, name).await {
            Err(Failure::Unavailable(why)) => Some(why),
            _ => None,
        }
    }

    async fn ask(&mut self, name: &str, uid: &str, request: &MemberRequest) -> Result<(), Failure> {
        let seen = self.seen()?;
        let pod = seen.pods.get(name);
        let pod = pod
            .filter(|pod| pod.metadata.uid.as_deref() == Some(uid))
            .cloned()
            .ok_or_else(|| Failure::Conflict(format!("pod {name}")))?;
        let identity = match &seen.certificates {
            None => None,
            Some(secret) => Some(identity(&self.api::<Secret>()?, secret).await?),
        };
        let domain = &self.around.env.cluster_domain;
        self.admin.ask(&pod, domain, identity, request).await
    }
}

/// Deletes the very object that was seen.
async fn delete<K>(api: Api<K>, params: DeleteParams, name: &str, uid: &str) -> Result<(), Failure>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let params = params.preconditions(Preconditions {
        uid: Some(uid.to_owned()),
        resource_version: None,
    });
    let deleted = api.delete(name, &params).await;
    deleted
        .map(drop)
        .map_err(|error| failure(&format!("{} {name}", K::kind(&())), error))
}

fn named<K: Resource>(objects: impl Iterator<Item = K>) -> BTreeMap<String, K> {
    objects
        .filter_map(|object| Some((object.meta().name.clone()?, object)))
        .collect()
}

impl Host for KubeHost {
    fn env(&self) -> Env {
        self.around.env.clone()
    }

    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn observe(
        &mut self,
        kind: &dyn AnyKind,
        key: &Key,
    ) -> Result<Option<Snapshot>, Failure> {
        let at = ObjectRef::new_with(&key.name, self.resource.clone()).within(&key.namespace);
        let Some(found) = self.resources.get(&at) else {
            return Ok(None);
        };
        let mut resource = serde_json::to_value(&*found)
            .map_err(|error| Failure::Unavailable(error.to_string()))?;
        // A list leaves out of its items what it says once of them all.
        resource["apiVersion"] = json!(self.resource.api_version);
        resource["kind"] = json!(self.resource.kind);
        let uid = found.metadata.uid.clone().unwrap_or_default();

        let caches = &self.around.caches;
        let owner = Owner {
            app: kind.marks().app.to_owned(),
            resource: key.clone(),
        };
        let stateful_sets = named(
            caches
                .stateful_sets
                .of(&owner)
                .filter(|set| belongs(&set.metadata, &uid)),
        );
        let pods = caches.pods.of(&owner);
        let pods = named(pods.filter(|pod| is_pod_of(pod, &uid, &stateful_sets)));
        let claims = named(caches.claims.of(&owner));
        let mut objects = caches.objects(&owner);
        objects.retain(|object| belongs(object.metadata(), &uid));
        let members = self.around.members.of(&pods).await;
        let certificates = kind.certificates(&resource);
        let secret = self.waited_for(certificates.as_deref(), key, &pods).await;
        let denials = self
            .denials
            .of(&self.around.client, key, &stateful_sets, &pods)
            .await;

        self.seen = Some(Seen {
            key: key.clone(),
            resource: resource.clone(),
            certificates,
            stateful_sets: stateful_sets.clone(),
            pods: pods.clone(),
            claims: claims.clone(),
        });
        let observed = Observed {
            stateful_sets,
            pods,
            claims,
            objects,
            denials,
            secret,
            members,
            ..Observed::default()
        };
        Ok(Some(Snapshot { resource, observed }))
    }

    async fn apply(&mut self, object: Object) -> Result<Object, Failure> {
        let seen = self.seen()?;
        let (kind, name) = (object.kind(), object.name().to_owned());
        let living = match kind {
            // What was decided on, though there may be a newer one by now.
            "StatefulSet" => seen
                .stateful_sets
                .get(&name)
                .cloned()
                .map(Object::StatefulSet),
            _ => self.around.caches.object(
                kind,
                &Key {
                    namespace: seen.key.namespace.clone(),
                    name: name.clone(),
                },
            ),
        };
        let existed = seen.was_applied(kind);
        let (client, namespace) = (&self.around.client, &seen.key.namespace);
        let task = Task::new(client, namespace, seen.uid(), &object)?;
        let found = self.ledger.compare(&task, living, existed).await?;
        if let Some(drift) = found.drift {
            self.around.metrics.drifted(kind, drift);
            let event = Event {
                warning: true,
                reason: "DriftRepaired",
                message: format!("{kind} {name} was {drift} by another hand: it is put back"),
            };
            // An event that is lost is no reason to stop.
            let _ = self.emit(&event).await;
        }
        self.ledger.settle(&task, found.todo).await
    }

    async fn act(&mut self, action: &Action) -> Result<(), Failure> {
        tracing::info!(?action, "acting");
        match action {
            Action::MarkClaim {
                name,
                uid,
                annotations,
                owned,
            } => self.mark(name, uid, annotations, *owned).await,
            Action::GrowClaim { name, uid, size } => self.grow(name, uid, size).await,
            Action::OwnPod { name, uid, owned } => self.own(name, uid, *owned).await,
            Action::OrphanSet { name, uid } => {
                self.ledger.forget("StatefulSet", name);
                delete(
                    self.api::<StatefulSet>()?,
                    DeleteParams::orphan(),
                    name,
                    uid,
                )
                .await
            }
            Action::DeleteClaim { name, uid } => {
                let claims = self.api::<PersistentVolumeClaim>()?;
                delete(claims, DeleteParams::default(), name, uid).await
            }
            Action::DeletePod { name, uid } => {
                delete(self.api::<Pod>()?, DeleteParams::default(), name, uid).await
            }
            Action::Ask {
                pod,
                pod_uid,
                request,
            } => self.ask(pod, pod_uid, request).await,
        }
    }

    async fn emit(&mut self, event: &Event) -> Result<(), Failure> {
        let seen = self.seen()?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let about = ObjectReference {
            api_version: text(&seen.resource["apiVersion"]),
            kind: text(&seen.resource["kind"]),
            name: Some(seen.key.name.clone()),
            namespace: Some(seen.key.namespace.clone()),
            uid: Some(seen.uid().to_owned()),
            ..ObjectReference::default()
        };
        tracing::info!(
            namespace = seen.key.namespace,
            name = seen.key.name,
            reason = event.reason,
            "{}",
            event.message
        );
        let told = self.around.reporter.tell(&about, event).await;
        if let Err(error) = &told {
            tracing::warn!(%error, reason = event.reason, "an event was lost");
        }
        told.map_err(|error| failure("event", error))
    }

    async fn write_status(&mut self, status: Value) -> Result<String, Failure> {
        let seen = self.seen()?;
        let wanted = json!({
            "apiVersion": seen.resource["apiVersion"],
            "kind": seen.resource["kind"],
            "metadata": {
                "name": seen.key.name,
                "uid": seen.resource["metadata"]["uid"],
                "resourceVersion": seen.resource["metadata"]["resourceVersion"],
            },
            "status": status,
        });
        let resources: Api<DynamicObject> = Api::namespaced_with(
            self.around.client.clone(),
            &seen.key.namespace,
            &self.resource,
        );
        let params = PatchParams::apply(STATUS).force();
        let written = resources
            .patch_status(&seen.key.name, &params, &Patch::Apply(&wanted))
            .await;
        let written = written.map_err(|error| failure(&seen.key.name, error))?;
        Ok(written.metadata.resource_version.unwrap_or_default())
    }
}
