//! A kind is a folder, not a fork: what differs between kinds stands behind [`Kind`], and hosts, cli and generators
//! go through the registry [`kinds`].

pub mod raft_cluster;

use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::OnceLock;

use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use kube::core::object::HasStatus;
use kube::core::{ObjectMeta, Resource};
use quorate_api::Status;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::common::identity::set_name;
use crate::pool::{self, Census, KindNames, Pool, PoolName};
use crate::{Applied, Decision, Env, Objects, Observed, Prepared, Refusal, Stage};

/// One kind of resource.
pub trait Kind: Send + Sync + 'static {
    /// The custom resource.
    type Resource: Resource<DynamicType = ()>
        + CustomResourceExt
        + HasStatus<Status = Self::Status>
        + Serialize
        + DeserializeOwned
        + Send
        + Sync;
    /// The spec in types that cannot hold a bad value.
    type Valid: Send + Sync;
    /// What is reported.
    type Status: KindStatus;
    /// How its objects are marked.
    const NAMES: KindNames;
    /// The name of the members' binary, which an image has on its PATH.
    const BINARY: &'static str;
    /// Its pools; the first is the one that `kubectl scale` scales.
    const POOLS: &'static [PoolName];
    /// Fields of the status, at any depth, that move all the time: a change of these alone is seldom written.
    const VOLATILE: &'static [&'static str];
    /// What may be refused.
    const REFUSALS: &'static [Refusal];
    /// The names of requests to members.
    const REQUESTS: &'static [&'static str];

    /// Checks the whole resource, and says everything that is wrong with it at once.
    fn validate(resource: &Self::Resource, env: &Env) -> Result<Self::Valid, Vec<Invalid>>;
    /// What a change of a living resource may not do: the CRD's transition rules, for a host without API server.
    fn unchangeable(old: &Self::Resource, new: &Self::Resource) -> Result<(), Vec<Invalid>>;
    /// The pools that a spec asks for, in the order of [`Kind::POOLS`].
    fn pools(valid: &Self::Valid) -> Vec<Pool>;
    /// What to do now. Pure.
    fn decide(
        desired: &Desired<Self>,
        observed: &Observed,
        now: Timestamp,
    ) -> Decision<Self::Status>;
    /// What an observation tells whatever the spec is, written into the status. The pools are in the order of
    /// [`Kind::POOLS`].
    fn report(resource: &Self::Resource, pools: &[&Census<'_>], status: &mut Self::Status);
    /// Commands that try a ready resource out at one of its client endpoints, for people to copy.
    fn try_next(resource: &Self::Resource, endpoint: &str) -> Vec<String>;
    /// The Secret with the members' certificates.
    fn certificates(resource: &Self::Resource) -> Option<&str>;
}

/// The status of a kind.
pub trait KindStatus: Clone + Debug + Default + Serialize + Send + Sync + 'static {
    /// What every kind says.
    fn common(&mut self) -> &mut Status;
    /// Takes back what only somebody who looked can know.
    fn unlearn(&mut self);
}

/// Of a kind that has nothing of its own to say.
impl KindStatus for Status {
    fn common(&mut self) -> &mut Status {
        self
    }

    fn unlearn(&mut self) {}
}

/// A status whose type was erased.
pub trait AnyStatus: Debug + Send + Sync {
    /// What every kind says.
    fn common(&mut self) -> &mut Status;
    /// As it is written.
    fn json(&self) -> Value;
}

impl<S: KindStatus> AnyStatus for S {
    fn common(&mut self) -> &mut Status {
        KindStatus::common(self)
    }

    fn json(&self) -> Value {
        serde_json::to_value(self).unwrap_or(Value::Null)
    }
}

/// A resource and what its spec means.
#[derive(Clone, Debug)]
pub struct Desired<K: Kind + ?Sized> {
    /// The resource as the host has it, with its metadata and status.
    pub resource: K::Resource,
    /// Its spec, checked.
    pub valid: K::Valid,
    /// The pools that it asks for.
    pub pools: Vec<Pool>,
    /// What it was checked against.
    pub env: Env,
}

