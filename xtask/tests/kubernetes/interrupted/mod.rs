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
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::api::{PostParams, PropagationPolicy};
use kube::{Api, Client};
use quorate_world::condition;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::audit::mutations_by_agent;
use crate::cluster::{Cluster, config, skipped, turn};
use crate::simulated::Kubelet;

use fault::{Fault, Plan};
use operator::{Operator, Start};
use view::{View, difference, view};

const NAME: &str = "demo";
/// Lives that are lived at the same time.
const LANES: usize = 6;
/// Against hangs; the longest operation takes a fraction of it.
const DEADLINE: Duration = Duration::from_secs(180);
/// Longer than anything waits that is still under way.
const SETTLES: Duration = Duration::from_secs(6);
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

/// What each operation has come to when nothing is hit.
type Expected = BTreeMap<Operation, View>;

/// The first n that an operation did not reach.
type Reached = Arc<Mutex<BTreeMap<(Fault, Operation), usize>>>;

#[test]
fn an_interrupted_operator_ends_in_the_same_state() -> Result<()> {
    let _turn = turn();
    if skipped(
        "every request of the operator fails once: the nodes are stopped, and pods simulated",
    ) {
        return Ok(());
    }
    let cluster = Cluster::without_nodes()?;
    let folder = tempfile::tempdir()?;
    let counted = tokio::runtime::Runtime::new()?.block_on(all(&cluster, folder.path()))?;
    let logged = mutations_by_agent(&cluster)?;
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
async fn all(cluster: &Cluster, folder: &Path) -> Result<BTreeMap<String, usize>> {
    let client = Client::try_from(config(&cluster.kubeconfig).await?)?;
    let _kubelet = Kubelet::start(&client);
    let world = Arc::new(World {
        client,
        kubeconfig: cluster.kubeconfig.clone(),
        folder: folder.to_owned(),
        counted: Mutex::default(),
    });
    let begun = Instant::now();
    let mut expected = Expected::new();
    let reached = Reached::default();
    let undisturbed = Life::begin(&world, Fault::Unanswered, 0).await?;
    undisturbed.live(&mut expected, &reached).await?;
    println!("undisturbed: {:.1} s", begun.elapsed().as_secs_f64());

    for fault in [Fault::Exit, Fault::Unanswered] {
        let begun = Instant::now();
        let lives = every_request(&world, fault, &expected, &reached).await?;
        let reached = reached.lock().unwrap();
        let counts = OPERATIONS.map(|operation| {
            let n = reached.get(&(fault, operation)).copied().unwrap_or(0);
            format!("{operation:?} {n}")
        });
        println!(
            "{fault:?}: N is {}; {lives} lives in {:.1} s",
            counts.join(", "),
            begun.elapsed().as_secs_f64()
        );
    }
    Ok(std::mem::take(&mut world.counted.lock().unwrap()))
}

/// Lives for n = 1, 2 and so on, until one has not reached its n in any operation.
async fn every_request(
    world: &Arc<World>,
    fault: Fault,
    expected: &Expected,
    reached: &Reached,
) -> Result<usize> {
    let mut lives = JoinSet::new();
    for at in 1..MOST {
        if lives.len() == LANES {
            lives.join_next().await.context("a life")???;
        }
        if still_open(reached, fault, OPERATIONS[0]).is_empty() {
            while let Some(life) = lives.join_next().await {
                life??;
            }
            return Ok(at - 1);
        }
        let (world, reached) = (Arc::clone(world), Arc::clone(reached));
        let mut expected = expected.clone();
        lives.spawn(async move {
            let life = Life::begin(&world, fault, at).await?;
            let lived = life.live(&mut expected, &reached).await;
            lived.with_context(|| format!("{fault:?}, n = {at}"))
        });
    }
    anyhow::bail!("an operation takes more than {MOST} requests")
}

/// The operations from this one on whose N is not known yet.
fn still_open(reached: &Reached, fault: Fault, from: Operation) -> Vec<Operation> {
    let reached = reached.lock().unwrap();
    let rest = OPERATIONS
        .into_iter()
        .filter(|operation| *operation >= from);
    rest.filter(|operation| !reached.contains_key(&(fault, *operation)))
        .collect()
}

/// How many mutating requests these operators made.
fn made(plans: &[Plan]) -> Result<usize> {
    plans.iter().map(|plan| Ok(plan.counted()?.0)).sum()
}

struct World {
    client: Client,
    kubeconfig: PathBuf,
    folder: PathBuf,
    counted: Mutex<BTreeMap<String, usize>>,
}

/// One RaftCluster, from its creation to its end.
struct Life {
    world: Arc<World>,
    namespace: String,
    fault: Fault,
    /// Which request of each operation is hit; 0 for none.
    at: usize,
    resources: Api<DynamicObject>,
}

impl Life {
    async fn begin(world: &Arc<World>, fault: Fault, at: usize) -> Result<Self> {
        let namespace = format!("{fault:?}-{at}").to_lowercase();
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
            fault,
            at,
        })
    }

    /// Lives until there is nothing left to learn.
    async fn live(&self, expected: &mut Expected, reached: &Reached) -> Result<()> {
        for operation in OPERATIONS {
            let is_undisturbed = self.at == 0;
            if !is_undisturbed && still_open(reached, self.fault, operation).is_empty() {
                return Ok(());
            }
            let made = self.carry_out(operation, expected).await;
            let made = made.with_context(|| format!("{operation:?}"))?;
            if is_undisturbed {
                println!("{operation:?}: {made} mutating requests");
            } else if made < self.at {
                let mut reached = reached.lock().unwrap();
                let n = reached.entry((self.fault, operation)).or_insert(self.at);
                *n = self.at.min(*n);
            }
        }
        Ok(())
    }

    /// How many mutating requests the operation took.
    async fn carry_out(&self, operation: Operation, expected: &mut Expected) -> Result<usize> {
        let (mut operator, plan) = self.start(operation, self.at, 0).await?;
        let mut plans = vec![plan];
        self.ask_for(operation).await?;
        let begun = Instant::now();
        loop {
            if operator.has_ended().await? {
                ensure!(plans.len() < OPERATORS, "operators end again and again");
                // One that ended before its time is followed by one that is hit in its place.
                let left = self.at.saturating_sub(made(&plans)?);
                let (next, plan) = self.start(operation, left, plans.len()).await?;
                operator = next;
                plans.push(plan);
            }
            if self.is_over(operation).await? {
                match expected.get(&operation) {
                    None => {
                        expected.insert(operation, self.settled().await?);
                        break;
                    }
                    Some(expected) => {
                        let found = view(&self.world.client, &self.namespace).await?;
                        if found == *expected {
                            break;
                        }
                        ensure!(
                            begun.elapsed() < DEADLINE,
                            "it ended otherwise:\n{}",
                            difference(expected, &found)
                        );
                    }
                }
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

    /// What there is once nothing changes any more: a StatefulSet's controller counts pods seconds after they are ready.
    async fn settled(&self) -> Result<View> {
        let mut last = view(&self.world.client, &self.namespace).await?;
        loop {
            sleep(SETTLES).await;
            let now = view(&self.world.client, &self.namespace).await?;
            if now == last {
                return Ok(now);
            }
            last = now;
        }
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
        let by_us = PatchParams::apply("interrupted").force();
        leases
            .patch("quorate-operator", &by_us, &Patch::Apply(released))
            .await?;
        let agent = format!("interrupted/{}/{operation:?}-{number}", self.namespace);
        let plan = Plan {
            fault: self.fault,
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
                    "storage": {
                        "size": "1Gi", "storageClassName": "simulated",
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
