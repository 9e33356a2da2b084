//! What no act of the operator may do. Faults may do worse: a member that was healthy when the operator looked, and
//! fell since by no act of its own, still counts as healthy; nobody can decide on what happens after he looked. Nor on
//! what his caches or the members themselves cannot know yet.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use quorate_model::{is_terminating, ordinal, pod_name, revision_of};
use quorate_plan::OWNER_UID;
use quorate_plan::testing::group::{Configuration, Group, Id, Seat, text};
use quorate_plan::{GROUP_MARK, INCARNATION};
use quorate_wire::{MemberState, Part};

use super::SET;
use super::api::Api;
use super::nodes::{Disk, Nodes};

/// Who knows of a group that this identity is not the founder of: a member, a claim or the status. Where all of them
/// are gone nothing can tell the operator that there was one, and nothing is left of it either.
pub(super) fn who_knows_a_group(api: &Api, nodes: &Nodes, founder: Id) -> Option<String> {
    let member = nodes.disks.values().find(|disk| {
        disk.id != founder && matches!(disk.content, MemberState::Running | MemberState::Damaged)
    });
    let claim = api.claims.iter().find(|(_, claim)| {
        let mark = |key: &str| claim.metadata.annotations.as_ref()?.get(key);
        let other = mark(INCARNATION).is_none_or(|id| *id != text(founder));
        mark(GROUP_MARK).is_some() && other
    });
    let status = api.resource.as_ref().and_then(|resource| {
        resource["status"]["group"]["incarnation"]
            .as_str()
            .filter(|id| *id != text(founder))
    });
    member
        .map(|disk| format!("member {}", text(disk.id)))
        .or_else(|| claim.map(|(name, _)| format!("claim {name}")))
        .or_else(|| status.map(|_| "the status".to_owned()))
}

/// What the operator saw when it looked last.
#[derive(Clone, Debug, Default)]
pub(super) struct Judge {
    healthy_at_read: BTreeSet<Id>,
    /// When each was healthy last, but for what the operator has disrupted since.
    last_healthy: BTreeMap<Id, i64>,
    /// Members that the operator has allowed the StatefulSet's controller to restart since it looked.
    granted: BTreeSet<Id>,
    /// Whether a document said that a voter needs repair.
    pub repair_needed_at_read: bool,
    pub wanted_at_read: i32,
    pub paused_at_read: bool,
    pub deletes_scaled_at_read: bool,
}

/// Everything that a judgement looks at.
pub(super) struct Scene<'a> {
    pub api: &'a Api,
    pub nodes: &'a Nodes,
    pub group: &'a Group,
    pub now: i64,
}

impl Scene<'_> {
    fn configuration(&self) -> Option<&Configuration> {
        self.group.configuration()
    }

    /// Voters that run, reach their peers, are caught up, and are not being stopped.
    pub fn healthy(&self) -> BTreeSet<Id> {
        let Some(configuration) = self.configuration() else {
            return BTreeSet::new();
        };
        let alive = self.nodes.heard(self.now);
        let stays = |id: Id| {
            let pod = self.nodes.pod_of(id).and_then(|pod| self.api.pods.get(pod));
            pod.is_some_and(|pod| !is_terminating(pod))
        };
        let voters = configuration.voters().map(|seat| seat.id);
        voters
            .filter(|id| alive.contains(id) && self.group.is_caught_up(*id) && stays(*id))
            .collect()
    }

    /// Members that the operator allowed the StatefulSet's controller to restart, and that it has not restarted yet.
    fn granted(&self, set: &StatefulSet) -> BTreeSet<Id> {
        let status = set.status.as_ref();
        if status.and_then(|status| status.observed_generation) != set.metadata.generation {
            return BTreeSet::new();
        }
        let update = status
            .and_then(|status| status.update_revision.as_deref())
            .unwrap_or_default();
        let outdated = |pod: &Pod| revision_of(pod) != update && !is_terminating(pod);
        self.ids(partition(set)..replicas(set), outdated)
    }

    /// The identities on the disks of such pods.
    fn ids(&self, ordinals: std::ops::Range<i32>, is: impl Fn(&Pod) -> bool) -> BTreeSet<Id> {
        let pods = ordinals.map(|ordinal| pod_name(&SET, ordinal));
        let pods = pods.filter(|name| self.api.pods.get(name).is_some_and(&is));
        pods.filter_map(|name| self.nodes.disk_of(&name))
            .map(|disk| disk.id)
            .collect()
    }

    fn has_foreign_claim(&self, ordinal: i32) -> bool {
        let claim = format!("data-{}", pod_name(&SET, ordinal));
        let labels = self
            .api
            .claims
            .get(&claim)
            .map(|claim| &claim.metadata.labels);
        let owner = labels.map(|labels| labels.iter().flatten().find(|(key, _)| *key == OWNER_UID));
        owner.is_some_and(|owner| owner.is_none_or(|(_, uid)| uid != self.api.resource_uid()))
    }

    fn seat(&self, id: Id) -> Option<&Seat> {
        self.configuration()?.seat(id)
    }
}

