//! An operator that is killed between any two of its mutating requests, or whose request fails: whatever is under way
//! ends as if nothing had happened.
//!
//! The API server and its controllers are real, the pods simulated. A life is a RaftCluster in a namespace of its own
//! that is created, scaled out and in, upgraded and deleted, and in each of these the operator's n-th request is hit.

mod fault;
mod operator;
mod view;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams};
use kube::api::{Patch, PatchParams, PostParams, PropagationPolicy};
use kube::{Api, Client};
use quorate_world::condition;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::audit::{Writes, mutations_by_agent};
use crate::cluster::{Cluster, skipped};
use crate::objects::config;
use crate::simulated::{CLASS, Kubelet, SCHEDULER};

use fault::{Fault, Plan};
use operator::{Operator, Start};
use view::{View, difference, view};

const NAME: &str = "demo";
/// What the operators call themselves begins so.
const AGENT: &str = "interrupted";
/// Lives that are lived at the same time.
const LANES: usize = 6;
/// Against hangs; the longest operation takes a fraction of it.
const DEADLINE: Duration = Duration::from_secs(180);
/// So long nothing is written once nothing is under way: a StatefulSet's controller counts pods two seconds after they are
/// ready, and nothing waits longer.
const QUIET: Duration = Duration::from_secs(3);
/// So many end in one operation at most: the one that is to, and those that a busy machine keeps from their lease.
const OPERATORS: usize = 4;
/// No operation takes so many requests.
const MOST: usize = 200;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Operation {
    Creation,
    ScaleOut,
    ScaleIn,
    Upgrade,
    Deletion,
}

const OPERATIONS: [Operation; 5] = [
    Operation::Creation,
    Operation::ScaleOut,
    Operation::ScaleIn,
    Operation::Upgrade,
    Operation::Deletion,
];

/// What each operation has come to where nothing was hit.
type Expected = BTreeMap<Operation, View>;

/// The first n that an operation did not reach.
type Reached = Arc<Mutex<BTreeMap<Operation, usize>>>;

/// Which request is hit in each operation of a life, and what becomes of it: none in the undisturbed one.
type Hit = Option<(Fault, usize)>;

/// The lives of one series, each of which hits a later request than the one before.
struct Series {
    name: String,
    hits: Box<dyn Fn(usize) -> (Fault, usize) + Send>,
}

/// Every third request, from one that is drawn, by the one fault and the other in turn.
pub fn requests_that_are_drawn_are_hit(cluster: &Cluster) -> Result<()> {
    let (first, fault) = (fastrand::usize(1..=3), fastrand::usize(0..2));
    let drawn = Series {
        name: format!("every third request from {first}"),
        hits: Box::new(move |life| {
            let faults = [Fault::Exit, Fault::Unanswered];
            (faults[(life + fault) % 2], first + 3 * life)
        }),
    };
    hit(cluster, vec![drawn])
}

/// Every request, by both faults.
pub fn every_request_is_hit(cluster: &Cluster) -> Result<()> {
    let by = |fault: Fault| Series {
        name: format!("{fault:?}"),
        hits: Box::new(move |life| (fault, life + 1)),
    };
    hit(cluster, [Fault::Exit, Fault::Unanswered].map(by).into())
}

fn hit(cluster: &Cluster, series: Vec<Series>) -> Result<()> {
    if skipped("requests of the operator fail: nodes and pods are simulated") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let lived = all(cluster, folder.path(), series);
    let counted = tokio::runtime::Runtime::new()?.block_on(lived)?;
    let logged = mutations_by_agent(cluster, AGENT)?;
    for (agent, sent) in &counted {
        let found = logged.get(agent).copied().unwrap_or(0);
        ensure!(
            found == *sent,
            "{agent}: the audit log has {found} requests, {sent} were counted"
        );
    }
    println!(
        "{} operators, each with as many requests as the audit log has of it",
        counted.len()
    );
    Ok(())
}

/// How many mutating requests each operator sent, by its name in the audit log.
async fn all(
    cluster: &Cluster,
    folder: &Path,
    series: Vec<Series>,
) -> Result<BTreeMap<String, usize>> {
    let client = Client::try_from(config(&cluster.kubeconfig).await?)?;
    let kubelet = Kubelet::start(&client).await?;
    let world = Arc::new(World {
        client,
        kubeconfig: cluster.kubeconfig.clone(),
        audit_log: cluster.audit_log()?,
        folder: folder.to_owned(),
        counted: Mutex::default(),
        expected: Mutex::default(),
    });
    // The others compare what they come to with what this one came to a little before.
    let (undisturbed, reached) = (Life::begin(&world, None).await?, Reached::default());
    let others = async {
        for series in &series {
            live_all(&world, series).await?;
        }
        anyhow::Ok(())
    };
    tokio::try_join!(undisturbed.live(&reached), others)?;
    no_pod_is_left(&world.client).await?;
    kubelet.end().await?;
    Ok(std::mem::take(&mut world.counted.lock().unwrap()))
}

