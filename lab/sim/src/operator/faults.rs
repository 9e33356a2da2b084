//! What goes wrong, and how far: for good only what the group survives.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::PodStatus;
use quorate_plan::INCARNATION;
use quorate_plan::testing::group::{Id, text};
use quorate_wire::MemberState;
use serde_json::Value;

use super::SET;
use super::nodes::{Ailments, BROKEN, timestamp};
use super::world::World;

impl World {
    /// Perhaps one fault.
    pub(super) fn fault(&mut self) {
        if self.rng.u8(..) > 40 {
            return;
        }
        match self.rng.u8(0..32) {
            0..4 => self.crash(),
            4..8 => self.evict(),
            8 => self.fail_pod(),
            9..12 => self.lose_disk(),
            12..14 => self.wipe_disk(),
            14..17 => self.damage(),
            17..20 => self.ail("member silent", |ailments, until| ailments.silent = until),
            20 => self.silence_all(),
            21..23 => self.cut(),
            23..26 => self.ail("member slow", |ailments, until| ailments.slow = until),
            26..28 => self.ail("member busy", |ailments, until| ailments.busy = until),
            28 => self.lose_status(),
            29 => self.scale_by_hand(),
            30 => self.add_by_hand(),
            31 => self.orphan_by_hand(),
            _ => {}
        }
    }

    /// A fault between two effects of the operator: one that passes; or the group is lost as soon as it is there.
    pub(super) fn interfere(&mut self) {
        if self.faults_allowed() && self.rng.u32(..1000) < 20 {
            self.lose_new_group();
        }
        if self.faults_allowed() && self.rng.u32(..1000) < 6 {
            if self.rng.bool() {
                self.crash()
            } else {
                self.evict()
            }
        }
    }

    fn any_pod(&mut self) -> Option<String> {
        let pods: Vec<&String> = self.api.pods.keys().collect();
        self.rng.choice(pods).cloned()
    }

    fn crash(&mut self) {
        let Some(pod) = self.any_pod() else { return };
        if self.nodes.crash(&pod, self.now, &mut self.rng) {
            self.counters.add("crash");
            self.trace(|| format!("{pod} crashes"));
        }
    }

    fn evict(&mut self) {
        let Some(pod) = self.any_pod() else { return };
        self.counters.add("eviction");
        self.trace(|| format!("{pod} is evicted"));
        self.stop_pod(&pod);
    }

    fn fail_pod(&mut self) {
        let Some(name) = self.any_pod() else { return };
        self.nodes.crash(&name, self.now + 3_600_000, &mut self.rng);
        if let Some(pod) = self.api.pods.get_mut(&name) {
            pod.status = Some(PodStatus {
                phase: Some("Failed".into()),
                ..PodStatus::default()
            });
            self.api.touched = true;
            self.counters.add("pod failed");
            self.trace(|| format!("{name} has failed"));
        }
    }

    fn ail(&mut self, what: &'static str, set: impl FnOnce(&mut Ailments, i64)) {
        let Some(pod) = self.any_pod() else { return };
        let time = self.rng.i64(500..9000);
        let until = self.now + time;
        set(self.nodes.ailments.entry(pod.clone()).or_default(), until);
        self.counters.add(what);
        self.trace(|| format!("{what}: {pod}, for {time} ms"));
    }

    fn cut(&mut self) {
        let Some(pod) = self.any_pod() else { return };
        let time = self.rng.i64(500..9000);
        self.nodes.cut(&pod, &self.group, self.now, self.now + time);
        self.counters.add("member cut off");
        self.trace(|| format!("member cut off: {pod}, for {time} ms"));
    }

    /// Who knows the group says nothing, while empty members answer.
    fn silence_group(&mut self) {
        let until = self.now + self.rng.i64(1000..6000);
        let nodes = &mut self.nodes;
        for pod in self.api.pods.keys() {
            if nodes
                .disk_of(pod)
                .is_some_and(|disk| disk.content == MemberState::Running)
            {
                nodes.ailments.entry(pod.clone()).or_default().silent = until;
            }
        }
        self.counters.add("status lost while the group is silent");
    }

