//! Scripted traces of the pure StatefulSet model, replayed on the real controller: after each step both are the same.
//!
//! The pods are of no scheduler: nobody but this test says whether they run.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource};
use quorate_model::is_terminating;
use quorate_model::testing::{
    Objects, Replay, Step, TRACES, Trace, edit, is_ended, plain, status_of,
};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::objects::config;

const NAMESPACE: &str = "traces";
/// How long both may take to be the same, and then stay so.
const DEADLINE: Duration = Duration::from_secs(60);
const STAYS: Duration = Duration::from_secs(1);

pub fn the_model_and_the_controller_come_to_the_same(cluster: &Cluster) -> Result<()> {
    let traces: Vec<Trace> = serde_saphyr::from_str(TRACES)?;
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
    let set = plain(name, NAMESPACE);
    let mut model = Replay::of(sets.create(&PostParams::default(), &set).await?);
    real.comes_to(&model, None, "it was made").await?;
    for step in &trace.steps {
        model.take(step);
        let before = real.objects().await?;
        real.take(step).await?;
        real.comes_to(&model, Some(&before), &format!("{step:?}"))
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
    async fn comes_to(&self, model: &Replay, before: Option<&Objects>, when: &str) -> Result<()> {
        let (begun, expected) = (Instant::now(), model.view());
        let mut same_since = None;
        loop {
            let objects = self.objects().await?;
            for pod in objects.pods.values() {
                let wanted = status_of(&self.name, pod, &model.down);
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
