//! What the API server has, kept at hand by watches: every resource, and everything that was made for one.

use std::fmt::Debug;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::Arc;

use futures::stream::SelectAll;
use futures::{Stream, StreamExt, TryStreamExt, future};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use quorate_engine::Key;
use quorate_plan::{AnyKind, INSTANCE, Object};
use serde::de::DeserializeOwned;

/// What everything that we made has; claims and pods too.
const OURS: &str = "app.kubernetes.io/managed-by=quorate";

/// Names of resources of which something changed.
pub(crate) type Touched = SelectAll<Pin<Box<dyn Stream<Item = Key> + Send>>>;

/// The caches of what resources own.
#[derive(Clone, Debug)]
pub(crate) struct Caches {
    pub stateful_sets: Store<StatefulSet>,
    pub pods: Store<Pod>,
    pub claims: Store<PersistentVolumeClaim>,
    pub service_accounts: Store<ServiceAccount>,
    pub config_maps: Store<ConfigMap>,
    pub services: Store<Service>,
    pub network_policies: Store<NetworkPolicy>,
    pub budgets: Store<PodDisruptionBudget>,
}

impl Caches {
    /// Fills and keeps the caches for as long as the stream is polled, which names the resources whose objects
    /// changed or went.
    pub fn keep(client: &Client, namespace: Option<&str>) -> (Self, Touched) {
        let mut touched = Touched::new();
        let caches = Self {
            stateful_sets: cache(client, namespace, &mut touched),
            pods: cache(client, namespace, &mut touched),
            claims: cache(client, namespace, &mut touched),
            service_accounts: cache(client, namespace, &mut touched),
            config_maps: cache(client, namespace, &mut touched),
            services: cache(client, namespace, &mut touched),
            network_policies: cache(client, namespace, &mut touched),
            budgets: cache(client, namespace, &mut touched),
        };
        (caches, touched)
    }

    /// Waits until each cache was filled once.
    pub async fn filled(&self) {
        // A writer that is gone ends the operator elsewhere.
        let _ = futures::join!(
            self.stateful_sets.wait_until_ready(),
            self.pods.wait_until_ready(),
            self.claims.wait_until_ready(),
            self.service_accounts.wait_until_ready(),
            self.config_maps.wait_until_ready(),
            self.services.wait_until_ready(),
            self.network_policies.wait_until_ready(),
            self.budgets.wait_until_ready(),
        );
    }

    /// The cached object of this kind and name, but for StatefulSets.
    pub fn object(&self, kind: &str, key: &Key) -> Option<Object> {
        match kind {
            "ServiceAccount" => get(&self.service_accounts, key).map(Object::ServiceAccount),
            "ConfigMap" => get(&self.config_maps, key).map(Object::ConfigMap),
            "Service" => get(&self.services, key).map(Object::Service),
            "NetworkPolicy" => get(&self.network_policies, key).map(Object::NetworkPolicy),
            "PodDisruptionBudget" => get(&self.budgets, key).map(Object::PodDisruptionBudget),
            _ => None,
        }
    }

    /// Everything in the namespace that belongs to the instance of this name, but for StatefulSets.
    pub fn objects(&self, key: &Key) -> Vec<Object> {
        let service_accounts = of(&self.service_accounts, key).map(Object::ServiceAccount);
        let config_maps = of(&self.config_maps, key).map(Object::ConfigMap);
        let services = of(&self.services, key).map(Object::Service);
        let network_policies = of(&self.network_policies, key).map(Object::NetworkPolicy);
        let budgets = of(&self.budgets, key).map(Object::PodDisruptionBudget);
        service_accounts
            .chain(config_maps)
            .chain(services)
            .chain(network_policies)
            .chain(budgets)
            .collect()
    }
}

/// The cached object of this name.
fn get<K>(store: &Store<K>, key: &Key) -> Option<K>
where
    K: Resource<DynamicType = ()> + Clone,
{
    let at = ObjectRef::new(&key.name).within(&key.namespace);
    store.get(&at).map(Arc::unwrap_or_clone)
}

/// The cached objects of an instance.
pub(crate) fn of<K>(store: &Store<K>, key: &Key) -> impl Iterator<Item = K>
where
    K: Resource<DynamicType = ()> + Clone,
{
    let found = store.state_filter(|object| {
        let labels = object.meta().labels.as_ref();
        object.meta().namespace.as_ref() == Some(&key.namespace)
            && labels.and_then(|labels| labels.get(INSTANCE)) == Some(&key.name)
    });
    found.into_iter().map(Arc::unwrap_or_clone)
}

/// The resource that an object was made for, by its labels.
fn key_of<K: Resource>(object: &K) -> Option<Key> {
    Some(Key {
        namespace: object.meta().namespace.clone()?,
        name: object.meta().labels.as_ref()?.get(INSTANCE)?.clone(),
    })
}

fn cache<K>(client: &Client, namespace: Option<&str>, touched: &mut Touched) -> Store<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let api: Api<K> = match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let (store, writer) = kube::runtime::reflector::store();
    touched.push(Box::pin(
        watch(api, watcher::Config::default().labels(OURS), writer)
            .filter_map(|object| future::ready(key_of(&object))),
    ));
    store
}

/// The cache of a kind's resources, and a stream of those that changed, which keeps it.
pub(crate) fn resources(
    client: &Client,
    namespace: Option<&str>,
    kind: &dyn AnyKind,
) -> (
    Store<DynamicObject>,
    ApiResource,
    impl Stream<Item = Key> + Send + use<>,
) {
    let resource = api_resource(kind);
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let writer = Writer::new(resource.clone());
    let store = writer.as_reader();
    let changed = watch(api, watcher::Config::default(), writer).filter_map(|object| {
        future::ready(
            object
                .metadata
                .namespace
                .zip(object.metadata.name)
                .map(|(namespace, name)| Key { namespace, name }),
        )
    });
    (store, resource, changed)
}

/// How the API server calls a kind.
pub(crate) fn api_resource(kind: &dyn AnyKind) -> ApiResource {
    let names = kind.names();
    let (group, version) = names.api_version.split_once('/').unwrap_or_default();
    ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk(group, version, &names.kind),
        &names.plural,
    )
}

/// Watches for ever: what breaks is told, and tried again after a while that grows.
fn watch<K>(api: Api<K>, config: watcher::Config, writer: Writer<K>) -> impl Stream<Item = K> + Send
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Debug + Clone + Eq + Hash + Send + Sync,
{
    watcher(api, config)
        .default_backoff()
        .reflect(writer)
        .touched_objects()
        .inspect_err(|error| tracing::warn!(%error, "a watch broke; it is begun again"))
        .filter_map(|touched| future::ready(touched.ok()))
}
