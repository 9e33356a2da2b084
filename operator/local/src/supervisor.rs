//! One pod: its process is kept running until the pod is deleted or `up` ends.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::blueprint::{Blueprint, address, grace, lay_out};
use crate::health::{Health, Prober};
use crate::launch::{EXIT_LOCKED, PodFiles, ProcessRecord, spawn};
use crate::members::poll_member;
use crate::node::{Node, Run};
use crate::place::is_same;
use crate::process::{Exit, Process};
use crate::report::{ContainerState, Report};
use crate::store::{ObjectKey, now};

/// Why a pod is no longer to be kept running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// The pod is being deleted, or is gone.
    Delete,
    /// `up` ends; the pod stays for the next one.
    Drain,
}

/// Why a process could not be started.
struct NotStarted {
    reason: &'static str,
    message: String,
}

pub(crate) struct Supervisor {
    node: Arc<Node>,
    key: ObjectKey,
    pod: Pod,
    uid: String,
    files: PodFiles,
    run: watch::Receiver<Run>,
    changes: watch::Receiver<u64>,
    report: Report,
    backoff: Backoff,
}

impl Supervisor {
    /// Takes charge of a pod; `None` when its object is no pod.
    pub fn new(
        node: &Arc<Node>,
        key: ObjectKey,
        object: &Value,
        run: watch::Receiver<Run>,
    ) -> Option<Self> {
        let pod: Pod = serde_json::from_value(object.clone()).ok()?;
        Some(Self {
            uid: pod.metadata.uid.clone()?,
            files: node.pod_files(&key),
            changes: node.store.changes(),
            report: Report::read(object),
            backoff: Backoff::default(),
            node: Arc::clone(node),
            key,
            pod,
            run,
        })
    }

    /// Keeps the pod's process running until it is ordered otherwise.
    pub async fn supervise(mut self) {
        let mut adopted = self.adopt().await;
        loop {
            let mut begun = Instant::now();
            let ended = match adopted.take() {
                Some((process, blueprint)) => {
                    begun = process.begun().into();
                    self.keep(process, blueprint, true).await
                }
                None => match self.start() {
                    Ok((process, blueprint)) => self.keep(process, blueprint, false).await,
                    Err(NotStarted { reason, message }) => {
                        let words = format!("{}: not started: {message}", self.key.name);
                        self.node.notify_once(words);
                        self.waiting(reason, message);
                        None
                    }
                },
            };
            if let Some(order) = self.order_now() {
                return self.finish(order);
            }
            let delay = self.backoff.after(if ended.is_some() {
                begun.elapsed()
            } else {
                Duration::ZERO
            });
            if let Some(exit) = ended {
                self.ended(exit, delay);
            }
            tokio::select! {
                order = self.ordered() => return self.finish(order),
                () = tokio::time::sleep(delay) => {}
            }
        }
    }

    /// The process that an earlier `up` left behind, with what it should be. One that belongs to an earlier pod of the
    /// same name is ended.
    async fn adopt(&mut self) -> Option<(Process, Blueprint)> {
        let (mut process, record) = loop {
            match Process::adopt(&self.files).await {
                Ok(Some(found)) => break found,
                Ok(None) => {
                    // A record without a process: it died while nobody watched.
                    if self
                        .files
                        .read_record()
                        .is_some_and(|record| record.pod_uid == self.uid)
                    {
                        self.ended(Exit::Unknown, Duration::ZERO);
                    }
                    return None;
                }
                Err(error) => {
                    self.waiting("ForeignProcess", error.to_string());
                    if *self.run.borrow() != Run::Supervise {
                        return None;
                    }
                }
            }
        };
        if record.pod_uid != self.uid {
            self.terminate(&mut process).await;
            return None;
        }
        if !self.started_here(&record) {
            self.node.notify(format!(
                "{} runs as process {} with paths or an address that are no longer this folder's: stopped and started anew",
                self.key.name,
                process.pid()
            ));
            self.terminate(&mut process).await;
            return None;
        }
        match lay_out(
            &self.pod,
            record.program,
            &self.node.dir,
            &self.files,
            &self.node.store,
        ) {
            Ok(blueprint) => {
                self.node.notify(format!(
                    "{} runs already as process {}: adopted",
                    self.key.name,
                    process.pid()
                ));
                Some((process, blueprint))
            }
            Err(error) => {
                self.node.notify(format!(
                    "{} runs as process {} and cannot be kept: {error}",
                    self.key.name,
                    process.pid()
                ));
                self.terminate(&mut process).await;
                None
            }
        }
    }

    /// Whether what the process was started with still leads into this folder. Where the folder moved it goes on
    /// writing to the old path, where another folder may stand by now.
    fn started_here(&self, record: &ProcessRecord) -> bool {
        record.place.as_ref().is_some_and(|place| {
            is_same(&place.folder, self.files.folder()) && address(&self.pod) == Some(place.address)
        })
    }

    fn start(&mut self) -> Result<(Process, Blueprint), NotStarted> {
        let failed = |reason, error: &dyn std::fmt::Display| NotStarted {
            reason,
            message: error.to_string(),
        };
        let program = self
            .node
            .program(&self.pod)
            .map_err(|error| failed("ImageNotFound", &error))?;
        let blueprint = lay_out(
            &self.pod,
            program,
            &self.node.dir,
            &self.files,
            &self.node.store,
        )
        .map_err(|error| failed("CreateContainerConfigError", &error))?;
        ports_are_free(&blueprint).map_err(|message| NotStarted {
            reason: "PortInUse",
            message,
        })?;
        self.files.clear_record();
        let child = spawn(&self.node.launcher, &self.files, &blueprint.launch)
            .map_err(|error| failed("CannotStart", &error))?;
        let process = Process::of_child(child).map_err(|error| failed("CannotStart", &error))?;
        Ok((process, blueprint))
    }

