//! What the API server has, kept at hand by watches: every resource, and everything that was made for one.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use quorate_engine::Key;
use quorate_plan::{APP, AnyKind, INSTANCE, Object};
use serde::de::DeserializeOwned;

/// What everything that we made has; claims and pods too.
const OURS: &str = "app.kubernetes.io/managed-by=quorate";

/// Whose something is, by its labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Owner {
    /// The kind, as `raft-cluster`.
    pub app: String,
    /// The resource: those of another kind may be called the same.
    pub resource: Key,
}

/// Resources of which something changed.
pub(crate) type Touched = SelectAll<Pin<Box<dyn Stream<Item = Owner> + Send>>>;

/// The caches of what resources own.
#[derive(Clone, Debug)]
pub(crate) struct Caches {
    pub stateful_sets: Cache<StatefulSet>,
    pub pods: Cache<Pod>,
    pub claims: Cache<PersistentVolumeClaim>,
    pub service_accounts: Cache<ServiceAccount>,
    pub config_maps: Cache<ConfigMap>,
    pub services: Cache<Service>,
    pub network_policies: Cache<NetworkPolicy>,
    pub budgets: Cache<PodDisruptionBudget>,
}

impl Caches {
    /// Fills and keeps the caches for as long as the stream is polled, which names the resources whose objects
    /// changed or went.
    pub fn keep(client: &Client, namespace: Option<&str>) -> (Self, Touched) {
        let mut touched = Touched::new();
        let caches = Self {
            stateful_sets: cache(client, namespace, |_| {}, &mut touched),
            pods: cache(client, namespace, lean, &mut touched),
            claims: cache(client, namespace, lean, &mut touched),
            service_accounts: cache(client, namespace, |_| {}, &mut touched),
            config_maps: cache(client, namespace, |_| {}, &mut touched),
            services: cache(client, namespace, |_| {}, &mut touched),
            network_policies: cache(client, namespace, |_| {}, &mut touched),
            budgets: cache(client, namespace, |_| {}, &mut touched),
        };
        (caches, touched)
    }

    /// Waits until each cache was filled once.
    pub async fn filled(&self) {
        // A writer that is gone ends the operator elsewhere.
        let _ = futures::join!(
            self.stateful_sets.store.wait_until_ready(),
            self.pods.store.wait_until_ready(),
            self.claims.store.wait_until_ready(),
            self.service_accounts.store.wait_until_ready(),
            self.config_maps.store.wait_until_ready(),
            self.services.store.wait_until_ready(),
            self.network_policies.store.wait_until_ready(),
            self.budgets.store.wait_until_ready(),
        );
    }

    /// The cached object of this kind and name, but for StatefulSets.
    pub fn object(&self, kind: &str, key: &Key) -> Option<Object> {
        match kind {
            "ServiceAccount" => self.service_accounts.get(key).map(Object::ServiceAccount),
            "ConfigMap" => self.config_maps.get(key).map(Object::ConfigMap),
            "Service" => self.services.get(key).map(Object::Service),
            "NetworkPolicy" => self.network_policies.get(key).map(Object::NetworkPolicy),
            "PodDisruptionBudget" => self.budgets.get(key).map(Object::PodDisruptionBudget),
            _ => None,
        }
    }

    /// Everything that belongs to a resource, but for StatefulSets.
    pub fn objects(&self, key: &Owner) -> Vec<Object> {
        let service_accounts = self.service_accounts.of(key).map(Object::ServiceAccount);
        let config_maps = self.config_maps.of(key).map(Object::ConfigMap);
        let services = self.services.of(key).map(Object::Service);
        let network_policies = self.network_policies.of(key).map(Object::NetworkPolicy);
        let budgets = self.budgets.of(key).map(Object::PodDisruptionBudget);
        service_accounts
            .chain(config_maps)
            .chain(services)
            .chain(network_policies)
            .chain(budgets)
            .collect()
    }
}

/// The objects of a kind. Those of an instance are found by an index: to look through all of them for each resource
/// would take time with the square of their number.
#[derive(Clone, Debug)]
pub(crate) struct Cache<K: Resource<DynamicType = ()> + 'static> {
    store: Store<K>,
    names: Arc<Mutex<Names>>,
}

impl<K> Cache<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    /// The object of this name.
    fn get(&self, key: &Key) -> Option<K> {
        let at = ObjectRef::new(&key.name).within(&key.namespace);
        self.store.get(&at).map(Arc::unwrap_or_clone)
    }

    /// The objects of a resource.
    pub fn of(&self, instance: &Owner) -> impl Iterator<Item = K> {
        let names: Vec<_> = self
            .names()
            .range((instance.clone(), String::new())..)
            .take_while(|(key, _)| key == instance)
            .map(|(_, name)| name.clone())
            .collect();
        let namespace = instance.resource.namespace.clone();
        let found = names.into_iter().filter_map(move |name| {
            let namespace = namespace.clone();
            self.get(&Key { namespace, name })
        });
        // One that was given to another instance stays in the index of the first until the next list.
        found.filter(|object| owner_of(object).as_ref() == Some(instance))
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows the store, which has seen the event already. What a list begins to tell is known here before it is there:
    /// when the store first says that it is filled, nothing may be missing.
    fn index(&self, event: &Event<K>) {
        let mut names = self.names();
        match event {
            Event::Apply(object) | Event::InitApply(object) => names.extend(entry(object)),
            Event::Delete(object) => {
                if let Some(entry) = entry(object) {
                    names.remove(&entry);
                }
            }
            // What went while nobody watched is told by nothing but its absence.
            Event::InitDone => {
                let objects = self.store.state();
                *names = objects
                    .iter()
                    .filter_map(|object| entry(&**object))
                    .collect();
            }
            Event::Init => {}
        }
    }
}

