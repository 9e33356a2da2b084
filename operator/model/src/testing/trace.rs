//! Scripted traces of a set: what happens to it, one step at a time, and what is compared after each. They are replayed on the
//! real controller, and on the sets of every kind.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Objects, World};
use crate::{Rules, is_terminating, ordinal, revision_of};

/// All of them, as YAML: a list of [`Trace`].
pub const TRACES: &str = include_str!("../../testdata/traces.yaml");

/// What happens to a set.
#[derive(Clone, Debug, Deserialize)]
pub struct Trace {
    /// In words.
    pub name: String,
    /// One after another.
    pub steps: Vec<Step>,
}

/// One thing that happens; the number is an ordinal where it is none of members.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// So many members.
    Scale(i32),
    /// Another partition.
    Partition(i32),
    /// Another image.
    Image(String),
    /// Several of these in one write.
    Change(Edit),
    /// The pod is deleted.
    Delete(i32),
    /// The claim is deleted, and then the pod.
    Lose(i32),
    /// The pod is not ready until it recovers.
    Crash(i32),
    /// See above.
    Recover(i32),
    /// The pod has ended for good.
    Fail(i32),
}

/// Changes of the spec in one write.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Edit {
    /// So many members.
    pub scale: Option<i32>,
    /// Another partition.
    pub partition: Option<i32>,
    /// Another image.
    pub image: Option<String>,
}

/// What is compared: names without the set's own, UIDs only as whether they are others than at the last step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    /// By ordinal: the image, and whether it is another pod.
    pub pods: BTreeMap<i32, (String, bool)>,
    /// By ordinal: whether it is another claim.
    pub claims: BTreeMap<i32, bool>,
    /// The image of the stable revision.
    pub current: String,
    /// The image of the revision that is rolled out.
    pub update: String,
    /// How many pods there are.
    pub replicas: i32,
    /// How many are ready.
    pub ready: i32,
    /// How many have the newest revision.
    pub updated: i32,
}

/// A set with nothing in it but what a trace is about.
#[must_use]
pub fn plain(name: &str, namespace: &str) -> StatefulSet {
    let claim = json!({ "accessModes": ["ReadWriteOnce"], "storageClassName": "", "resources": { "requests": { "storage": "1Gi" } } });
    serde_json::from_value(json!({
        "metadata": { "name": name, "namespace": namespace },
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
#[must_use]
pub fn edit(step: &Step) -> Option<Edit> {
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
    #[must_use]
    pub fn view(&self, before: Option<&Objects>) -> View {
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
                    let old = old.map(|old| &old.metadata);
                    let revision = revision_of(pod).to_owned();
                    Some((
                        ordinal(name, at)?,
                        (image(Some(&revision)), is_another(old, &pod.metadata)),
                    ))
                })
                .collect(),
            claims: self
                .claims
                .iter()
                .filter_map(|(at, claim)| {
                    let old = before.and_then(|before| before.claims.get(at));
                    let old = old.map(|old| &old.metadata);
                    Some((
                        ordinal(&format!("data-{name}"), at)?,
                        is_another(old, &claim.metadata),
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

fn is_another(old: Option<&ObjectMeta>, new: &ObjectMeta) -> bool {
    old.is_none_or(|old| old.uid != new.uid)
}

/// What a kubelet would say of this pod of the set, where the members of these ordinals are down. Those of an image whose name
/// begins with `bad` are never ready.
#[must_use]
pub fn status_of(name: &str, pod: &Pod, down: &BTreeSet<i32>) -> Value {
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

/// Whether a pod has ended for good.
#[must_use]
pub fn is_ended(pod: &Pod) -> bool {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    phase == Some("Failed")
}

/// A trace under way, on the model.
#[derive(Clone, Debug)]
pub struct Replay {
    /// The set and what came of it.
    pub world: World,
    /// The same before the last step.
    pub before: Option<Objects>,
    /// Who is not ready.
    pub down: BTreeSet<i32>,
}

impl Replay {
    /// The set as it was made, and everything that follows from it.
    #[must_use]
    pub fn of(set: StatefulSet) -> Self {
        let mut world = World::new(Rules::default(), set);
        // Who is ready is available too, however long the set wants that to take.
        world.now = 86_400;
        let mut begun = Self {
            world,
            before: None,
            down: BTreeSet::new(),
        };
        begun.settle();
        begun
    }

    /// What is compared.
    #[must_use]
    pub fn view(&self) -> View {
        self.world.objects.view(self.before.as_ref())
    }

    /// One step, and everything that follows from it.
    pub fn take(&mut self, step: &Step) {
        let objects = &mut self.world.objects;
        self.before = Some(objects.clone());
        let name = objects.set.metadata.name.clone().unwrap();
        if let Some(edit) = edit(step) {
            let set = &mut objects.set;
            *set.metadata.generation.get_or_insert(1) += 1;
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
            Step::Delete(at) => drop(objects.pods.remove(&format!("{name}-{at}"))),
            Step::Lose(at) => {
                objects.claims.remove(&format!("data-{name}-{at}"));
                objects.pods.remove(&format!("{name}-{at}"));
            }
            Step::Fail(at) => {
                let pod = objects.pods.get_mut(&format!("{name}-{at}")).unwrap();
                pod.status = serde_json::from_value(json!({ "phase": "Failed" })).unwrap();
            }
            Step::Crash(at) => drop(self.down.insert(*at)),
            Step::Recover(at) => drop(self.down.remove(at)),
            Step::Scale(_) | Step::Partition(_) | Step::Image(_) | Step::Change(_) => {}
        }
        self.settle();
    }

    /// Rounds until nothing moves any more.
    fn settle(&mut self) {
        for _ in 0..60 {
            let moved = self.world.round();
            let objects = &mut self.world.objects;
            let name = objects.set.metadata.name.clone().unwrap();
            let mut told = false;
            for pod in objects.pods.values_mut().filter(|pod| !is_ended(pod)) {
                let says = serde_json::from_value(status_of(&name, pod, &self.down)).unwrap();
                told |= pod.status != Some(says);
                pod.status = serde_json::from_value(status_of(&name, pod, &self.down)).unwrap();
            }
            if !moved && !told {
                return;
            }
        }
        panic!("the model does not come to rest");
    }
}
