//! One simulated world: an API server, members, an operator, a user, and a judge.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use fastrand::Rng;
use k8s_openapi::api::apps::v1::StatefulSet;
use quorate_engine::{Key, Memory, Round, reconcile};
use quorate_model::{is_ready, is_terminating};
use quorate_plan::AnyKind;
use quorate_plan::testing::{self, example};
use serde_json::{Value, json};

use super::NAME;
use super::api::Api;
use super::host::{Hit, SimHost};
use super::judge::Judge;
use super::members::{Members, Process};
use super::user::User;
use crate::counters::Counters;
use crate::operator::nodes::timestamp;
use crate::operator::world::finish;

#[derive(Clone)]
pub(super) struct World {
    /// In milliseconds.
    pub now: i64,
    pub rng: Rng,
    kind: &'static dyn AnyKind,
    pub api: Api,
    pub members: Members,
    pub judge: Judge,
    pub user: User,
    pub counters: Counters,
    memory: Memory,
    pub next_round: i64,
    /// How often the operator wrote anything, or tried to, and when it did last.
    pub writes: u32,
    pub last_write: i64,
    /// Which of these writes is to fail.
    pub hit: Option<Hit>,
    /// Until when faults happen.
    pub calm_from: i64,
    /// The first property that did not hold.
    pub broken: Option<String>,
    print: bool,
    pub hash: u64,
}

impl World {
    /// With faults from a seed.
    pub fn new(kind: &'static dyn AnyKind, seed: u64, print: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let max_unavailable_gate = rng.bool();
        let user = User::new(example(kind), &mut rng);
        let calm_for = rng.i64(6_000..60_000);
        let mut world = World::of(kind, user, rng);
        world.api.rules.max_unavailable_gate = max_unavailable_gate;
        world.calm_from += calm_for;
        world.print = print;
        world
    }

    /// Without a fault but those that somebody puts into it.
    pub fn of(kind: &'static dyn AnyKind, user: User, rng: Rng) -> Self {
        let (now, names, asks) = (1_000_000, kind.names(), kind.requests());
        let mut api = Api::default();
        api.resource = json!({
            "apiVersion": names.api_version, "kind": names.kind,
            "metadata": { "name": NAME, "namespace": "default", "uid": "resource", "generation": 0 },
        });
        api.edit_spec(user.spec());
        let mut judge = Judge::default();
        judge.drains = asks.contains(&"Drain");
        let members = testing::Members::new(kind, "default", NAME, "resource");
        World {
            now,
            kind,
            api,
            members: Members::of(members),
            judge,
            user,
            counters: Counters::default(),
            memory: Memory::default(),
            next_round: now,
            writes: 0,
            hit: None,
            last_write: now,
            calm_from: now,
            rng,
            broken: None,
            print: false,
            hash: 0xcbf2_9ce4_8422_2325,
        }
    }

    pub fn faults_allowed(&self) -> bool {
        self.now < self.calm_from
    }

    pub fn count(&mut self, what: &'static str) {
        self.counters.add(what);
    }

    /// A line of the trace; the hash of all lines is the seed's fingerprint.
    pub fn trace(&mut self, line: impl FnOnce() -> String) {
        let mut text = String::new();
        let seconds = (self.now - 1_000_000) as f64 / 1000.0;
        let _ = write!(text, "{seconds:>8.1} {}", line());
        for byte in text.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        if self.print {
            println!("{text}");
        }
    }

    pub fn trace_set(&mut self, set: &StatefulSet) {
        let json = serde_json::to_value(set).unwrap_or_default();
        let image = json
            .pointer("/spec/template/spec/containers/0/image")
            .cloned();
        let partition = json
            .pointer("/spec/updateStrategy/rollingUpdate/partition")
            .cloned();
        let words = format!(
            "apply {}: replicas {}, partition {}, {}",
            json["metadata"]["name"],
            json["spec"]["replicas"],
            partition.unwrap_or_default(),
            image.unwrap_or_default(),
        );
        self.trace(|| words);
    }

    /// The first verdict against the operator ends the seed.
    pub fn hold(&mut self, verdict: Result<(), String>) {
        if let Err(what) = verdict {
            self.broken.get_or_insert(what);
        }
    }

    /// A pod goes by the operator's will.
    pub fn take(&mut self, pod: &str) {
        let judged = self.judge.take(&self.api, &self.members, pod);
        self.hold(judged);
        self.stop(pod);
    }

    fn stop(&mut self, pod: &str) {
        self.trace(|| format!("{pod} is stopped"));
        self.members.all.hand_over(pod);
        self.api.delete_pod(pod, timestamp(self.now));
    }

