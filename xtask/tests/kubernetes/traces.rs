//! Scripted traces of the pure StatefulSet model, replayed on the real controller: after each step both are the same.
//!
//! The pods are of no scheduler: nobody but this test says whether they run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource};
use quorate_model::{Change, Rules, is_terminating, ordinal, revision_of, sync};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::objects::config;

const NAMESPACE: &str = "traces";
/// How long both may take to be the same, and then stay so.
const DEADLINE: Duration = Duration::from_secs(60);
const STAYS: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, Deserialize)]
struct Trace {
    name: String,
    steps: Vec<Step>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Step {
    Scale(i32),
    Partition(i32),
    Image(String),
    Change(Edit),
    Delete(i32),
    Lose(i32),
    Crash(i32),
    Recover(i32),
    Fail(i32),
}

/// Changes of the spec in one write.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Edit {
    scale: Option<i32>,
    partition: Option<i32>,
    image: Option<String>,
}

/// What is compared: names without the set's own, UIDs only as whether they are others than at the last step.
#[derive(Clone, Debug, Default, PartialEq)]
struct View {
    /// By ordinal: the image, and whether it is another pod.
    pods: BTreeMap<i32, (String, bool)>,
    /// By ordinal: whether it is another claim.
    claims: BTreeMap<i32, bool>,
    current: String,
    update: String,
    replicas: i32,
    ready: i32,
    updated: i32,
}

/// The objects of one set, real or modelled.
#[derive(Clone, Debug)]
struct Objects {
    set: StatefulSet,
    revisions: Vec<ControllerRevision>,
    pods: BTreeMap<String, Pod>,
    claims: BTreeMap<String, PersistentVolumeClaim>,
}

pub fn the_model_and_the_controller_come_to_the_same(cluster: &Cluster) -> Result<()> {
    let traces: Vec<Trace> = serde_saphyr::from_str(include_str!("traces.yaml"))?;
    ensure!(traces.len() >= 30, "only {} traces", traces.len());
    cluster.kubectl(&["create", "namespace", NAMESPACE])?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let client = Client::try_from(config(&cluster.kubeconfig).await?)?;
        let begun = Instant::now();
        let mut running = tokio::task::JoinSet::new();
        let count = traces.len();
        for (number, trace) in traces.into_iter().enumerate() {
            let client = client.clone();
            running.spawn(async move {
                let replayed = replay(&client, &format!("trace-{number}"), &trace).await;
                replayed.with_context(|| trace.name.clone())
            });
        }
        for replayed in running.join_all().await {
            replayed?;
        }
        println!("{count} traces in {:.1} s", begun.elapsed().as_secs_f64());
        anyhow::Ok(())
    })?;
    cluster
        .kubectl(&["delete", "namespace", NAMESPACE, "--wait=false"])
        .map(drop)
}

async fn replay(client: &Client, name: &str, trace: &Trace) -> Result<()> {
    let real = Real {
        client: client.clone(),
        name: name.to_owned(),
    };
    let sets: Api<StatefulSet> = real.api();
    let made = sets.create(&PostParams::default(), &set(name)).await?;
    let mut model = Model::of(made);
    let mut down = BTreeSet::new();
    model.settle(&down);
    real.comes_to(&model, None, &down, "it was made").await?;
    for step in &trace.steps {
        model.remember();
        let before = real.objects().await?;
        match step {
            Step::Crash(at) => drop(down.insert(*at)),
            Step::Recover(at) => drop(down.remove(at)),
            step => {
                model.take(step);
                real.take(step).await?;
            }
        }
        model.settle(&down);
        real.comes_to(&model, Some(&before), &down, &format!("{step:?}"))
            .await?;
    }
    sets.delete(name, &DeleteParams::default()).await?;
    let claims: Api<PersistentVolumeClaim> = real.api();
    let its = ListParams::default().labels(&format!("set={name}"));
    claims
        .delete_collection(&DeleteParams::default(), &its)
        .await?;
    Ok(())
}

fn set(name: &str) -> StatefulSet {
    let claim = json!({ "accessModes": ["ReadWriteOnce"], "storageClassName": "", "resources": { "requests": { "storage": "1Gi" } } });
    serde_json::from_value(json!({
        "metadata": { "name": name, "namespace": NAMESPACE },
        "spec": {
            "replicas": 3, "serviceName": name, "podManagementPolicy": "Parallel",
            "selector": { "matchLabels": { "set": name } },
            "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "partition": 0 } },
            "template": {
                "metadata": { "labels": { "set": name } },
                "spec": { "schedulerName": "none", "containers": [{ "name": "main", "image": "a" }] },
            },
            "volumeClaimTemplates": [{ "metadata": { "name": "data", "labels": { "set": name } }, "spec": claim }],
        },
    }))
    .unwrap()
}