impl Judge {
    /// Remembers who is healthy.
    pub fn watch(&mut self, scene: &Scene<'_>) {
        for id in scene.healthy() {
            self.last_healthy.insert(id, scene.now);
        }
    }

    /// The operator looks, at caches and documents that are as old as that.
    pub fn look(&mut self, scene: &Scene<'_>, as_of: i64) {
        self.watch(scene);
        let healthy = self.last_healthy.iter().filter(|(_, at)| **at >= as_of);
        self.healthy_at_read = healthy.map(|(id, _)| *id).collect();
        self.granted.clear();
    }

    /// Whoever the StatefulSet's controller may restart by the operator's will.
    pub fn granted(&self, scene: &Scene<'_>) -> BTreeSet<Id> {
        let set = scene.api.set.as_ref();
        set.map_or_else(BTreeSet::new, |set| &scene.granted(set) | &self.granted)
    }

    /// The StatefulSet's controller has used what it was granted.
    pub fn use_grants(&mut self, scene: &Scene<'_>, granted: &BTreeSet<Id>) {
        let healthy = scene.healthy();
        for id in granted.iter().filter(|id| !healthy.contains(id)) {
            self.disrupt(*id);
        }
    }

    fn disrupt(&mut self, id: Id) {
        self.last_healthy.remove(&id);
        self.healthy_at_read.remove(&id);
    }

    /// Those that count as healthy now.
    fn base(&self, scene: &Scene<'_>) -> BTreeSet<Id> {
        &(&scene.healthy() | &self.healthy_at_read) - &self.granted(scene)
    }

    /// Whether these may stop together. Where there is no healthy quorum already, no healthy voter may be taken either.
    fn spares(&self, scene: &Scene<'_>, victims: &BTreeSet<Id>, what: &str) -> Result<(), String> {
        let Some(configuration) = scene.configuration() else {
            return Ok(());
        };
        let base = self.base(scene);
        let counts = configuration
            .voters()
            .any(|seat| base.contains(&seat.id) && victims.contains(&seat.id));
        if counts && !configuration.is_quorum(|id| base.contains(&id) && !victims.contains(&id)) {
            return Err(format!(
                "{what}: that leaves no quorum of healthy, caught-up voters ({} were healthy)",
                base.len()
            ));
        }
        Ok(())
    }

    /// Nothing is done to a paused resource.
    pub fn anything(&self, what: &str) -> Result<(), String> {
        if self.paused_at_read {
            Err(format!("{what}, though the resource is paused"))
        } else {
            Ok(())
        }
    }

    /// A pod is deleted.
    pub fn restart(&mut self, scene: &Scene<'_>, pod: &str) -> Result<(), String> {
        let Some(disk) = scene.nodes.disk_of(pod) else {
            return Ok(());
        };
        let alone = scene
            .configuration()
            .is_some_and(|configuration| configuration.voters().count() == 1);
        let victims = BTreeSet::from([disk.id]);
        if !alone {
            self.spares(scene, &victims, &format!("{pod} is restarted"))?;
        }
        self.disrupt(disk.id);
        Ok(())
    }

