//! `quorate up`: takes a state folder, and runs what is in it.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::admission::{Outcome, apply};
use crate::api::serve;
use crate::images::Images;
use crate::logs::rotate;
use crate::network::claim_subnet;
use crate::node::{Node, Notice, Run};
use crate::operator::operate;
use crate::place::settle;
use crate::report::PID_ANNOTATION;
use crate::sets::FOLDER;
use crate::state_dir::{StateDir, UpLock, io_error};
use crate::store::{ObjectKey, StoreError, now};

/// How often the logs' sizes are looked at.
const ROTATE_EVERY: Duration = Duration::from_secs(5);

/// What `up` is started with.
#[derive(Debug)]
pub struct Options {
    /// Where everything is kept.
    pub dir: StateDir,
    /// Which binaries images stand for.
    pub images: Images,
    /// The program and arguments that start the launcher; a pod's folder is added as the last argument, and the
    /// program must hand it to [`crate::become_member`].
    pub launcher: Vec<PathBuf>,
    /// Documents to apply before anything is started.
    pub documents: Vec<Value>,
}

/// A running `up`. When it is dropped without [`Up::end`], the members live on.
#[derive(Debug)]
pub struct Up {
    node: Arc<Node>,
    run: watch::Sender<Run>,
    operator: JoinHandle<()>,
    others: Vec<JoinHandle<()>>,
    refused: Vec<String>,
    _lock: UpLock,
}

impl Up {
    /// Takes the folder, applies the documents and begins to run everything. What people should hear of arrives at
    /// the receiver.
    ///
    /// # Errors
    /// When the folder is in use or cannot be used, or no document is valid; then nothing was started.
    pub fn start(options: Options) -> anyhow::Result<(Self, mpsc::UnboundedReceiver<Notice>)> {
        let Options {
            dir,
            images,
            launcher,
            documents,
        } = options;
        let lock = dir.lock()?;
        let moved_from = settle(&dir)?;
        let subnet = claim_subnet(&dir)?;
        let (notices, received) = mpsc::unbounded_channel();
        let node = Arc::new(Node::new(dir, images, launcher, subnet, notices)?);
        for words in node.store.words() {
            node.notify(words.clone());
        }
        if let Some(before) = moved_from {
            node.notify(format!(
                "{} was at {} before: it goes on where it is now",
                node.dir.root().display(),
                before.display()
            ));
        }
        unlearn(&node)?;
        place(&node)?;
        let refused = admit(&node, &documents);
        anyhow::ensure!(
            documents.is_empty() || refused.len() < documents.len(),
            "{}",
            refused.join("; ")
        );
        let listener = listen(&node.dir)?;
        let (run, running) = watch::channel(Run::Supervise);
        let operator = tokio::spawn(operate(Arc::clone(&node), running));
        let others = vec![
            tokio::spawn(serve(listener, Arc::clone(&node))),
            tokio::spawn(rotate_logs(Arc::clone(&node))),
        ];
        Ok((
            Self {
                node,
                run,
                operator,
                others,
                refused,
                _lock: lock,
            },
            received,
        ))
    }

    /// Why documents were refused; the others run.
    #[must_use]
    pub fn refused(&self) -> &[String] {
        &self.refused
    }

    /// What it runs.
    #[must_use]
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Begins to end: members get SIGTERM and their grace periods; with [`Run::Kill`] no grace.
    pub fn order(&self, run: Run) {
        self.run.send_replace(run);
    }

    /// Waits until every member's process has ended, after [`Up::order`].
    ///
    /// # Errors
    /// When the operator itself broke.
    pub async fn ended(&mut self) -> anyhow::Result<()> {
        (&mut self.operator).await?;
        let _ = std::fs::remove_file(self.node.dir.control_socket());
        Ok(())
    }

    /// Why nothing will serve, if that is so: not one pod is Ready, and one waits for what will not come by itself (a
    /// binary, a port). A Secret may yet be applied.
    #[must_use]
    pub fn hopeless(&self) -> Option<String> {
        let pods = self.node.store.list("pods", None);
        let waiting = |pod: &Value| {
            let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
            let reason = waiting["reason"].as_str()?;
            ["ImageNotFound", "PortInUse", "CannotStart"]
                .contains(&reason)
                .then(|| waiting["message"].as_str().unwrap_or(reason).to_owned())
        };
        let ready = |pod: &Value| pod["status"]["containerStatuses"][0]["ready"] == true;
        if pods.iter().any(ready) {
            None
        } else {
            pods.iter().find_map(waiting)
        }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        self.operator.abort();
        self.others.iter().for_each(JoinHandle::abort);
    }
}