/// The change of the spec that a step is.
fn edit(step: &Step) -> Option<Edit> {
    Some(match step.clone() {
        Step::Scale(scale) => Edit {
            scale: Some(scale),
            ..Edit::default()
        },
        Step::Partition(partition) => Edit {
            partition: Some(partition),
            ..Edit::default()
        },
        Step::Image(image) => Edit {
            image: Some(image),
            ..Edit::default()
        },
        Step::Change(edit) => edit,
        _ => return None,
    })
}

impl Objects {
    /// What there is, beside what there was.
    fn view(&self, before: Option<&Objects>) -> View {
        let name = self.set.metadata.name.as_deref().unwrap();
        let image = |revision: Option<&String>| {
            let found = self
                .revisions
                .iter()
                .find(|it| it.metadata.name.as_ref() == revision);
            let data = found.and_then(|found| serde_json::to_value(&found.data).ok());
            let data = data.unwrap_or_default();
            let image = &data["spec"]["template"]["spec"]["containers"][0]["image"];
            image.as_str().unwrap_or_default().to_owned()
        };
        let status = self.set.status.clone().unwrap_or_default();
        let pods = self.pods.iter().filter(|(_, pod)| !is_terminating(pod));
        View {
            pods: pods
                .filter_map(|(at, pod)| {
                    let old = before.and_then(|before| before.pods.get(at));
                    let revision = revision_of(pod).to_owned();
                    Some((
                        ordinal(name, at)?,
                        (image(Some(&revision)), is_another(old, pod)),
                    ))
                })
                .collect(),
            claims: self
                .claims
                .iter()
                .filter_map(|(at, claim)| {
                    let old = before.and_then(|before| before.claims.get(at));
                    Some((
                        ordinal(&format!("data-{name}"), at)?,
                        is_another(old, claim),
                    ))
                })
                .collect(),
            current: image(status.current_revision.as_ref()),
            update: image(status.update_revision.as_ref()),
            replicas: status.replicas,
            ready: status.ready_replicas.unwrap_or(0),
            updated: status.updated_replicas.unwrap_or(0),
        }
    }
}

fn is_another<K: Resource>(old: Option<&K>, new: &K) -> bool {
    old.is_none_or(|old| old.meta().uid != new.meta().uid)
}

/// What a kubelet would say of this pod.
fn status_of(name: &str, pod: &Pod, down: &BTreeSet<i32>) -> Value {
    let at = ordinal(name, pod.metadata.name.as_deref().unwrap()).unwrap();
    let containers = &pod.spec.as_ref().unwrap().containers;
    let bad = containers[0].image.as_deref().unwrap().starts_with("bad");
    let ready = if bad || down.contains(&at) {
        "False"
    } else {
        "True"
    };
    let since = "1970-01-01T00:00:00Z";
    json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": ready, "lastTransitionTime": since }] })
}

fn is_ended(pod: &Pod) -> bool {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    phase == Some("Failed")
}

/// The model, carried out at once.
struct Model {
    objects: Objects,
    before: Option<Objects>,
    uids: u32,
}

impl Model {
    fn of(set: StatefulSet) -> Self {
        let objects = Objects {
            set,
            revisions: Vec::new(),
            pods: BTreeMap::new(),
            claims: BTreeMap::new(),
        };
        Self {
            objects,
            before: None,
            uids: 0,
        }
    }

    fn remember(&mut self) {
        self.before = Some(self.objects.clone());
    }

    fn view(&self) -> View {
        self.objects.view(self.before.as_ref())
    }

    fn name(&self) -> String {
        self.objects.set.metadata.name.clone().unwrap()
    }

    fn take(&mut self, step: &Step) {
        let name = self.name();
        if let Some(edit) = edit(step) {
            let set = &mut self.objects.set;
            *set.metadata.generation.as_mut().unwrap() += 1;
            let spec = set.spec.as_mut().unwrap();
            if let Some(scale) = edit.scale {
                spec.replicas = Some(scale);
            }
            if let Some(image) = edit.image {
                spec.template.spec.as_mut().unwrap().containers[0].image = Some(image);
            }
            let rolling = spec.update_strategy.as_mut().unwrap();
            let rolling = rolling.rolling_update.as_mut().unwrap();
            rolling.partition = edit.partition.or(rolling.partition);
        }
        match step {
            Step::Delete(at) => drop(self.objects.pods.remove(&format!("{name}-{at}"))),
            Step::Lose(at) => {
                self.objects.claims.remove(&format!("data-{name}-{at}"));
                self.objects.pods.remove(&format!("{name}-{at}"));
            }
            Step::Fail(at) => {
                let pod = self.objects.pods.get_mut(&format!("{name}-{at}")).unwrap();
                pod.status = serde_json::from_value(json!({ "phase": "Failed" })).unwrap();
            }
            _ => {}
        }
    }

