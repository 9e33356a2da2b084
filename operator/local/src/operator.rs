//! The operator on this machine: a reconcile loop per resource, and the pods' supervisors.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quorate_engine::{Key, Memory, Round, reconcile};
use quorate_plan::AnyKind;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};

use crate::host::LocalHost;
use crate::launch::PodFiles;
use crate::node::{Node, Run};
use crate::process::Process;
use crate::sets::control;
use crate::store::{ObjectKey, entries};
use crate::supervisor::Supervisor;

/// Rounds for one resource begin this far apart at least: under load its members say something new all the time.
const LEAST_PAUSE: Duration = Duration::from_millis(200);
/// With nothing heard, a resource is looked at again after this.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The controllers look at everything this often at least.
const LEAST_ROUNDS: Duration = Duration::from_secs(1);
/// After a failure of the host.
const RETRY: Duration = Duration::from_millis(500);

/// Runs everything until `run` says otherwise and every pod's process has ended.
pub(crate) async fn operate(node: Arc<Node>, mut run: watch::Receiver<Run>) {
    end_strays(&node).await;
    let mut changes = node.store.changes();
    let mut supervisors: JoinSet<ObjectKey> = JoinSet::new();
    let mut supervised = BTreeSet::new();
    let mut resources = Reconcilers::default();
    loop {
        changes.mark_unchanged();
        run.mark_unchanged();
        let supervising = *run.borrow() == Run::Supervise;
        if supervising {
            control(&node);
            resources.follow(&node);
            for pod in node.store.list("pods", None) {
                let Ok(key) = ObjectKey::of("pods", &pod) else {
                    continue;
                };
                if supervised.contains(&key) {
                    continue;
                }
                if let Some(supervisor) = Supervisor::new(&node, key.clone(), &pod, run.clone()) {
                    supervised.insert(key.clone());
                    supervisors.spawn(async move {
                        supervisor.supervise().await;
                        key
                    });
                }
            }
        } else {
            resources.stop();
            if supervisors.is_empty() {
                return;
            }
        }
        tokio::select! {
            _ = changes.changed() => {}
            _ = run.changed() => {}
            // `minReadySeconds` passes without a change of any object.
            () = sleep(LEAST_ROUNDS), if supervising => {}
            Some(ended) = supervisors.join_next() => {
                if let Ok(key) = ended {
                    supervised.remove(&key);
                }
            }
        }
    }
}

/// Ends processes whose pods are gone: an earlier `up` was killed between the two.
async fn end_strays(node: &Arc<Node>) {
    let namespaces = entries(&node.dir.pods()).unwrap_or_default();
    for folder in namespaces
        .iter()
        .flat_map(|namespace| entries(namespace).unwrap_or_default())
    {
        let name = |path: &Path| {
            path.file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default()
        };
        let key = ObjectKey::new(
            "pods",
            &folder.parent().map(name).unwrap_or_default(),
            &name(&folder),
        );
        if node.store.get(&key).is_some() {
            continue;
        }
        let files = PodFiles::new(folder, node.dir.log(&key.namespace, &key.name));
        match Process::adopt(&files).await {
            Ok(None) => {}
            Ok(Some((mut process, _))) => {
                node.notify(format!(
                    "{} has a process and no pod any more: ended",
                    key.name
                ));
                process.terminate(Duration::from_secs(10)).await;
                files.clear_record();
            }
            Err(error) => node.notify(format!("{}: {error}", key.name)),
        }
    }
}

/// A loop for each resource.
#[derive(Default)]
struct Reconcilers(BTreeMap<(String, Key), AbortHandle>);

impl Reconcilers {
    fn follow(&mut self, node: &Arc<Node>) {
        self.0.retain(|_, task| !task.is_finished());
        for (resource, object) in node.resources() {
            let Some(kind) = resource.custom else {
                continue;
            };
            let text = |field: &str| {
                object["metadata"][field]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            };
            let key = Key {
                namespace: text("namespace"),
                name: text("name"),
            };
            self.0
                .entry((resource.plural.clone(), key.clone()))
                .or_insert_with(|| {
                    tokio::spawn(reconcile_on_change(Arc::clone(node), kind, key)).abort_handle()
                });
        }
    }

    /// Nothing is decided any more; every effect is safe to be the last.
    fn stop(&mut self) {
        std::mem::take(&mut self.0)
            .into_values()
            .for_each(|task| task.abort());
    }
}

async fn reconcile_on_change(node: Arc<Node>, kind: &'static dyn AnyKind, key: Key) {
    let (mut host, mut memory) = (LocalHost::new(&node), Memory::default());
    let (mut objects, mut members) = (node.store.changes(), node.members.changes());
    loop {
        objects.mark_unchanged();
        members.mark_unchanged();
        let begun = Instant::now();
        let pause = match reconcile(&mut host, kind, &key, &mut memory).await {
            Ok(Round::Gone) => return,
            Ok(Round::Rejected(words)) => {
                node.notify_once(format!("{}: {words}", key.name));
                LONGEST_PAUSE
            }
            Ok(Round::Done { requeue_after, .. }) => requeue_after.min(LONGEST_PAUSE),
            Err(failure) => {
                if !matches!(failure, quorate_engine::Failure::Conflict(_)) {
                    node.notify_once(format!("{}: {failure}", key.name));
                }
                RETRY
            }
        };
        sleep_until(begun + LEAST_PAUSE).await;
        tokio::select! {
            () = sleep(pause) => {}
            _ = objects.changed() => {}
            _ = members.changed() => {}
        }
    }
}
