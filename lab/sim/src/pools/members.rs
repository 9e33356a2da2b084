//! The kubelets: each member is ready a while after its pod was made, may crash, and may have work in hand.

use std::collections::BTreeMap;

use fastrand::Rng;
use quorate_model::is_ready;
use quorate_plan::testing;
use quorate_wire::{GroupRequest, MemberRequest, MemberStatus, RestartBlocker};

use super::api::Api;
use crate::operator::nodes::{BROKEN, pod_status, version};

#[derive(Clone, Debug)]
pub(super) struct Process {
    pod_uid: String,
    /// The claim's UID, or the pod's where there is none.
    disk: String,
    starts: i64,
    ends: Option<i64>,
    version: String,
    /// Until when it has work in hand, the operator does not reach it, and it takes no work since it was asked to drain.
    pub busy: i64,
    pub silent: i64,
    drained: i64,
}

#[derive(Clone, Debug)]
pub(super) struct Members {
    /// What they are and say.
    pub all: testing::Members,
    /// By pod, whether they run or not.
    pub processes: BTreeMap<String, Process>,
}

impl Members {
    pub fn of(all: testing::Members) -> Self {
        Members {
            all,
            processes: BTreeMap::new(),
        }
    }

    /// Time goes on for kubelets, processes and the group.
    ///
    /// # Errors
    /// When the group lost what it had committed.
    pub fn step(&mut self, api: &mut Api, rng: &mut Rng, now: i64) -> Result<(), String> {
        for (name, pod) in &api.pods {
            let pod_uid = pod.metadata.uid.clone().unwrap_or_default();
            let claim = api.claims.get(&format!("data-{name}"));
            let disk = claim.and_then(|claim| claim.metadata.uid.clone());
            let fresh = || Process {
                disk: disk.unwrap_or_else(|| pod_uid.clone()),
                pod_uid,
                starts: now + rng.i64(0..1200),
                ends: None,
                version: version(pod),
                busy: 0,
                silent: 0,
                drained: 0,
            };
            let process = self.processes.entry(name.clone()).or_insert_with(fresh);
            if pod.metadata.deletion_timestamp.is_some() && process.ends.is_none() {
                process.ends = Some(now + rng.i64(0..800));
            }
        }
        let over = |process: &Process| process.ends.is_some_and(|ends| ends <= now);
        for (pod, _) in self.processes.extract_if(.., |_, process| over(process)) {
            self.all.stop(&pod);
            api.pods.remove(&pod);
        }
        for claim in api.release_claims() {
            self.all.lose(&claim);
        }
        self.start(rng, now);
        self.all.step(rng)?;
        self.report(api, now);
        Ok(())
    }

    fn start(&mut self, rng: &mut Rng, now: i64) {
        for (pod, process) in &self.processes {
            let waits = process.starts > now || process.ends.is_some();
            if !self.all.is_running(pod) && !waits && process.version != BROKEN {
                let (disk, version) = (&process.disk, &process.version);
                self.all.start(pod, disk, version, rng.u64(1..));
            }
        }
    }

    fn report(&self, api: &mut Api, now: i64) {
        for (name, pod) in &mut api.pods {
            let ready = self.is_ready(name, now);
            let process = self.processes.get(name);
            let broken = process.is_some_and(|p| p.version == BROKEN && p.starts <= now);
            let status = pod.status.as_ref();
            let told = status.map(|status| status.container_statuses.is_some());
            if told != Some(broken) || is_ready(pod) != ready {
                pod.status = Some(pod_status(name, ready, broken, now));
            }
        }
    }

    /// Whether it serves, and was not asked to drain a moment ago.
    pub fn is_ready(&self, pod: &str, now: i64) -> bool {
        let process = self.processes.get(pod);
        process.is_some_and(|process| process.drained <= now) && self.all.is_ready(pod)
    }

    /// The member's document, or why there is none.
    pub fn status(&self, pod: &str, now: i64) -> Result<MemberStatus, String> {
        let (process, document) = (self.processes.get(pod), self.all.document(pod));
        let (process, document) = process.zip(document).ok_or("connection refused")?;
        if process.silent > now {
            return Err("timed out".into());
        }
        let work = RestartBlocker {
            code: "Work".into(),
            message: "it has work in hand".into(),
        };
        Ok(MemberStatus {
            ready: self.is_ready(pod, now),
            restart_blockers: Vec::from_iter((process.busy > now).then_some(work)),
            ..document
        })
    }

    /// A process dies and comes back on the same disk.
    pub fn crash(&mut self, pod: &str, now: i64, rng: &mut Rng) {
        if let Some(process) = self.processes.get_mut(pod) {
            self.all.stop(pod);
            process.starts = now + rng.i64(200..5000);
        }
    }

    /// A request arrives at a member.
    ///
    /// # Errors
    /// Its refusal.
    pub fn deliver(
        &mut self,
        pod: &str,
        uid: &str,
        asked: &MemberRequest,
        now: i64,
    ) -> Result<(), String> {
        let process = self.processes.get_mut(pod).filter(|p| p.pod_uid == uid);
        let process = process.filter(|_| self.all.is_running(pod));
        let process = process.ok_or("connection refused")?;
        if asked.name == "Drain" {
            process.busy = process.busy.min(now + 1000);
            process.drained = now + 3000;
            return Ok(());
        }
        let request = GroupRequest::read(&asked.path, &asked.body).ok_or("no such request")?;
        let done = self.all.ask(pod, &request);
        done.map_err(|refused| format!("{refused:?}"))
    }
}