/// Whoever comes next finds nothing to work on.
async fn no_pod_is_left(client: &Client) -> Result<()> {
    let pods: Api<Pod> = Api::all(client.clone());
    let simulated = ListParams::default().fields(&format!("spec.schedulerName={SCHEDULER}"));
    let begun = Instant::now();
    while !pods.list(&simulated).await?.items.is_empty() {
        ensure!(begun.elapsed() < DEADLINE, "pods are left");
        sleep(Duration::from_millis(400)).await;
    }
    Ok(())
}

/// One life after another, and some at a time, until one has not reached its request in any operation.
async fn live_all(world: &Arc<World>, series: &Series) -> Result<()> {
    let (begun, reached) = (Instant::now(), Reached::default());
    let mut lives = JoinSet::new();
    let mut count = 0;
    while !still_open(&reached, OPERATIONS[0]).is_empty() {
        ensure!(count < MOST, "an operation takes more than {MOST} requests");
        let hit = (series.hits)(count);
        count += 1;
        let (world, reached) = (Arc::clone(world), Arc::clone(&reached));
        lives.spawn(async move {
            let life = Life::begin(&world, Some(hit)).await?;
            life.live(&reached)
                .await
                .with_context(|| format!("{hit:?}"))
        });
        if lives.len() == LANES {
            lives.join_next().await.context("a life")???;
        }
    }
    while let Some(life) = lives.join_next().await {
        life??;
    }
    let reached = reached.lock().unwrap();
    let counts = OPERATIONS.map(|operation| {
        let n = reached.get(&operation).copied().unwrap_or(0);
        format!("{operation:?} {n}")
    });
    println!(
        "{}: not reached were {}; {count} lives in {:.1} s",
        series.name,
        counts.join(", "),
        begun.elapsed().as_secs_f64()
    );
    Ok(())
}

/// The operations from this one on whose N is not known yet.
fn still_open(reached: &Reached, from: Operation) -> Vec<Operation> {
    let reached = reached.lock().unwrap();
    let rest = OPERATIONS
        .into_iter()
        .filter(|operation| *operation >= from);
    rest.filter(|operation| !reached.contains_key(operation))
        .collect()
}

/// How many mutating requests these operators made.
fn made(plans: &[Plan]) -> Result<usize> {
    plans.iter().map(|plan| Ok(plan.counted()?.0)).sum()
}

struct World {
    client: Client,
    kubeconfig: PathBuf,
    audit_log: PathBuf,
    folder: PathBuf,
    counted: Mutex<BTreeMap<String, usize>>,
    expected: Mutex<Expected>,
}

/// One RaftCluster, from its creation to its end.
struct Life {
    world: Arc<World>,
    namespace: String,
    hit: Hit,
    resources: Api<DynamicObject>,
}

impl Life {
    async fn begin(world: &Arc<World>, hit: Hit) -> Result<Self> {
        let namespace = match hit {
            Some((fault, at)) => format!("{fault:?}-{at}").to_lowercase(),
            None => "undisturbed".to_owned(),
        };
        let namespaces: Api<Namespace> = Api::all(world.client.clone());
        let mut made = Namespace::default();
        made.metadata.name = Some(namespace.clone());
        namespaces.create(&PostParams::default(), &made).await?;
        let kind = GroupVersionKind::gvk("quorate.dev", "v1alpha1", "RaftCluster");
        let kind = ApiResource::from_gvk(&kind);
        Ok(Self {
            resources: Api::namespaced_with(world.client.clone(), &namespace, &kind),
            world: Arc::clone(world),
            namespace,
            hit,
        })
    }