/// Resources, each with the name of an object of its.
type Names = BTreeSet<(Owner, String)>;

fn entry<K: Resource>(object: &K) -> Option<(Owner, String)> {
    owner_of(object).zip(object.meta().name.clone())
}

/// The resource that an object was made for, by its labels.
fn owner_of<K: Resource>(object: &K) -> Option<Owner> {
    let labels = object.meta().labels.as_ref()?;
    Some(Owner {
        app: labels.get(APP)?.clone(),
        resource: Key {
            namespace: object.meta().namespace.clone()?,
            name: labels.get(INSTANCE)?.clone(),
        },
    })
}

/// Without who set which field: half of a pod, and asked for only of what we apply ourselves.
fn lean<K: Resource>(object: &mut K) {
    object.meta_mut().managed_fields = None;
}

fn cache<K>(
    client: &Client,
    namespace: Option<&str>,
    trim: fn(&mut K),
    touched: &mut Touched,
) -> Cache<K>
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
    let cache = Cache {
        store,
        names: Arc::default(),
    };
    let index = cache.clone();
    let config = watcher::Config::default().labels(OURS);
    let watched = watch(api, config, writer, trim, move |event| index.index(event));
    touched.push(Box::pin(
        watched.filter_map(|object| future::ready(owner_of(&object))),
    ));
    cache
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
    let changed =
        watch(api, watcher::Config::default(), writer, |_| {}, |_| {}).filter_map(|object| {
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

/// Watches for ever: what breaks is told, and tried again after a while that grows. `seen` hears of each event once the
/// store has it.
fn watch<K>(
    api: Api<K>,
    config: watcher::Config,
    writer: Writer<K>,
    trim: fn(&mut K),
    seen: impl Fn(&Event<K>) + Send,
) -> impl Stream<Item = K> + Send
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Debug + Clone + Eq + Hash + Send + Sync,
{
    watcher(api, config)
        .default_backoff()
        .modify(trim)
        .reflect(writer)
        .inspect_ok(seen)
        .touched_objects()
        .inspect_err(|error| tracing::warn!(%error, "a watch broke; it is begun again"))
        .filter_map(|touched| future::ready(touched.ok()))
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector;
    use serde_json::json;

    use super::*;

    fn pod(name: &str, instance: &str) -> Pod {
        let labels = json!({ APP: "app", INSTANCE: instance });
        let metadata = json!({ "namespace": "a", "name": name, "labels": labels });
        serde_json::from_value(json!({ "metadata": metadata })).unwrap()
    }

    fn owner(app: &str, name: &str) -> Owner {
        let resource = Key {
            namespace: "a".into(),
            name: name.into(),
        };
        let app = app.into();
        Owner { app, resource }
    }

    #[test]
    fn an_instance_has_what_the_store_has_of_it() {
        let (store, mut writer) = reflector::store();
        let cache = Cache {
            store,
            names: Arc::default(),
        };
        let mut see = |event| {
            writer.apply_watcher_event(&event);
            cache.index(&event);
        };
        let of = |instance| {
            let instance = owner("app", instance);
            let names = cache.of(&instance).map(|pod: Pod| pod.metadata.name);
            names.flatten().collect::<Vec<_>>()
        };
        see(Event::Init);
        see(Event::InitApply(pod("x-0", "x")));
        see(Event::InitApply(pod("y-0", "y")));
        see(Event::InitDone);
        see(Event::Apply(pod("x-1", "x")));
        assert_eq!(
            (of("x"), of("y")),
            (vec!["x-0".into(), "x-1".into()], vec!["y-0".into()])
        );
        let of_another_kind = cache.of(&owner("other", "x")).count();
        assert_eq!(of_another_kind, 0, "two kinds may call theirs the same");
        see(Event::Delete(pod("x-0", "x")));
        see(Event::Apply(pod("y-0", "x")));
        assert_eq!(
            (of("x"), of("y")),
            (vec!["x-1".into(), "y-0".into()], vec![])
        );

        // A new list: until its end the old holds, and what it does not name has gone.
        see(Event::Init);
        see(Event::InitApply(pod("x-2", "x")));
        assert_eq!(of("x"), ["x-1", "y-0"]);
        see(Event::InitDone);
        assert_eq!((of("x"), of("y")), (vec!["x-2".into()], vec![]));
    }
}
