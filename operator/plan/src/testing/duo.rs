//! Duo: two pools of one resource. Controllers form a group, in which the first few vote; workers serve by themselves, and
//! may only be taken away while the group leads.

use jiff::Timestamp;
use kube::core::Resource;
use kube::{CustomResource, KubeSchema};
use quorate_api::rules::{IMAGE, NAME, Rule, VERSION};
use quorate_api::{Formation, Logging, Monitoring, Pods, Resources, Service, Status, Storage};
use quorate_wire::GroupRequest;
use serde::{Deserialize, Serialize};

use super::{Example, Size};
use crate::common::check::Faults;
use crate::common::rules::Rules;
use crate::pool::{
    self, Audience, Basics, Crew, Given, Independent, KindNames, Pool, PoolName, Port, Program,
    Step, View, before_all, before_scaling, before_upgrades, claims, rollout, volumes,
};
use crate::{
    Census, Decision, Desired, Env, Group, GroupSpec, Invalid, Kind, KindStatus, Observed, Refusal,
    Voters,
};

/// Two of them are no more than one.
pub const DUO_CONTROLLERS: Rule = (
    "self in [1, 3, 5]",
    "controllers must be 1, 3 or 5: three of five vote",
);

/// As many as the rule says.
pub const DUO_WORKERS: Rule = ("self >= 1 && self <= 9", "workers must be 1 to 9");

/// Workers, and the group that leads them.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "quorate.dev",
    version = "v1alpha1",
    kind = "Duo",
    doc = "Workers, and the group that leads them.",
    namespaced,
    status = "DuoStatus",
    derive = "PartialEq",
    shortname = "duo",
    category = "quorate",
    cel,
    validation = NAME,
    scale(
        spec_replicas_path = ".spec.controllers",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    )
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DuoSpec {
    /// How many controllers there are; the first three vote.
    #[serde(default = "default_members")]
    #[x_kube(validation = DUO_CONTROLLERS)]
    pub controllers: i32,
    /// How many workers there are.
    #[serde(default = "default_members")]
    #[x_kube(validation = DUO_WORKERS)]
    pub workers: i32,
    /// The members' image; the operator's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = IMAGE)]
    pub image: Option<String>,
    /// The version that the image's binary reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = VERSION)]
    pub version: Option<String>,
    /// The volume of each.
    #[serde(default)]
    pub storage: Storage,
    /// While true nothing is changed.
    #[serde(default)]
    pub paused: bool,
}

fn default_members() -> i32 {
    3
}

/// What the operator reports of a Duo.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DuoStatus {
    /// What every kind says.
    #[serde(flatten)]
    pub common: Status,
    /// The controllers' group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Formation>,
}

impl KindStatus for DuoStatus {
    fn common(&mut self) -> &mut Status {
        &mut self.common
    }

    fn unlearn(&mut self) {}
}

const CONTROLLER: PoolName = PoolName {
    name: "controller",
    tag: "ctl",
};

const WORKER: PoolName = PoolName {
    name: "worker",
    tag: "wrk",
};

const GROUP: GroupSpec = GroupSpec {
    number: 1,
    voters: Voters::First(3),
};

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

static RULES: Rules<Duo> = Rules::new(&["/spec/storage/size"]);

/// See [`Example`].
pub const EXAMPLE: Example = Example {
    app: Duos::NAMES.app,
    pools: &[
        Size {
            field: "controllers",
            members: &[1, 3, 5],
        },
        Size {
            field: "workers",
            members: &[1, 2, 3, 4],
        },
    ],
    voters: Some(GROUP.voters),
    refused: (2, "controllers must be 1, 3 or 5"),
};

/// A Duo whose every field was checked.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidDuo {
    basics: Basics,
    controllers: i32,
    workers: i32,
}

/// The kind.
#[derive(Clone, Copy, Debug)]
pub struct Duos;