/// Applies each document, and says what became of it; the reasons of those that are refused.
fn admit(node: &Node, documents: &[Value]) -> Vec<String> {
    let mut refused = Vec::new();
    for document in documents {
        let name = document["metadata"]["name"].as_str().unwrap_or("?");
        let kind = document["kind"].as_str().unwrap_or("?");
        match apply(node, document) {
            Ok(Outcome {
                applied,
                difference,
                ..
            }) => {
                let applied = format!("{applied:?}").to_lowercase();
                node.notify(format!("{kind} {name}: {applied}"));
                let fields = difference.fields.iter().map(|field| format!("  {field}"));
                let warnings = difference.warnings.iter();
                let warnings = warnings.map(|words| format!("  Warning: {words}"));
                fields.chain(warnings).for_each(|line| node.notify(line));
            }
            Err(error) => {
                let words = format!("{kind} {name}: {error}");
                node.notify(format!("refused: {words}"));
                refused.push(words);
            }
        }
    }
    refused
}

/// Takes back what an earlier `up` had observed: nobody has looked since, and members may have ended meanwhile.
fn unlearn(node: &Node) -> Result<(), StoreError> {
    for (sort, resource) in node.resources() {
        let key = ObjectKey::of(&sort.plural, &resource)?;
        node.store.edit(&key, None, None, |resource| {
            if resource["status"].is_object() {
                resource["status"] = sort.unlearned(&resource["status"]);
            }
            if let Some(status) = resource["status"].as_object_mut() {
                let conditions = status.get_mut("conditions").and_then(Value::as_array_mut);
                for condition in conditions.into_iter().flatten() {
                    condition["status"] = json!("Unknown");
                    condition["reason"] = json!("NotObserved");
                    condition["message"] = json!("`quorate up` has begun and not looked yet");
                    condition["lastTransitionTime"] = json!(now());
                }
            }
        })?;
    }
    for pod in node.store.list("pods", None) {
        let key = ObjectKey::of("pods", &pod)?;
        node.store.edit(&key, None, None, |pod| {
            let annotations = pod.pointer_mut("/metadata/annotations");
            if let Some(annotations) = annotations.and_then(Value::as_object_mut) {
                annotations.remove(PID_ANNOTATION);
            }
        })?;
    }
    Ok(())
}

/// Says of every pod and claim where it is today: the folder may have moved, and others may have its addresses by now.
fn place(node: &Node) -> anyhow::Result<()> {
    for claim in node.store.list("persistentvolumeclaims", None) {
        let key = ObjectKey::of("persistentvolumeclaims", &claim)?;
        let folder = json!(node.dir.volume(&key.namespace, &key.name));
        node.store.edit(&key, None, None, |claim| {
            claim["metadata"]["annotations"][FOLDER] = folder;
        })?;
    }
    for pod in node.store.list("pods", None) {
        let key = ObjectKey::of("pods", &pod)?;
        let Some(before) = pod["status"]["podIP"].as_str() else {
            continue;
        };
        if node.has_address(before) {
            continue;
        }
        let address = node.assign_address(&key.namespace, &key.name)?;
        node.notify(format!(
            "{}: {before} is another folder's by now: it has {address}",
            key.name
        ));
        node.store.edit(&key, None, None, |pod| {
            pod["status"]["podIP"] = json!(address);
            pod["status"]["podIPs"] = json!([{ "ip": address }]);
        })?;
    }
    Ok(())
}

fn listen(dir: &StateDir) -> anyhow::Result<UnixListener> {
    let path = dir.control_socket();
    // We hold the folder's lock: a socket that is there was left by an `up` that is no more.
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).map_err(io_error("cannot listen on", &path))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
        .map_err(io_error("cannot protect", &path))?;
    Ok(listener)
}

async fn rotate_logs(node: Arc<Node>) {
    loop {
        tokio::time::sleep(ROTATE_EVERY).await;
        for pod in node.store.list("pods", None) {
            let Ok(key) = ObjectKey::of("pods", &pod) else {
                continue;
            };
            if let Err(error) = rotate(node.pod_files(&key).log()) {
                node.notify_once(format!("{}: its log cannot be cut: {error}", key.name));
            }
        }
    }
}