    /// Lives until there is nothing left to learn.
    async fn live(&self, reached: &Reached) -> Result<()> {
        for operation in OPERATIONS {
            if self.hit.is_some() && still_open(reached, operation).is_empty() {
                return self.leave().await;
            }
            let made = self.carry_out(operation).await;
            let made = made.with_context(|| format!("{operation:?}"))?;
            match self.hit {
                None => println!("{operation:?}: {made} mutating requests"),
                Some((_, at)) if made < at => {
                    let mut reached = reached.lock().unwrap();
                    let n = reached.entry(operation).or_insert(at);
                    *n = at.min(*n);
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Deletes what there is, without an operator.
    async fn leave(&self) -> Result<()> {
        match self.resources.delete(NAME, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            deleted => Ok(deleted.map(drop)?),
        }
    }

    /// How many mutating requests the operation took.
    async fn carry_out(&self, operation: Operation) -> Result<usize> {
        let at = self.hit.map_or(0, |(_, at)| at);
        let (mut operator, plan) = self.start(operation, at, 0).await?;
        let mut plans = vec![plan];
        self.ask_for(operation).await?;
        let begun = Instant::now();
        loop {
            if operator.has_ended().await? {
                ensure!(plans.len() < OPERATORS, "operators end again and again");
                // One that ended before its time is followed by one that is hit in its place.
                let left = at.saturating_sub(made(&plans)?);
                let (next, plan) = self.start(operation, left, plans.len()).await?;
                operator = next;
                plans.push(plan);
            }
            if self.is_over(operation).await? {
                if self.hit.is_none() {
                    let settled = self.settled().await?;
                    let mut expected = self.world.expected.lock().unwrap();
                    expected.insert(operation, settled);
                    break;
                }
                let found = view(&self.world.client, &self.namespace).await?;
                let expected = self.world.expected.lock().unwrap();
                // The undisturbed life may be behind.
                let expected = expected.get(&operation);
                if expected == Some(&found) {
                    break;
                }
                ensure!(
                    begun.elapsed() < DEADLINE,
                    "it ended otherwise:\n{}",
                    expected.map_or_else(String::new, |expected| difference(expected, &found))
                );
            }
            ensure!(begun.elapsed() < DEADLINE, "it did not end");
            sleep(Duration::from_millis(400)).await;
        }
        operator.end().await?;
        let made = made(&plans)?;
        for plan in plans {
            let sent = plan.counted()?.1;
            self.world.counted.lock().unwrap().insert(plan.agent, sent);
        }
        Ok(made)
    }

    /// What there is once nothing is written any more.
    async fn settled(&self) -> Result<View> {
        let mut writes = Writes::begin(&self.world.audit_log, &self.namespace)?;
        let mut quiet_since = Instant::now();
        while quiet_since.elapsed() < QUIET {
            sleep(Duration::from_millis(250)).await;
            if writes.more()? > 0 {
                quiet_since = Instant::now();
            }
        }
        view(&self.world.client, &self.namespace).await
    }

    /// Starts an operator that need not wait for the lease of the one before.
    async fn start(
        &self,
        operation: Operation,
        at: usize,
        number: usize,
    ) -> Result<(Operator, Plan)> {
        let leases: Api<Lease> = Api::namespaced(self.world.client.clone(), &self.namespace);
        let released = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": { "name": "quorate-operator" }, "spec": { "holderIdentity": "" },
        });
        let by_us = PatchParams::apply(AGENT).force();
        leases
            .patch("quorate-operator", &by_us, &Patch::Apply(released))
            .await?;
        let agent = format!("{AGENT}/{}/{operation:?}-{number}", self.namespace);
        let plan = Plan {
            fault: self.hit.map_or(Fault::Unanswered, |(fault, _)| fault),
            at,
            tally: self.world.folder.join(agent.replace('/', ".")),
            agent,
        };
        let start = Start {
            kubeconfig: self.world.kubeconfig.clone(),
            namespace: self.namespace.clone(),
            plan: plan.clone(),
        };
        Ok((Operator::start(&start)?, plan))
    }

    async fn ask_for(&self, operation: Operation) -> Result<()> {
        let change: Value = match operation {
            Operation::Creation => {
                let spec = json!({
                    "members": 3, "image": "simulated:1", "version": "1",
                    "podOverrides": { "spec": { "schedulerName": SCHEDULER } },
                    "storage": {
                        "size": "1Gi", "storageClassName": CLASS,
                        "retention": { "whenScaled": "Delete", "whenDeleted": "Retain" },
                    },
                });
                let resource = serde_json::from_value(json!({
                    "apiVersion": "quorate.dev/v1alpha1", "kind": "RaftCluster",
                    "metadata": { "name": NAME }, "spec": spec,
                }))?;
                self.resources
                    .create(&PostParams::default(), &resource)
                    .await?;
                return Ok(());
            }
            Operation::Deletion => {
                let params = DeleteParams {
                    // It stays until everything that it owns has gone: the operator sees it go.
                    propagation_policy: Some(PropagationPolicy::Foreground),
                    ..DeleteParams::default()
                };
                self.resources.delete(NAME, &params).await?;
                return Ok(());
            }
            Operation::ScaleOut => json!({ "members": 5 }),
            Operation::ScaleIn => json!({ "members": 3 }),
            Operation::Upgrade => json!({ "image": "simulated:2", "version": "2" }),
        };
        let patch = Patch::Merge(json!({ "spec": change }));
        self.resources
            .patch(NAME, &PatchParams::default(), &patch)
            .await?;
        Ok(())
    }

    /// Whether the resource says so, or is gone.
    async fn is_over(&self, operation: Operation) -> Result<bool> {
        let Some(resource) = self.resources.get_opt(NAME).await? else {
            return Ok(operation == Operation::Deletion);
        };
        if operation == Operation::Deletion {
            return Ok(false);
        }
        let resource = serde_json::to_value(resource)?;
        Ok(condition(&resource, "Ready").is_some_and(|ready| ready.0 == "True"))
    }
}
