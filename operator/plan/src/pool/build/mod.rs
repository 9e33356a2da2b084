//! The Kubernetes objects of a pool. Pure, and cannot fail: what could was checked when its resource was.

mod budget;
mod config;
mod network;
mod services;
mod set;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

pub(crate) use services::{CLIENT, PEERS, client_names};
pub(crate) use set::stateful_set;

use super::spec::Pool;
use crate::{Env, Object, PoolStage};

/// The objects of a stage, in the order of application.
pub(crate) fn build(pool: &Pool, stage: &PoolStage, env: &Env) -> Vec<Object> {
    let services = [Some(services::peers(pool)), services::client(pool)];
    [
        Object::ServiceAccount(service_account(pool)),
        Object::ConfigMap(config::config_map(pool)),
        Object::NetworkPolicy(network::policy(pool, env)),
        Object::PodDisruptionBudget(budget::budget(pool)),
        Object::StatefulSet(stateful_set(pool, stage, env)),
    ]
    .into_iter()
    .chain(services.into_iter().flatten().map(Object::Service))
    .collect()
}

impl Pool {
    /// The labels that select its pods.
    pub(crate) fn selector(&self) -> BTreeMap<String, String> {
        self.identity.selector(self.name.name)
    }

    /// The metadata of an object called after the StatefulSet and a suffix.
    fn meta(&self, suffix: &str) -> ObjectMeta {
        let name = format!("{}{suffix}", self.set);
        self.identity.meta(name, self.name.name)
    }
}

/// An identity without rights, so that a member that was broken into can ask the API server nothing.
fn service_account(pool: &Pool) -> ServiceAccount {
    ServiceAccount {
        metadata: pool.meta(""),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}