    /// Watches a running process until it ends, by itself or because it must; `None` when it ended by order.
    async fn keep(
        &mut self,
        mut process: Process,
        blueprint: Blueprint,
        adopted: bool,
    ) -> Option<Exit> {
        let known = adopted.then_some(self.report.health);
        let mut prober = Prober::start(&blueprint, known);
        let _poller = poll_member(&self.node, &self.key, &self.pod);
        let since = now();
        loop {
            self.report.state = ContainerState::Running {
                pid: process.pid(),
                since: since.clone(),
            };
            self.report.health = prober.health();
            self.write_report();
            if !self.report.health.alive {
                self.node.notify(format!(
                    "{} failed its liveness or startup probe: restarted",
                    self.key.name
                ));
                return Some(self.terminate(&mut process).await);
            }
            tokio::select! {
                exit = process.ended() => return Some(exit),
                _ = self.ordered() => {
                    drop(prober);
                    self.terminate(&mut process).await;
                    return None;
                }
                () = prober.changed() => {}
            }
        }
    }

    /// SIGTERM; SIGKILL when the grace period is over or `up` was told twice to end.
    async fn terminate(&mut self, process: &mut Process) -> Exit {
        let mut run = self.run.clone();
        let grace = grace(&self.pod);
        let gentle = process.terminate(grace);
        let hurried = async move {
            while *run.borrow_and_update() != Run::Kill && run.changed().await.is_ok() {}
        };
        let exit = tokio::select! {
            exit = gentle => Some(exit),
            () = hurried => None,
        };
        match exit {
            Some(exit) => exit,
            None => process.terminate(Duration::ZERO).await,
        }
    }

    fn ended(&mut self, exit: Exit, delay: Duration) {
        self.report.restarts += 1;
        self.report.health = Health {
            started: false,
            ready: false,
            alive: true,
        };
        let (code, signal) = match exit {
            Exit::Code(code) => (code, None),
            // As a container runtime counts it.
            Exit::Signal(signal) => (128 + signal, Some(signal)),
            Exit::Unknown => (255, None),
        };
        let reason = if code == 0 { "Completed" } else { "Error" };
        self.report.last = Some(json!({ "terminated": {
            "exitCode": code, "signal": signal, "reason": reason, "finishedAt": now(),
        } }));
        let log = self.files.log().display();
        if delay.is_zero() {
            self.node.notify(format!(
                "{} ended with {exit}: restarted (log: {log})",
                self.key.name
            ));
            self.waiting("Restarting", format!("ended with {exit}"));
        } else {
            let hint = if exit == Exit::Code(EXIT_LOCKED) {
                "; its pod has another process"
            } else {
                ""
            };
            let message = format!(
                "ended with {exit} soon after its start{hint}; next try in {} ms; see {log}",
                delay.as_millis()
            );
            self.node.notify(format!("{} {message}", self.key.name));
            self.waiting("CrashLoopBackOff", message);
        }
    }

    fn waiting(&mut self, reason: &'static str, message: String) {
        self.report.state = ContainerState::Waiting { reason, message };
        self.write_report();
    }

    fn write_report(&self) {
        // A pod that is gone has no status; one that cannot be written is written at the next change.
        let _ = self
            .node
            .store
            .edit(&self.key, Some(&self.uid), None, |pod| {
                self.report.write(pod)
            });
    }

    fn finish(mut self, order: Order) {
        self.files.clear_record();
        self.node.members.forget(&self.key);
        match order {
            Order::Drain => self.waiting(
                "Stopped",
                "`quorate up` ended; the next one starts it again".to_owned(),
            ),
            Order::Delete => {
                let _ = std::fs::remove_dir_all(self.files.folder().join("mounts"));
                // Conflict and not found: it is another pod by now, or gone.
                let _ = self.node.store.remove(&self.key, Some(&self.uid));
            }
        }
    }

    fn order_now(&self) -> Option<Order> {
        let deleted = match self.node.store.get(&self.key) {
            None => true,
            Some(pod) => {
                pod["metadata"]["uid"] != self.uid.as_str()
                    || !pod["metadata"]["deletionTimestamp"].is_null()
            }
        };
        match (deleted, *self.run.borrow()) {
            (true, _) => Some(Order::Delete),
            (false, Run::Supervise) => None,
            (false, Run::Drain | Run::Kill) => Some(Order::Drain),
        }
    }

    fn ordered(&self) -> impl Future<Output = Order> + Send + use<'_> {
        let (mut changes, mut run) = (self.changes.clone(), self.run.clone());
        async move {
            loop {
                changes.mark_unchanged();
                run.mark_unchanged();
                if let Some(order) = self.order_now() {
                    return order;
                }
                tokio::select! {
                    _ = changes.changed() => self.refresh_mounts(),
                    _ = run.changed() => {}
                }
            }
        }
    }

    /// Mounted ConfigMaps and Secrets follow their objects, as they do in a cluster.
    fn refresh_mounts(&self) {
        let _ = lay_out(
            &self.pod,
            PathBuf::new(),
            &self.node.dir,
            &self.files,
            &self.node.store,
        );
    }
}

fn ports_are_free(blueprint: &Blueprint) -> Result<(), String> {
    for (name, port) in &blueprint.ports {
        if let Err(error) = std::net::TcpListener::bind((blueprint.address, *port)) {
            return Err(format!(
                "port {port} ({name}) of {} cannot be used: {error}; find who has it with `ss -ltnp 'sport = :{port}'`",
                blueprint.address
            ));
        }
    }
    Ok(())
}
