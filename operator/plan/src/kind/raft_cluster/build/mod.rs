//! The Kubernetes objects of a RaftCluster. Pure, and cannot fail: what could was checked by `validate`.

mod budget;
mod config;
mod members;
mod network;
mod services;

use k8s_openapi::api::core::v1::ServiceAccount;

pub(super) use services::CLIENT;

use super::validate::ValidRaftCluster;
use crate::common::overrides::MEMBER;
use crate::{Env, Object, PoolStage, Stage, Template};

/// The name of the only pool.
pub const POOL: &str = "member";

/// Where members listen: on their pod's own address.
mod port {
    pub const CLIENT: i32 = 7070;
    pub const PEER: i32 = 7071;
    pub const ADMIN: i32 = 7072;
    pub const HEALTH: i32 = 7073;
}

/// The objects of a stage, in the order of application. A stage without the pool leaves its StatefulSet as specified:
/// `decide` always names it.
pub fn build(valid: &ValidRaftCluster, stage: &Stage, env: &Env) -> Vec<Object> {
    let specified = PoolStage {
        replicas: valid.members.get(),
        partition: 0,
        template: Template::Target,
        claim_size: None,
    };
    let pool = stage.pools.get(POOL).unwrap_or(&specified);
    let config = config::config_map(valid);
    let members = members::stateful_set(valid, pool, &config, env);
    vec![
        Object::ServiceAccount(service_account(valid)),
        Object::ConfigMap(config),
        Object::Service(services::peers(valid)),
        Object::Service(services::client(valid)),
        Object::NetworkPolicy(network::policy(valid, env)),
        Object::PodDisruptionBudget(budget::budget(valid)),
        Object::StatefulSet(members),
    ]
}

/// Where a pod's peer listener is, as the other members find it.
pub(super) fn peer_address(valid: &ValidRaftCluster, env: &Env, pod: &str) -> String {
    let (name, namespace) = (valid.identity.name(), valid.identity.namespace());
    format!(
        "{pod}.{name}{}.{namespace}.svc.{}:{}",
        services::PEERS,
        env.cluster_domain,
        port::PEER
    )
}

/// An identity without rights, so that a member that was broken into can ask the API server nothing.
fn service_account(valid: &ValidRaftCluster) -> ServiceAccount {
    ServiceAccount {
        metadata: valid.identity.meta("", MEMBER),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}
