//! A kind is a folder, not a fork: what differs between kinds stands behind [`Kind`], and hosts, cli and generators
//! go through the registry [`kinds`].

pub mod raft_cluster;

use std::marker::PhantomData;

use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use kube::core::{ObjectMeta, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Applied, Decision, Env, Object, Objects, Observed, Prepared, Stage};

/// One kind of resource.
pub trait Kind: Send + Sync + 'static {
    /// The custom resource.
    type Resource: Resource<DynamicType = ()>
        + CustomResourceExt
        + Serialize
        + DeserializeOwned
        + Send
        + Sync;
    /// The spec in types that cannot hold a bad value.
    type Valid: Send + Sync;
    /// The name of the members' binary, which an image has on its PATH.
    const BINARY: &'static str;
    /// Fields of the status, at any depth, that move all the time: a change of these alone is seldom written.
    const VOLATILE: &'static [&'static str];

    /// Checks the whole resource, and says everything that is wrong with it at once.
    fn validate(resource: &Self::Resource, env: &Env) -> Result<Self::Valid, Vec<Invalid>>;
    /// What a change of a living resource may not do: the CRD's transition rules, for a host without API server.
    fn unchangeable(old: &Self::Resource, new: &Self::Resource) -> Result<(), Vec<Invalid>>;
    /// What to do now. Pure.
    fn decide(desired: &Desired<Self>, observed: &Observed, now: Timestamp) -> Decision;
    /// The objects of a stage. Pure, and cannot fail: what could was checked by `validate`.
    fn build(valid: &Self::Valid, stage: &Stage, env: &Env) -> Vec<Object>;
    /// The status to write: the decision's own, and what the applied objects add to it.
    fn status(desired: &Desired<Self>, decision: &Decision, applied: &Objects<Applied>) -> Value;
    /// Commands that try a ready resource out at one of its client endpoints, for people to copy.
    fn try_next(resource: &Self::Resource, endpoint: &str) -> Vec<String>;
    /// The status of a resource that [`Kind::validate`] refused.
    fn invalid(
        resource: &Self::Resource,
        faults: &[Invalid],
        observed: &Observed,
        now: Timestamp,
    ) -> Value;
}

/// A resource and what its spec means.
#[derive(Clone, Debug)]
pub struct Desired<K: Kind + ?Sized> {
    /// The resource as the host has it, with its metadata and status.
    pub resource: K::Resource,
    /// Its spec, checked.
    pub valid: K::Valid,
    /// What it was checked against.
    pub env: Env,
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
    fn names(&self) -> Names;
    /// The definition of its resource.
    fn crd(&self) -> CustomResourceDefinition;
    /// Reads and checks a resource.
    fn validate(&self, resource: &Value, env: &Env) -> Result<Box<dyn AnyDesired>, Rejected>;
    /// See [`Kind::invalid`]; none for what is not of the schema.
    fn invalid(
        &self,
        resource: &Value,
        faults: &[Invalid],
        observed: &Observed,
        now: Timestamp,
    ) -> Option<Value>;
    /// See [`Kind::unchangeable`]; both were validated.
    fn unchangeable(&self, old: &Value, new: &Value) -> Result<(), Vec<Invalid>>;
    /// See [`Kind::try_next`].
    fn try_next(&self, resource: &Value, endpoint: &str) -> Vec<String>;
    /// See [`Kind::VOLATILE`].
    fn volatile(&self) -> &'static [&'static str];
}

/// A checked resource whose types were erased.
pub trait AnyDesired: Send + Sync {
    /// The resource's metadata.
    fn metadata(&self) -> &ObjectMeta;
    /// See [`Kind::decide`].
    fn decide(&self, observed: &Observed, now: Timestamp) -> Decision;
    /// See [`Kind::build`].
    fn build(&self, stage: &Stage) -> Objects<Prepared>;
    /// See [`Kind::status`].
    fn status(&self, decision: &Decision, applied: &Objects<Applied>) -> Value;
}

/// Every kind there is.
pub fn kinds() -> &'static [&'static dyn AnyKind] {
    &[&Erased::<raft_cluster::RaftClusters>(PhantomData)]
}

struct Erased<K>(PhantomData<K>);

impl<K: Kind> AnyKind for Erased<K> {
    fn names(&self) -> Names {
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
    }

    fn crd(&self) -> CustomResourceDefinition {
        K::Resource::crd()
    }

    fn validate(&self, resource: &Value, env: &Env) -> Result<Box<dyn AnyDesired>, Rejected> {
        let resource: K::Resource = serde_path_to_error::deserialize(resource)
            .map_err(|error| Rejected::Schema(error.to_string()))?;
        match K::validate(&resource, env) {
            Ok(valid) => Ok(Box::new(Desired::<K> {
                resource,
                valid,
                env: env.clone(),
            })),
            Err(faults) => Err(Rejected::Invalid(faults)),
        }
    }

    fn invalid(
        &self,
        resource: &Value,
        faults: &[Invalid],
        observed: &Observed,
        now: Timestamp,
    ) -> Option<Value> {
        let resource = <K::Resource as serde::Deserialize>::deserialize(resource).ok()?;
        Some(K::invalid(&resource, faults, observed, now))
    }

    fn unchangeable(&self, old: &Value, new: &Value) -> Result<(), Vec<Invalid>> {
        let read = |value| <K::Resource as serde::Deserialize>::deserialize(value);
        match (read(old), read(new)) {
            (Ok(old), Ok(new)) => K::unchangeable(&old, &new),
            // What an older schema let in can only be mended.
            _ => Ok(()),
        }
    }

    fn try_next(&self, resource: &Value, endpoint: &str) -> Vec<String> {
        <K::Resource as serde::Deserialize>::deserialize(resource)
            .map(|resource| K::try_next(&resource, endpoint))
            .unwrap_or_default()
    }

    fn volatile(&self) -> &'static [&'static str] {
        K::VOLATILE
    }
}

impl<K: Kind> AnyDesired for Desired<K> {
    fn metadata(&self) -> &ObjectMeta {
        self.resource.meta()
    }

    fn decide(&self, observed: &Observed, now: Timestamp) -> Decision {
        K::decide(self, observed, now)
    }

    fn build(&self, stage: &Stage) -> Objects<Prepared> {
        Objects::prepared(K::build(&self.valid, stage, &self.env))
    }

    fn status(&self, decision: &Decision, applied: &Objects<Applied>) -> Value {
        K::status(self, decision, applied)
    }
}
