//! What the members say of themselves, asked several times a second.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use quorate_client::{Client, Resolver, Timeouts, TlsError};
use quorate_plan::{Answer, health_address};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::node::Node;
use crate::store::ObjectKey;

/// With the time of a reconcile round this keeps leader and pids less than a second old.
const PERIOD: Duration = Duration::from_millis(250);
const TIMEOUT: Duration = Duration::from_millis(500);

/// The latest answer of each pod's member.
#[derive(Debug)]
pub(crate) struct Members {
    client: Client,
    answers: Mutex<BTreeMap<ObjectKey, Answer>>,
    changed: watch::Sender<u64>,
}

impl Members {
    pub fn new() -> Result<Self, TlsError> {
        let timeouts = Timeouts {
            connect: TIMEOUT,
            read: TIMEOUT,
            change: TIMEOUT,
        };
        let client = Client::new(Resolver::System, None, timeouts)?;
        Ok(Self {
            client,
            answers: Mutex::default(),
            changed: watch::Sender::new(0),
        })
    }

    /// Something to wait on for the next answer that says something new.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// What a pod's member answered last.
    pub fn answer(&self, key: &ObjectKey) -> Option<Answer> {
        self.answers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(key)
            .cloned()
    }

    pub fn forget(&self, key: &ObjectKey) {
        self.answers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
        self.changed.send_modify(|count| *count += 1);
    }

    fn tell(&self, key: &ObjectKey, answer: Answer) {
        let old = self
            .answers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key.clone(), answer.clone());
        if old.is_none_or(|old| old.status != answer.status || old.pod_uid != answer.pod_uid) {
            self.changed.send_modify(|count| *count += 1);
        }
    }
}

/// The polling of one member; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Poller(Option<JoinHandle<()>>);

impl Drop for Poller {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// Asks a pod's member for its status until the result is dropped.
pub(crate) fn poll_member(node: &Arc<Node>, key: &ObjectKey, pod: &Pod) -> Poller {
    let (Some(health), Some(pod_uid)) = (health_address(pod), pod.metadata.uid.clone()) else {
        return Poller(None);
    };
    let (node, key, health) = (Arc::clone(node), key.clone(), health.to_string());
    Poller(Some(tokio::spawn(async move {
        loop {
            let status = node
                .members
                .client
                .status(&health)
                .await
                .map_err(|error| error.to_string());
            node.members.tell(
                &key,
                Answer {
                    pod_uid: pod_uid.clone(),
                    at: Timestamp::now(),
                    status,
                },
            );
            tokio::time::sleep(PERIOD).await;
        }
    })))
}
