//! A pool as a kind specifies it: everything that its objects are built of, checked.

use std::ops::Deref;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::Resource;
use quorate_api as api;
use quorate_api::{Release, Resources, Storage};

use crate::common::check::{Checked, Faults};
use crate::common::identity::Identity;
use crate::common::overrides::Overrides;
use crate::common::pods;
use crate::{Env, PoolStage, Template};

/// The fragments that every kind's spec has, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Basics {
    /// Whose the objects are.
    pub identity: Identity,
    /// What the members shall run.
    pub release: Release,
    /// The volume of each; none of members that keep nothing.
    pub storage: Option<Checked<Storage>>,
    pub(crate) resources: Checked<Resources>,
    pub(crate) tls: Option<api::Tls>,
    pub(crate) service: api::Service,
    pub(crate) monitoring: api::Monitoring,
    pub(crate) logging: api::Logging,
    /// Whether nothing may be changed.
    pub paused: bool,
    pub(crate) pods: Checked<api::Pods>,
    pub(crate) overrides: Overrides,
    /// Whether members are restarted whatever they say that it interrupts.
    pub heedless: bool,
}

/// Annotation of a resource: `true` restarts its members whatever they say that it interrupts. What the others of a group
/// need still counts.
pub const IGNORE_BLOCKERS: &str = "quorate.dev/ignore-restart-blockers";

/// The same fragments as they stand in a spec.
pub(crate) struct Given<'s> {
    pub image: Option<&'s str>,
    pub version: Option<&'s str>,
    pub storage: Option<&'s Storage>,
    pub resources: &'s Resources,
    pub tls: Option<&'s api::Tls>,
    pub service: &'s api::Service,
    pub monitoring: &'s api::Monitoring,
    pub logging: &'s api::Logging,
    pub paused: bool,
    pub pods: &'s api::Pods,
    pub pod_overrides: Option<&'s api::PodOverrides>,
}

impl Basics {
    /// Checks what the rules of a CRD cannot see.
    pub(crate) fn checked<K: Resource<DynamicType = ()>>(
        names: KindNames,
        meta: &ObjectMeta,
        given: &Given<'_>,
        env: &Env,
        faults: &mut Faults,
    ) -> Self {
        let annotations = meta.annotations.as_ref();
        let heedless = annotations.and_then(|annotations| annotations.get(IGNORE_BLOCKERS));
        faults.annotations("spec.service.annotations", &given.service.annotations);
        Basics {
            identity: Identity::checked::<K>(names, meta, faults),
            release: Release {
                image: given.image.unwrap_or(&env.default_image).to_owned(),
                version: given.version.map(str::to_owned),
            },
            storage: given.storage.cloned().map(Checked::new),
            resources: pods::checked_resources(given.resources, faults),
            tls: given.tls.cloned(),
            service: given.service.clone(),
            monitoring: given.monitoring.clone(),
            logging: given.logging.clone(),
            paused: given.paused,
            pods: pods::checked(given.pods, faults),
            overrides: Overrides::checked(given.pod_overrides, given.tls.is_some(), faults),
            heedless: heedless.is_some_and(|heedless| heedless == "true"),
        }
    }
}

/// How the objects of a kind are marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindNames {
    /// As the label `app.kubernetes.io/name`, `raft-cluster`.
    pub app: &'static str,
    /// In the names of objects, at most 3 letters: two resources of one name and different kinds live side by side.
    pub tag: &'static str,
}

/// How a pool is called inside its resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PoolName {
    /// As the label `app.kubernetes.io/component`, and in stages.
    pub name: &'static str,
    /// In the names of objects, at most 3 letters; empty for the only pool of a kind.
    pub tag: &'static str,
}

/// Who may connect to a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Everybody; the clients' Service leads there.
    Clients,
    /// The members of the resource.
    Members,
    /// The operator, and the members.
    Operator,
    /// Everybody, the kubelet before all; no Service for clients leads there.
    Kubelet,
}

/// Where members listen: on their pod's own address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name, by which Services and probes find it.
    pub name: &'static str,
    /// Its number.
    pub number: i32,
    /// Who may connect.
    pub audience: Audience,
}

/// What runs in a pool's pods.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// The binary, which an image has on its PATH.
    pub binary: &'static str,
    /// Where it listens. `peer`, `admin` and `health` have a meaning to the operator.
    pub ports: Vec<Port>,
    /// Variables of its own; those that every member gets are added.
    pub environment: Vec<(&'static str, String)>,
    /// Lines of its configuration file; those that every member gets are added.
    pub config: String,
    /// How long a start may take, in seconds.
    pub starts_within: i32,
}

/// One StatefulSet of members, as specified.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// What the resource says of all its members.
    pub basics: Basics,
    /// How the pool is called.
    pub name: PoolName,
    /// Its StatefulSet's name, at most 48 characters: 52 leave room for the label that names a revision.
    pub set: String,
    /// How many members are wanted.
    pub members: i32,
    /// What they run.
    pub program: Program,
}

impl Deref for Pool {
    type Target = Basics;

    fn deref(&self) -> &Basics {
        &self.basics
    }
}

impl Pool {
    /// A pool of a resource.
    pub fn new(basics: &Basics, name: PoolName, members: i32, program: Program) -> Self {
        Pool {
            basics: basics.clone(),
            name,
            set: basics.identity.set(name),
            members,
            program,
        }
    }

    /// The stage in which nothing is under way.
    pub fn specified(&self) -> PoolStage {
        PoolStage {
            replicas: self.members,
            partition: 0,
            template: Template::Target,
            claim_size: None,
        }
    }

    pub(crate) fn port(&self, name: &str) -> Option<i32> {
        let mut ports = self.program.ports.iter();
        ports.find(|port| port.name == name).map(|port| port.number)
    }

    /// Where the peers of this pod find it: by name, since its IP is another one after every restart.
    pub fn peer_address(&self, env: &Env, pod: &str) -> Option<String> {
        let (set, namespace) = (&self.set, self.identity.namespace());
        let (domain, port) = (&env.cluster_domain, self.port("peer")?);
        Some(format!(
            "{pod}.{set}{}.{namespace}.svc.{domain}:{port}",
            super::build::PEERS
        ))
    }
}