impl Kind for Duos {
    type Resource = Duo;
    type Valid = ValidDuo;
    type Status = DuoStatus;
    const NAMES: KindNames = KindNames {
        app: "duo",
        tag: "duo",
    };
    const BINARY: &'static str = "quorate-duo";
    const POOLS: &'static [PoolName] = &[CONTROLLER, WORKER];
    const VOLATILE: &'static [&'static str] = &[];
    const REFUSALS: &'static [Refusal] = &Refusal::OF_BOTH;
    const REQUESTS: &'static [&'static str] = &GroupRequest::NAMES;

    fn validate(resource: &Duo, env: &Env) -> Result<ValidDuo, Vec<Invalid>> {
        let spec = &resource.spec;
        let mut faults = Faults::from(RULES.faults(resource));
        let given = Given {
            image: spec.image.as_deref(),
            version: spec.version.as_deref(),
            storage: Some(&spec.storage),
            resources: &Resources::default(),
            tls: None,
            service: &Service::default(),
            monitoring: &Monitoring::default(),
            logging: &Logging::default(),
            paused: spec.paused,
            pods: &Pods::default(),
            pod_overrides: None,
        };
        let valid = ValidDuo {
            basics: Basics::checked::<Duo>(Self::NAMES, resource.meta(), &given, env, &mut faults),
            controllers: spec.controllers,
            workers: spec.workers,
        };
        faults.unless_any(valid)
    }

    fn unchangeable(old: &Duo, new: &Duo) -> Result<(), Vec<Invalid>> {
        Faults::from(RULES.faults_of_change(old, new)).unless_any(())
    }

    fn pools(valid: &ValidDuo) -> Vec<Pool> {
        let pool = |name: PoolName, members| {
            let program = Program {
                binary: Self::BINARY,
                ports: PORTS.to_vec(),
                environment: vec![("QUORATE_ROLE", name.name.to_owned())],
                config: String::new(),
                starts_within: 60,
            };
            Pool::new(&valid.basics, name, members, program)
        };
        vec![
            pool(CONTROLLER, valid.controllers),
            pool(WORKER, valid.workers),
        ]
    }

    fn decide(desired: &Desired<Self>, observed: &Observed, now: Timestamp) -> Decision<DuoStatus> {
        let (resource, env) = (&desired.resource, &desired.env);
        let old = resource.status.as_ref();
        let [controllers, workers] = desired.pools.as_slice() else {
            unreachable!("a Duo has two pools");
        };
        let view = |pool| View::of(pool, env, old.map(|old| &old.common), observed, now);
        let record = old.and_then(|old| old.group.clone());
        let group = Group::of(view(controllers), GROUP, record);
        let workers = Independent::new(view(workers), None).provided(is_led(&group));
        let deleting = resource.metadata.deletion_timestamp.is_some();
        let round = pool::round(&[&group, &workers], deleting, || phases(&group, &workers));

        let group = group.after(&round.step);
        let crews: &[&dyn Crew<'_>] = &[&group, &workers];
        let mut status = old.cloned().unwrap_or_default();
        status.group = group.record().cloned();
        let pools = crews.iter().map(|crew| &crew.view().census);
        Self::report(resource, &pools.collect::<Vec<_>>(), &mut status);
        let generation = resource.metadata.generation;
        let news = pool::tell(crews, &round.step, generation, &mut status.common);
        pool::conclude(crews, round, status, news)
    }

    fn report(_: &Duo, pools: &[&Census<'_>], status: &mut DuoStatus) {
        pool::report(pools, false, &mut status.common);
    }

    fn try_next(_: &Duo, endpoint: &str) -> Vec<String> {
        vec![format!("curl {endpoint}/")]
    }

    fn certificates(_: &Duo) -> Option<&str> {
        None
    }
}

fn is_led(group: &Group<'_>) -> Result<(), (Refusal, String)> {
    let lead = group.lead().map(drop);
    lead.ok_or_else(|| {
        let words = "no controller leads: no worker may go before one does";
        (Refusal::NoLeader, words.to_owned())
    })
}

/// The controllers come first in everything.
fn phases(group: &Group<'_>, workers: &Independent<'_>) -> Step {
    let crews: &[&dyn Crew<'_>] = &[group, workers];
    group.form().and_unless_busy(|| {
        let progress = Step::first_busy(&[
            &|_| group.mark().and(workers.mark()),
            &|_| workers.form(),
            &|_| before_all(crews, group.repair().and(workers.repair())),
            &|_| before_upgrades(crews, group.join()),
            &|_| before_upgrades(crews, group.scale_before_upgrading()),
            &|_| before_scaling(crews, rollout::roll(group)),
            &|_| before_scaling(crews, rollout::roll(workers)),
            &|_| group.scale(),
            &|_| workers.scale(),
            &|_| claims::release(group).and(claims::release(workers)),
            &|before| volumes::renew(group, before),
            &|before| volumes::renew(workers, before),
        ]);
        let growth = volumes::grow(group.view()).and(volumes::grow(workers.view()));
        progress.and(growth)
    })
}