    /// Rounds until nothing moves any more.
    fn settle(&mut self, down: &BTreeSet<i32>) {
        let name = self.name();
        for _ in 0..30 {
            let Objects {
                set,
                revisions,
                pods,
                claims,
            } = &mut self.objects;
            let now = Timestamp::now();
            let outcome = sync(Rules::default(), set, revisions, pods, claims, now).unwrap();
            *revisions = outcome.revisions;
            set.status = Some(outcome.status);
            for change in outcome.changes {
                self.uids += 1;
                let uid = Some(self.uids.to_string());
                match change {
                    Change::CreatePod(mut pod) => {
                        pod.metadata.uid = uid;
                        pods.insert(pod.metadata.name.clone().unwrap(), *pod);
                    }
                    Change::CreateClaim(mut claim) => {
                        claim.metadata.uid = uid;
                        claims.insert(claim.metadata.name.clone().unwrap(), claim);
                    }
                    Change::UpdateClaim(claim) => {
                        claims.insert(claim.metadata.name.clone().unwrap(), claim);
                    }
                    Change::DeletePod { name, .. } => drop(pods.remove(&name)),
                }
            }
            for pod in pods.values_mut().filter(|pod| !is_ended(pod)) {
                pod.status = serde_json::from_value(status_of(&name, pod, down)).unwrap();
            }
        }
    }
}

/// The set on the API server.
struct Real {
    client: Client,
    name: String,
}

impl Real {
    fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    async fn objects(&self) -> Result<Objects> {
        let ours = ListParams::default().labels(&format!("set={}", self.name));
        let set = self.api::<StatefulSet>().get(&self.name).await?;
        let revisions = self.api::<ControllerRevision>().list(&ours).await?;
        let pods = self.api::<Pod>().list(&ours).await?;
        let claims = self.api::<PersistentVolumeClaim>().list(&ours).await?;
        let named = |meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta| {
            meta.name.clone().unwrap()
        };
        Ok(Objects {
            set,
            revisions: revisions.items,
            pods: pods
                .into_iter()
                .map(|pod| (named(&pod.metadata), pod))
                .collect(),
            claims: claims
                .into_iter()
                .map(|claim| (named(&claim.metadata), claim))
                .collect(),
        })
    }

    async fn take(&self, step: &Step) -> Result<()> {
        let (pods, deleting) = (self.api::<Pod>(), DeleteParams::default());
        if let Some(edit) = edit(step) {
            let mut spec = json!({});
            if let Some(scale) = edit.scale {
                spec["replicas"] = json!(scale);
            }
            if let Some(partition) = edit.partition {
                spec["updateStrategy"]["rollingUpdate"]["partition"] = json!(partition);
            }
            if let Some(image) = edit.image {
                spec["template"]["spec"]["containers"] =
                    json!([{ "name": "main", "image": image }]);
            }
            let patch = Patch::Strategic(json!({ "spec": spec }));
            let sets = self.api::<StatefulSet>();
            sets.patch(&self.name, &PatchParams::default(), &patch)
                .await?;
        }
        match step {
            Step::Delete(at) => drop(
                pods.delete(&format!("{}-{at}", self.name), &deleting)
                    .await?,
            ),
            Step::Lose(at) => {
                let claims = self.api::<PersistentVolumeClaim>();
                claims
                    .delete(&format!("data-{}-{at}", self.name), &deleting)
                    .await?;
                pods.delete(&format!("{}-{at}", self.name), &deleting)
                    .await?;
            }
            Step::Fail(at) => {
                let failed = json!({ "status": { "phase": "Failed" } });
                self.say(&format!("{}-{at}", self.name), &failed).await?;
            }
            _ => {}
        }
        Ok(())
    }

    async fn say(&self, pod: &str, patch: &Value) -> Result<()> {
        let pods = self.api::<Pod>();
        let said = pods
            .patch_status(pod, &PatchParams::default(), &Patch::Merge(patch))
            .await;
        match said {
            // It went, or another came, meanwhile.
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {
                Ok(())
            }
            said => Ok(said.map(drop)?),
        }
    }

    /// Waits until the real objects are as the model has them, and stay so.
    async fn comes_to(
        &self,
        model: &Model,
        before: Option<&Objects>,
        down: &BTreeSet<i32>,
        when: &str,
    ) -> Result<()> {
        let (begun, expected) = (Instant::now(), model.view());
        let mut same_since = None;
        loop {
            let objects = self.objects().await?;
            for pod in objects.pods.values() {
                let wanted = status_of(&self.name, pod, down);
                let said = serde_json::to_value(&pod.status)?;
                let as_said = said["phase"] == wanted["phase"]
                    && said["conditions"][0]["status"] == wanted["conditions"][0]["status"];
                if !as_said && !is_terminating(pod) && !is_ended(pod) {
                    self.say(
                        pod.metadata.name.as_deref().unwrap(),
                        &json!({ "status": wanted }),
                    )
                    .await?;
                }
            }
            let is_seen = objects
                .set
                .status
                .as_ref()
                .and_then(|status| status.observed_generation)
                == objects.set.metadata.generation;
            let view = objects.view(before);
            if is_seen && view == expected {
                let since = *same_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= STAYS {
                    return Ok(());
                }
            } else {
                same_since = None;
                ensure!(
                    begun.elapsed() < DEADLINE,
                    "{when}: the controller came to {view:?}, the model to {expected:?}"
                );
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}