    /// 200 milliseconds.
    pub fn tick(&mut self) {
        self.now += 200;
        self.user_acts();
        if self.faults_allowed() {
            self.fault();
        }
        if self.api.is_deleting() {
            let stop = self.api.collect_garbage(timestamp(self.now));
            stop.iter().for_each(|pod| self.stop(pod));
        }
        let stepped = self.members.step(&mut self.api, &mut self.rng, self.now);
        self.hold(stepped);
        for set in self.kind.sets(NAME) {
            let lazy = self.faults_allowed() && self.rng.u8(..) < 60;
            if !lazy {
                self.control(&set);
            }
        }
        self.judge.watch(&self.api, &self.members, self.now);
        if self.now >= self.next_round && self.broken.is_none() {
            self.operate();
        }
    }

    /// A round of the StatefulSets' controller.
    fn control(&mut self, set: &str) {
        match self.api.control(set, timestamp(self.now)) {
            Ok(deleted) => deleted.iter().for_each(|pod| self.take(pod)),
            Err(unsupported) => self.hold(Err(unsupported)),
        }
    }

    fn fault(&mut self) {
        if self.rng.u8(..) > 24 {
            return;
        }
        let pods: Vec<&String> = self.api.pods.keys().collect();
        let Some(pod) = self.rng.choice(pods).cloned() else {
            return;
        };
        let until = self.now + self.rng.i64(500..9000);
        let what = match self.rng.u8(0..4) {
            0 => {
                self.members.crash(&pod, self.now, &mut self.rng);
                "crash"
            }
            1 => {
                self.stop(&pod);
                "eviction"
            }
            2 => {
                self.ail(&pod, |process| process.silent = until);
                "member silent"
            }
            _ => {
                self.ail(&pod, |process| process.busy = until);
                "member busy"
            }
        };
        self.count(what);
        self.trace(|| format!("{what}: {pod}"));
    }

    fn ail(&mut self, pod: &str, set: impl FnOnce(&mut Process)) {
        if let Some(process) = self.members.processes.get_mut(pod) {
            set(process);
        }
    }

    /// One round of the operator.
    pub fn operate(&mut self) {
        let mut memory = std::mem::take(&mut self.memory);
        let key = Key {
            namespace: "default".into(),
            name: NAME.into(),
        };
        let kind = self.kind;
        let mut host = SimHost::new(self);
        let round = finish(reconcile(&mut host, kind, &key, &mut memory));
        if host.killed {
            memory = Memory::default();
            self.trace(|| "the operator starts anew".into());
        }
        self.memory = memory;
        let pause = match round {
            Ok(Round::Done {
                requeue_after,
                refusals,
                ..
            }) => {
                for refused in &refusals {
                    self.count(refused.refusal.name());
                }
                // Events bring it back before.
                i64::try_from(requeue_after.as_millis())
                    .unwrap_or(1000)
                    .min(1000)
            }
            Ok(Round::Gone) => 1000,
            Ok(Round::Rejected(why)) => {
                self.hold(Err(format!("a valid spec was rejected: {why}")));
                1000
            }
            Err(_) => 400,
        };
        self.next_round = self.now + pause + self.rng.i64(0..200);
    }

    /// How many members each StatefulSet is to have.
    pub fn wanted(&self) -> BTreeMap<String, i32> {
        let sets = self.kind.sets(NAME).into_iter();
        sets.zip(self.user.members.iter().copied()).collect()
    }

    /// Why the world is not as specified; nothing when it is.
    pub fn missing(&self) -> Option<String> {
        if self.api.is_deleting() {
            let (sets, pods) = (self.api.sets.len(), self.api.pods.len());
            let left = sets + pods + self.api.objects.len();
            let is_gone = self.api.resource.is_null() && left == 0;
            return (!is_gone).then(|| format!("it is being deleted, and {left} objects are left"));
        }
        let image = format!("member:{}", self.user.version);
        for (set, wanted) in self.wanted() {
            let own = self
                .api
                .pods
                .iter()
                .filter(|(pod, _)| super::api::set_of(pod) == set);
            let serve = own.clone().filter(|(_, pod)| {
                let spec = pod.spec.as_ref();
                let runs = spec.and_then(|spec| spec.containers.first()?.image.as_ref());
                is_ready(pod) && !is_terminating(pod) && runs == Some(&image)
            });
            let (serve, there) = (serve.count(), own.count());
            if i32::try_from(there) != Ok(wanted) || serve != there {
                return Some(format!(
                    "{set}: {serve} of {there} serve {image}, {wanted} are wanted"
                ));
            }
        }
        let conditions = self.api.resource["status"]["conditions"].as_array();
        let mut conditions = conditions.into_iter().flatten();
        let ready = conditions.find(|condition| condition["type"] == "Ready");
        let is_current = |ready: &&Value| {
            ready["status"] == "True" && ready["observedGeneration"] == self.api.generation()
        };
        match ready {
            Some(ready) if is_current(&ready) => None,
            told => Some(format!("Ready is {told:?}")),
        }
    }

    /// What the resource says of itself.
    pub fn said(&self) -> String {
        self.api.resource["status"]["conditions"].to_string()
    }
}