    fn silence_all(&mut self) {
        let until = self.now + self.rng.i64(1000..6000);
        for pod in self.api.pods.keys() {
            self.nodes.ailments.entry(pod.clone()).or_default().silent = until;
        }
        self.counters.add("all members silent");
        self.trace(|| "all members are silent for a while".into());
    }

    /// Whether the group survives that this identity is gone for good: enough sound disks are left for a quorum, of
    /// both halves in a joint configuration. Before there is a group, nothing is lost with a disk, but for the
    /// founder's: that one may just have become the group.
    fn survives_without(&mut self, id: Id) -> bool {
        let Some(configuration) = self.group.configuration() else {
            return self.spares_founder(id);
        };
        if configuration.seat(id).is_none() {
            return true;
        }
        let disks = self.nodes.disks.values();
        let sound: BTreeSet<Id> = disks
            .filter(|disk| disk.content == MemberState::Running && disk.id != id)
            .map(|disk| disk.id)
            .collect();
        // They must elect a leader by what each knows, and then commit by the newest configuration.
        let commits = configuration.is_quorum(|member| sound.contains(&member));
        commits && !self.group.electable(&sound).is_empty()
    }

    /// Once it may have been asked; where status is lost, only its claim tells of it.
    fn spares_founder(&self, id: Id) -> bool {
        match self.group_in_status() {
            Some(group) => group["incarnation"] != text(id) || group["asked"] != true,
            None => !self.is_marked(id),
        }
    }

    fn group_in_status(&self) -> Option<&Value> {
        self.api.resource.as_ref()?.pointer("/status/group")
    }

    fn is_marked(&self, id: Id) -> bool {
        let mut claims = self.api.claims.values();
        claims.any(|claim| {
            let annotations = claim.metadata.annotations.iter().flatten();
            annotations.into_iter().any(|(_, value)| *value == text(id))
        })
    }

    /// Whether a founder that was asked to form the group has lost its disk: more than the group survives, since the
    /// founder is the only voter of what may be a group already. Nobody can tell whether it took writes, so it is left
    /// to a person.
    pub(super) fn founder_is_gone(&self) -> bool {
        let asked = self
            .group_in_status()
            .filter(|group| group["asked"] == true);
        let mut disks = self.nodes.disks.values();
        self.group.configuration().is_none()
            && asked.is_some_and(|group| !disks.any(|disk| group["incarnation"] == text(disk.id)))
    }

    /// Whether a claim tells of a founder whose disk is gone, where status, which goes now, alone knew that it was never
    /// asked: from then on it may have been the only voter of a group, whose loss is more than a group of one survives.
    fn mourns_founder(&self) -> bool {
        let mut claims = self.api.claims.values();
        let marked = claims.any(|claim| {
            let mut annotations = claim.metadata.annotations.iter().flatten();
            annotations.any(|(key, value)| {
                let mut disks = self.nodes.disks.values();
                key == INCARNATION && !disks.any(|disk| text(disk.id) == *value)
            })
        });
        self.group.configuration().is_none() && marked
    }

    /// A pod whose disk the group can do without, with the disk's claim.
    fn victim(&mut self) -> Option<(String, String, Id)> {
        let pod = self.any_pod()?;
        let claim = self.nodes.processes.get(&pod)?.claim_uid.clone();
        let id = self.nodes.disks.get(&claim)?.id;
        if self.survives_without(id) {
            return Some((pod, claim, id));
        }
        // Now and then a founder's disk goes, of which nobody may then make a group again.
        let founder = self
            .group
            .configuration()
            .is_none_or(|configuration| configuration.seats.len() == 1);
        if founder && self.user.members > 1 && self.rng.u8(..) < 10 {
            self.counters.add("founder's disk lost");
            self.beyond_survival = true;
            return Some((pod, claim, id));
        }
        None
    }

    /// The founder's disk goes before status says that the group is formed: nobody may make another one.
    fn lose_new_group(&mut self) {
        let unsaid = self
            .group_in_status()
            .is_some_and(|group| group["formed"] == false);
        let Some(seat) = self
            .group
            .configuration()
            .and_then(|in_force| in_force.seats.first().filter(|_| in_force.seats.len() == 1))
            .filter(|_| unsaid)
        else {
            return;
        };
        let (pod, id) = (seat.name.clone(), seat.id);
        let Some(process) = self.nodes.processes.get(&pod) else {
            return;
        };
        let claim = process.claim_uid.clone();
        self.counters.add("founder's disk lost");
        self.beyond_survival = true;
        self.lose_disk_of(pod, claim, id);
    }

