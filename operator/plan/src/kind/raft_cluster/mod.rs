//! RaftCluster: one raft group, in which every member of the only pool votes.

mod config;
mod decide;
#[cfg(feature = "testing")]
mod example;
mod try_next;
mod validate;

#[cfg(feature = "testing")]
pub(crate) use example::EXAMPLE;

use jiff::Timestamp;
use quorate_api::{RaftCluster, RaftClusterStatus, Status};
use quorate_wire::GroupRequest;

use crate::pool::{Audience, KindNames, Pool, PoolName, Port, Program};
use crate::{
    Census, Decision, Desired, Env, GroupSpec, Invalid, Kind, KindStatus, Observed, Refusal, Voters,
};

pub use validate::{ValidRaftCluster, unchangeable, validate};

/// The only pool.
pub const POOL: PoolName = PoolName {
    name: "member",
    tag: "",
};

/// The only group.
const GROUP: GroupSpec = GroupSpec {
    number: 1,
    voters: Voters::All,
};

/// A start reads the log: it may take as long as it takes on a slow disk.
const STARTS_WITHIN: i32 = 600;

const PORTS: [Port; 4] = [
    port("client", 7070, Audience::Clients),
    port("peer", 7071, Audience::Members),
    port("admin", 7072, Audience::Operator),
    port("health", 7073, Audience::Kubelet),
];

const fn port(name: &'static str, number: i32, audience: Audience) -> Port {
    Port {
        name,
        number,
        audience,
    }
}

/// The kind.
#[derive(Clone, Copy, Debug)]
pub struct RaftClusters;

impl Kind for RaftClusters {
    type Resource = RaftCluster;
    type Valid = ValidRaftCluster;
    type Status = RaftClusterStatus;
    const NAMES: KindNames = KindNames {
        app: "raft-cluster",
        tag: "rcl",
    };
    const BINARY: &'static str = "quorate-raft-cluster";
    const POOLS: &'static [PoolName] = &[POOL];
    const VOLATILE: &'static [&'static str] = &["matchIndex", "applied", "lag"];
    const REFUSALS: &'static [Refusal] = &Refusal::OF_GROUPS;
    const REQUESTS: &'static [&'static str] = &GroupRequest::NAMES;

    fn validate(resource: &RaftCluster, env: &Env) -> Result<ValidRaftCluster, Vec<Invalid>> {
        validate(resource, env)
    }

    fn unchangeable(old: &RaftCluster, new: &RaftCluster) -> Result<(), Vec<Invalid>> {
        unchangeable(old, new)
    }

    fn pools(valid: &ValidRaftCluster) -> Vec<Pool> {
        let program = Program {
            binary: Self::BINARY,
            ports: PORTS.to_vec(),
            environment: Vec::new(),
            config: config::lines(valid),
            starts_within: STARTS_WITHIN,
        };
        vec![Pool::new(&valid.basics, POOL, valid.members, program)]
    }

    fn decide(
        desired: &Desired<Self>,
        observed: &Observed,
        now: Timestamp,
    ) -> Decision<RaftClusterStatus> {
        decide::decide(desired, observed, now)
    }

    fn report(resource: &RaftCluster, pools: &[&Census<'_>], status: &mut RaftClusterStatus) {
        decide::report(resource, pools, status);
    }

    fn try_next(resource: &RaftCluster, endpoint: &str) -> Vec<String> {
        try_next::try_next(resource, endpoint)
    }

    fn certificates(resource: &RaftCluster) -> Option<&str> {
        let tls = resource.spec.tls.as_ref();
        tls.map(|tls| tls.secret_name.as_str())
    }
}

impl KindStatus for RaftClusterStatus {
    fn common(&mut self) -> &mut Status {
        &mut self.common
    }

    fn unlearn(&mut self) {
        self.leader = None;
    }
}
