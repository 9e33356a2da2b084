//! Herd: one pool of members without a group, which keep nothing and are drained before they leave.

use jiff::Timestamp;
use kube::core::Resource;
use kube::{CustomResource, KubeSchema};
use quorate_api::rules::{IMAGE, NAME, Rule, VERSION};
use quorate_api::{Logging, Monitoring, Pods, Resources, Service, Status};
use quorate_wire::MemberRequest;
use serde::{Deserialize, Serialize};

use super::{Example, Size};
use crate::common::check::Faults;
use crate::common::rules::Rules;
use crate::pool::{
    self, Audience, Basics, Given, Independent, KindNames, Pool, PoolName, Port, Program, Step,
    View, before_all, before_scaling, rollout,
};
use crate::{Census, Decision, Desired, Env, Invalid, Kind, Observed, Refusal};

/// As many as the rule says.
pub const HERD_MEMBERS: Rule = ("self >= 1 && self <= 9", "members must be 1 to 9");

/// Members that each serve by themselves.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "quorate.dev",
    version = "v1alpha1",
    kind = "Herd",
    doc = "Members that each serve by themselves.",
    namespaced,
    status = "Status",
    derive = "PartialEq",
    shortname = "hrd",
    category = "quorate",
    cel,
    validation = NAME,
    scale(
        spec_replicas_path = ".spec.members",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    )
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HerdSpec {
    /// How many serve.
    #[serde(default = "default_members")]
    #[x_kube(validation = HERD_MEMBERS)]
    pub members: i32,
    /// The members' image; the operator's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = IMAGE)]
    pub image: Option<String>,
    /// The version that the image's binary reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = VERSION)]
    pub version: Option<String>,
    /// While true nothing is changed.
    #[serde(default)]
    pub paused: bool,
}

fn default_members() -> i32 {
    3
}

const POOL: PoolName = PoolName {
    name: "member",
    tag: "",
};

const PORTS: [Port; 3] = [
    Port {
        name: "client",
        number: 7070,
        audience: Audience::Clients,
    },
    Port {
        name: "admin",
        number: 7072,
        audience: Audience::Operator,
    },
    Port {
        name: "health",
        number: 7073,
        audience: Audience::Kubelet,
    },
];

static RULES: Rules<Herd> = Rules::new(&[]);

/// See [`Example`].
pub const EXAMPLE: Example = Example {
    app: Herds::NAMES.app,
    pools: &[Size {
        field: "members",
        members: &[1, 2, 3, 5],
    }],
    voters: None,
    refused: (10, "members must be 1 to 9"),
};

/// A Herd whose every field was checked.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidHerd {
    basics: Basics,
    members: i32,
}

/// The kind.
#[derive(Clone, Copy, Debug)]
pub struct Herds;

impl Kind for Herds {
    type Resource = Herd;
    type Valid = ValidHerd;
    type Status = Status;
    const NAMES: KindNames = KindNames {
        app: "herd",
        tag: "hrd",
    };
    const BINARY: &'static str = "quorate-herd";
    const POOLS: &'static [PoolName] = &[POOL];
    const VOLATILE: &'static [&'static str] = &[];
    const REFUSALS: &'static [Refusal] = &Refusal::OF_POOLS;
    const REQUESTS: &'static [&'static str] = &["Drain"];

    fn validate(resource: &Herd, env: &Env) -> Result<ValidHerd, Vec<Invalid>> {
        let spec = &resource.spec;
        let mut faults = Faults::from(RULES.faults(resource));
        let given = Given {
            image: spec.image.as_deref(),
            version: spec.version.as_deref(),
            storage: None,
            resources: &Resources::default(),
            tls: None,
            service: &Service::default(),
            monitoring: &Monitoring::default(),
            logging: &Logging::default(),
            paused: spec.paused,
            pods: &Pods::default(),
            pod_overrides: None,
        };
        let valid = ValidHerd {
            basics: Basics::checked::<Herd>(Self::NAMES, resource.meta(), &given, env, &mut faults),
            members: spec.members,
        };
        faults.unless_any(valid)
    }

    fn unchangeable(old: &Herd, new: &Herd) -> Result<(), Vec<Invalid>> {
        Faults::from(RULES.faults_of_change(old, new)).unless_any(())
    }

    fn pools(valid: &ValidHerd) -> Vec<Pool> {
        let program = Program {
            binary: Self::BINARY,
            ports: PORTS.to_vec(),
            environment: Vec::new(),
            config: String::new(),
            starts_within: 60,
        };
        vec![Pool::new(&valid.basics, POOL, valid.members, program)]
    }

    fn decide(desired: &Desired<Self>, observed: &Observed, now: Timestamp) -> Decision<Status> {
        let (resource, env) = (&desired.resource, &desired.env);
        let old = resource.status.as_ref();
        let [pool] = desired.pools.as_slice() else {
            unreachable!("a Herd has one pool");
        };
        let drain = MemberRequest::new("Drain", "drain", &serde_json::json!({}));
        let herd = Independent::new(View::of(pool, env, old, observed, now), Some(drain));
        let deleting = resource.metadata.deletion_timestamp.is_some();
        let round = pool::round(&[&herd], deleting, || phases(&herd));
        let mut status = old.cloned().unwrap_or_default();
        Self::report(resource, &[herd.census()], &mut status);
        let generation = resource.metadata.generation;
        let news = pool::tell(&[&herd], &round.step, generation, &mut status);
        pool::conclude(&[&herd], round, status, news)
    }

    fn report(_: &Herd, pools: &[&Census<'_>], status: &mut Status) {
        pool::report(pools, false, status);
    }

    fn try_next(_: &Herd, endpoint: &str) -> Vec<String> {
        vec![format!("curl {endpoint}/")]
    }

    fn certificates(_: &Herd) -> Option<&str> {
        None
    }
}

fn phases(herd: &Independent<'_>) -> Step {
    Step::first_busy(&[
        &|_| herd.form(),
        &|_| before_all(&[herd], herd.repair()),
        &|_| before_scaling(&[herd], rollout::roll(herd)),
        &|_| herd.scale(),
    ])
}