    fn lose_disk(&mut self) {
        if let Some((pod, claim, id)) = self.victim() {
            self.lose_disk_of(pod, claim, id);
        }
    }

    fn lose_disk_of(&mut self, pod: String, claim: String, id: Id) {
        self.counters.add("disk lost");
        self.trace(|| format!("the node of {pod} is lost with its disk"));
        self.nodes.disks.remove(&claim);
        self.group.forget(id);
        self.nodes.crash(&pod, self.now + 3_600_000, &mut self.rng);
        self.api
            .delete_claim(&format!("data-{pod}"), &claim, timestamp(self.now));
        self.stop_pod(&pod);
    }

    fn wipe_disk(&mut self) {
        let Some((pod, _, _)) = self.victim() else {
            return;
        };
        self.counters.add("disk wiped under its claim");
        self.trace(|| format!("{pod} is killed and its folder deleted"));
        self.nodes.wipe(&pod, &mut self.group);
    }

    fn damage(&mut self) {
        let Some((pod, claim, id)) = self.victim() else {
            return;
        };
        let Some(disk) = self
            .nodes
            .disks
            .get_mut(&claim)
            .filter(|disk| disk.content == MemberState::Running)
        else {
            return;
        };
        disk.content = MemberState::Damaged;
        disk.can_set_aside = self.rng.bool();
        self.group.forget(id);
        self.counters.add("disk damaged");
        self.trace(|| format!("the disk of {pod} is damaged"));
    }

    fn lose_status(&mut self) {
        self.beyond_survival |= self.mourns_founder();
        self.counters.add("status lost");
        self.trace(|| "the resource's status is lost".into());
        if self.rng.bool() {
            self.silence_group();
        }
        self.api.set_status(Value::Null);
        if let Some(resource) = self.api.resource.as_mut().and_then(Value::as_object_mut) {
            resource.remove("status");
        }
    }

    pub(super) fn newest_is_broken(&self) -> bool {
        let spec = self.api.set.as_ref().and_then(|set| set.spec.as_ref());
        let pod = spec.and_then(|spec| spec.template.spec.as_ref());
        let image = pod.and_then(|pod| pod.containers.first()?.image.as_deref());
        image.is_some_and(|image| image.ends_with(BROKEN))
    }

    fn scale_by_hand(&mut self) {
        let replicas = self.rng.i32(0..8);
        self.counters.add("StatefulSet scaled by hand");
        self.trace(|| format!("somebody scales the StatefulSet to {replicas}"));
        // Without any pod the controller takes the newest revision for the stable one: if that is broken, nobody
        // remembers another to come back at.
        self.beyond_survival |= replicas == 0 && self.newest_is_broken();
        self.api.scale_set_by_hand(replicas);
    }

    /// Somebody deletes the StatefulSet and leaves its pods.
    fn orphan_by_hand(&mut self) {
        let set = self.api.set.as_ref();
        let Some(uid) = set.and_then(|set| set.metadata.uid.clone()) else {
            return;
        };
        self.counters.add("StatefulSet orphaned by hand");
        self.trace(|| "somebody takes the StatefulSet away from its pods".into());
        self.api.orphan_set_by_hand(&uid);
    }

    /// Somebody asks the leader to add a member that was never made, perhaps under the name of one that was.
    fn add_by_hand(&mut self) {
        let index = self.group.configuration().map(|in_force| in_force.index);
        let (Some(leader), Some(index)) = (self.group.leader, index) else {
            return;
        };
        let name = match self.rng.i32(0..9) {
            8 => "stranger".to_owned(),
            ordinal => format!("{}-{ordinal}", *SET),
        };
        let id = self.rng.u64(..);
        if self.group.add_learner(leader, index, id, &name).is_ok() {
            self.counters.add("learner added by hand");
            self.trace(|| format!("somebody adds {name} as a learner"));
        }
    }
}