impl<K: Kind + ?Sized> Desired<K> {
    /// A resource whose spec can be carried out.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn of(resource: K::Resource, env: &Env) -> Result<Self, Vec<Invalid>> {
        let valid = K::validate(&resource, env)?;
        Ok(Desired {
            pools: K::pools(&valid),
            resource,
            valid,
            env: env.clone(),
        })
    }

    /// The objects of a stage. Pure, and cannot fail: what could was checked. A pool that the stage does not name is built
    /// as specified: `decide` names them all.
    pub fn build(&self, stage: &Stage) -> Objects<Prepared> {
        let objects = self.pools.iter().flat_map(|pool| {
            let specified = pool.specified();
            let stage = stage.pools.get(pool.name.name).unwrap_or(&specified);
            pool::build::build(pool, stage, &self.env)
        });
        Objects::prepared(objects.collect())
    }
}

/// A field of a resource that does not hold what it must.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct Invalid {
    /// The field's path, as `spec.storage.size`.
    pub field: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

/// Why a resource cannot be worked on.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Rejected {
    /// It is not of the schema; nothing can be written to it.
    #[error("the resource does not follow its schema: {0}")]
    Schema(String),
    /// It is of the schema, but cannot be carried out.
    #[error("the resource is invalid: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<Invalid>),
}

/// How a kind is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// As `RaftCluster`.
    pub kind: String,
    /// As `quorate.dev/v1alpha1`.
    pub api_version: String,
    /// As `raftclusters`.
    pub plural: String,
    /// As `raftcluster`.
    pub singular: String,
    /// As `rcl`.
    pub short: Vec<String>,
}

/// A kind whose types were erased, for the registry.
pub trait AnyKind: Send + Sync {
    /// How it is called.
    fn names(&self) -> &Names;
    /// The definition of its resource.
    fn crd(&self) -> CustomResourceDefinition;
    /// How its objects are marked.
    fn marks(&self) -> KindNames;
    /// What the StatefulSets of a resource of this name are called, in the order of [`Kind::POOLS`].
    fn sets(&self, resource: &str) -> Vec<String>;
    /// Reads and checks a resource.
    fn validate(&self, resource: &Value, env: &Env) -> Result<Box<dyn AnyDesired>, Rejected>;
    /// The status of a resource that was refused, where what runs goes on running; none for what is not of the schema.
    fn invalid(
        &self,
        resource: &Value,
        faults: &[Invalid],
        observed: &Observed,
        now: Timestamp,
    ) -> Option<Box<dyn AnyStatus>>;
    /// See [`Kind::unchangeable`]; both were validated.
    fn unchangeable(&self, old: &Value, new: &Value) -> Result<(), Vec<Invalid>>;
    /// See [`Kind::try_next`].
    fn try_next(&self, resource: &Value, endpoint: &str) -> Vec<String>;
    /// See [`Kind::certificates`].
    fn certificates(&self, resource: &Value) -> Option<String>;
    /// The status without what only somebody who looked can know.
    fn unlearned(&self, status: &Value) -> Value;
    /// See [`Kind::VOLATILE`].
    fn volatile(&self) -> &'static [&'static str];
    /// See [`Kind::REFUSALS`].
    fn refusals(&self) -> &'static [Refusal];
    /// See [`Kind::REQUESTS`].
    fn requests(&self) -> &'static [&'static str];
}

/// A checked resource whose types were erased.
pub trait AnyDesired: Send + Sync {
    /// The resource's metadata.
    fn metadata(&self) -> &ObjectMeta;
    /// See [`Kind::decide`].
    fn decide(&self, observed: &Observed, now: Timestamp) -> Decision<Box<dyn AnyStatus>>;
    /// See [`Desired::build`].
    fn build(&self, stage: &Stage) -> Objects<Prepared>;
    /// Adds what the applied objects tell.
    fn finish(&self, applied: &Objects<Applied>, status: &mut Status);
}

/// Kinds, as a host or a test is handed them.
pub type Registry = &'static [&'static dyn AnyKind];

/// Every kind there is.
pub fn kinds() -> Registry {
    static RAFT_CLUSTERS: Erased<raft_cluster::RaftClusters> = Erased::new();
    static ALL: [&dyn AnyKind; 1] = [&RAFT_CLUSTERS];
    &ALL
}

/// A kind whose types are to be erased.
pub struct Erased<K> {
    kind: PhantomData<K>,
    /// To ask for them is to make a whole schema; hosts ask all the time.
    names: OnceLock<Names>,
}

impl<K> Erased<K> {
    /// It costs nothing yet.
    pub const fn new() -> Self {
        Self {
            kind: PhantomData,
            names: OnceLock::new(),
        }
    }
}