    /// A claim is deleted, and with it a disk.
    pub fn wipe(&mut self, scene: &Scene<'_>, claim: &str) -> Result<(), String> {
        let uid = scene
            .api
            .claims
            .get(claim)
            .and_then(|claim| claim.metadata.uid.as_ref());
        let Some(disk) = uid.and_then(|uid| scene.nodes.disks.get(uid)) else {
            return Ok(());
        };
        self.gives_up(scene, disk, &format!("{claim} is deleted"))?;
        let useless = matches!(disk.content, MemberState::Damaged | MemberState::Empty);
        if !useless && !self.deletes_scaled_at_read {
            return Err(format!(
                "{claim} is deleted, though its policy is to retain it"
            ));
        }
        self.disrupt(disk.id);
        Ok(())
    }

    /// The data of a damaged member makes way.
    pub fn set_aside(&self, scene: &Scene<'_>, pod: &str, disk: &Disk) -> Result<(), String> {
        self.gives_up(scene, disk, &format!("the data of {pod} makes way"))
    }

    /// What is on a disk is of no more use to the group.
    fn gives_up(&self, scene: &Scene<'_>, disk: &Disk, what: &str) -> Result<(), String> {
        let seat = scene
            .seat(disk.id)
            .filter(|seat| seat.part != Part::Learner);
        let (Some(_), Some(configuration)) = (seat, scene.configuration()) else {
            return Ok(());
        };
        if disk.content == MemberState::Running {
            return Err(format!("{what}, though it holds the data of a sound voter"));
        }
        let base = self.base(scene);
        if !configuration.is_quorum(|id| base.contains(&id) && id != disk.id) {
            return Err(format!("{what}, though the others are no healthy quorum"));
        }
        Ok(())
    }

    /// A StatefulSet is changed: pods may be scaled away, or restarted by its controller.
    pub fn apply(&mut self, scene: &Scene<'_>, new: &StatefulSet) -> Result<(), String> {
        let before = scene.api.set.as_ref().map_or(0, replicas);
        for ordinal in before..replicas(new) {
            if scene.has_foreign_claim(ordinal) {
                return Err(format!(
                    "{} is put on the disk of an earlier resource",
                    pod_name(&SET, ordinal)
                ));
            }
        }
        let Some(old) = &scene.api.set else {
            // Pods that were left without one come under the rules of the new one at once.
            let template = new
                .spec
                .as_ref()
                .and_then(|spec| spec.template.spec.as_ref());
            let wanted = template.map(image);
            let is_other = |pod: &Pod| pod.spec.as_ref().map(image) != wanted;
            let moved = scene.ids(partition(new)..replicas(new), is_other);
            if !moved.is_empty() {
                return Err("a StatefulSet that is made anew rolls the pods it finds".into());
            }
            return Ok(());
        };
        for id in scene.ids(replicas(new)..replicas(old), |_| true) {
            if scene.seat(id).is_some() {
                return Err(format!(
                    "the pod of {} is scaled away, though it is in the configuration",
                    text(id)
                ));
            }
        }
        let same = old.spec.as_ref().map(|spec| &spec.template)
            == new.spec.as_ref().map(|spec| &spec.template);
        let update = old
            .status
            .as_ref()
            .and_then(|status| status.update_revision.clone())
            .unwrap_or_default();
        let granted = if same {
            scene.ids(partition(new)..partition(old).min(replicas(new)), |pod| {
                revision_of(pod) != update
            })
        } else {
            scene.ids(partition(new)..replicas(new), |_| true)
        };
        let granted: BTreeSet<Id> = granted
            .into_iter()
            .filter(|id| {
                scene
                    .seat(*id)
                    .is_some_and(|seat| seat.part != Part::Learner)
            })
            .collect();
        if granted.is_empty() {
            return Ok(());
        }
        let alone = scene
            .configuration()
            .is_some_and(|configuration| configuration.voters().count() == 1);
        if !alone || granted.len() > 1 {
            self.spares(scene, &granted, "members are given another revision")?;
        }
        if self.repair_needed_at_read {
            return Err("a member is upgraded while another needs repair".into());
        }
        self.granted.extend(granted);
        self.others_are_back(scene, partition(new), replicas(new))
    }

    /// A broken revision stops at one member.
    fn others_are_back(&self, scene: &Scene<'_>, from: i32, replicas: i32) -> Result<(), String> {
        let Some(configuration) = scene.configuration() else {
            return Ok(());
        };
        let (now, base) = (scene.healthy(), &self.healthy_at_read);
        for seat in configuration.voters() {
            let above = ordinal(&SET, &seat.name)
                .is_some_and(|ordinal| ordinal > from && ordinal < replicas);
            if above && !now.contains(&seat.id) && !base.contains(&seat.id) {
                return Err(format!(
                    "an upgrade goes on, though {} is not back",
                    seat.name
                ));
            }
        }
        Ok(())
    }

    /// An identity is added.
    pub fn add(&self, scene: &Scene<'_>, id: Id) -> Result<(), String> {
        let again = scene.group.used.contains(&id) && scene.seat(id).is_none();
        if again {
            Err(format!("the identity {} is used twice", text(id)))
        } else {
            Ok(())
        }
    }

    /// An identity is removed.
    pub fn remove(&self, scene: &Scene<'_>, id: Id) -> Result<(), String> {
        let Some((configuration, seat)) =
            scene.configuration().and_then(|c| Some((c, c.seat(id)?)))
        else {
            return Ok(());
        };
        let sound = scene
            .nodes
            .disks
            .values()
            .any(|disk| disk.id == id && disk.content == MemberState::Running);
        let stays = ordinal(&SET, &seat.name).is_some_and(|ordinal| ordinal < self.wanted_at_read);
        if sound && stays {
            return Err(format!(
                "{} is removed, though its disk is sound",
                seat.name
            ));
        }
        let left = Configuration {
            index: configuration.index,
            seats: configuration
                .seats
                .iter()
                .filter(|seat| seat.id != id)
                .cloned()
                .collect(),
        };
        self.changes(
            scene,
            configuration,
            &left,
            &self.base(scene),
            &format!("{} is removed", seat.name),
        )
    }

    /// A learner becomes a voter.
    pub fn promote(&self, scene: &Scene<'_>, id: Id) -> Result<(), String> {
        let Some((configuration, seat)) =
            scene.configuration().and_then(|c| Some((c, c.seat(id)?)))
        else {
            return Ok(());
        };
        if !scene.group.is_caught_up(id) {
            return Err(format!(
                "{} is promoted, though it does not hold the log",
                seat.name
            ));
        }
        let mut base = self.base(scene);
        base.insert(id);
        let mut grown = configuration.clone();
        for seat in grown.seats.iter_mut().filter(|seat| seat.id == id) {
            seat.part = Part::Voter;
        }
        self.changes(
            scene,
            configuration,
            &grown,
            &base,
            &format!("{} is promoted", seat.name),
        )
    }

    fn changes(
        &self,
        scene: &Scene<'_>,
        from: &Configuration,
        to: &Configuration,
        base: &BTreeSet<Id>,
        what: &str,
    ) -> Result<(), String> {
        let before = self.base(scene);
        if from.is_quorum(|id| before.contains(&id)) && !to.is_quorum(|id| base.contains(&id)) {
            return Err(format!(
                "{what}: the configuration that follows has no quorum of healthy, caught-up voters"
            ));
        }
        Ok(())
    }
}

fn image(pod: &PodSpec) -> Option<&str> {
    pod.containers.first()?.image.as_deref()
}

fn partition(set: &StatefulSet) -> i32 {
    let strategy = set
        .spec
        .as_ref()
        .and_then(|spec| spec.update_strategy.as_ref());
    strategy
        .and_then(|strategy| strategy.rolling_update.as_ref()?.partition)
        .unwrap_or(0)
}

fn replicas(set: &StatefulSet) -> i32 {
    set.spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(0)
}