impl<K> Default for Erased<K> {
    fn default() -> Self {
        Self::new()
    }
}

fn read<K: Kind>(resource: &Value) -> Option<K::Resource> {
    serde::Deserialize::deserialize(resource).ok()
}

impl<K: Kind> AnyKind for Erased<K>
where
    K::Status: DeserializeOwned,
{
    fn names(&self) -> &Names {
        self.names.get_or_init(|| {
            let names = K::Resource::crd().spec.names;
            Names {
                kind: names.kind.clone(),
                api_version: K::Resource::api_version(&()).into_owned(),
                plural: names.plural,
                singular: names
                    .singular
                    .unwrap_or_else(|| names.kind.to_ascii_lowercase()),
                short: names.short_names.unwrap_or_default(),
            }
        })
    }

    fn crd(&self) -> CustomResourceDefinition {
        K::Resource::crd()
    }

    fn marks(&self) -> KindNames {
        K::NAMES
    }

    fn sets(&self, resource: &str) -> Vec<String> {
        let pools = K::POOLS.iter();
        pools
            .map(|pool| set_name(resource, K::NAMES, *pool))
            .collect()
    }

    fn validate(&self, resource: &Value, env: &Env) -> Result<Box<dyn AnyDesired>, Rejected> {
        let resource: K::Resource = serde_path_to_error::deserialize(resource)
            .map_err(|error| Rejected::Schema(error.to_string()))?;
        let desired = Desired::<K>::of(resource, env).map_err(Rejected::Invalid)?;
        Ok(Box::new(desired))
    }

    fn invalid(
        &self,
        resource: &Value,
        faults: &[Invalid],
        observed: &Observed,
        now: Timestamp,
    ) -> Option<Box<dyn AnyStatus>> {
        let resource = read::<K>(resource)?;
        let meta = resource.meta();
        let mut status = resource.status().cloned().unwrap_or_default();
        if let Some((name, uid)) = meta.name.as_deref().zip(meta.uid.as_deref()) {
            let census =
                |pool: &PoolName| Census::of(set_name(name, K::NAMES, *pool), uid, observed, now);
            let pools: Vec<_> = K::POOLS.iter().map(census).collect();
            K::report(&resource, &pools.iter().collect::<Vec<_>>(), &mut status);
        }
        pool::invalid(
            faults,
            meta.generation,
            now,
            KindStatus::common(&mut status),
        );
        Some(Box::new(status))
    }

    fn unchangeable(&self, old: &Value, new: &Value) -> Result<(), Vec<Invalid>> {
        match (read::<K>(old), read::<K>(new)) {
            (Some(old), Some(new)) => K::unchangeable(&old, &new),
            // What an older schema let in can only be mended.
            _ => Ok(()),
        }
    }

    fn try_next(&self, resource: &Value, endpoint: &str) -> Vec<String> {
        read::<K>(resource)
            .map(|resource| K::try_next(&resource, endpoint))
            .unwrap_or_default()
    }

    fn certificates(&self, resource: &Value) -> Option<String> {
        let resource = read::<K>(resource)?;
        K::certificates(&resource).map(str::to_owned)
    }

    fn unlearned(&self, status: &Value) -> Value {
        match <K::Status as serde::Deserialize>::deserialize(status) {
            Ok(mut status) => {
                status.unlearn();
                AnyStatus::json(&status)
            }
            Err(_) => status.clone(),
        }
    }

    fn volatile(&self) -> &'static [&'static str] {
        K::VOLATILE
    }

    fn refusals(&self) -> &'static [Refusal] {
        K::REFUSALS
    }

    fn requests(&self) -> &'static [&'static str] {
        K::REQUESTS
    }
}

impl<K: Kind> AnyDesired for Desired<K> {
    fn metadata(&self) -> &ObjectMeta {
        self.resource.meta()
    }

    fn decide(&self, observed: &Observed, now: Timestamp) -> Decision<Box<dyn AnyStatus>> {
        K::decide(self, observed, now).map(|status| Box::new(status) as Box<dyn AnyStatus>)
    }

    fn build(&self, stage: &Stage) -> Objects<Prepared> {
        Desired::build(self, stage)
    }

    fn finish(&self, applied: &Objects<Applied>, status: &mut Status) {
        pool::finish(&self.pools, applied, status);
    }
}
