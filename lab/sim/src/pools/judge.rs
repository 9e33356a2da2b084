//! What no act of the operator may do, by what it could know when it looked last.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::StatefulSet;
use quorate_model::{is_terminating, ordinal, pod_name, revision_of};
use quorate_plan::testing::group::{Configuration, Id};
use quorate_wire::Part;

use super::api::{Api, set_of};
use super::members::Members;

#[derive(Clone, Debug, Default)]
pub(super) struct Judge {
    /// Who served at the last look, with its UID.
    serving: BTreeSet<String>,
    /// Who said that it had no work in hand.
    idle: BTreeSet<String>,
    running: BTreeSet<String>,
    healthy: BTreeSet<Id>,
    led: bool,
    configuration: Option<Configuration>,
    /// How many members each StatefulSet was to have.
    pub wanted: BTreeMap<String, i32>,
    /// Pods that the operator took away, with their UIDs: they are not back yet.
    away: BTreeMap<String, String>,
    pub drains: bool,
    /// Another hand interferes: what follows is not the operator's doing.
    pub is_blind: bool,
}

impl Judge {
    pub fn look(&mut self, api: &Api, members: &Members, idle: BTreeSet<String>, now: i64) {
        // A member of a group counts by its own account.
        let is_silent = |pod: &String| {
            let process = members.processes.get(pod);
            members.all.is_grouped(pod) && process.is_some_and(|process| process.silent > now)
        };
        let is_up = |pod: &&String| {
            let going = api.pods.get(*pod).is_none_or(is_terminating);
            !going && !is_silent(pod) && members.is_ready(pod, now)
        };
        self.serving = api.pods.keys().filter(is_up).cloned().collect();
        self.running = members.all.running().cloned().collect();
        self.idle = idle;
        let up = self
            .serving
            .iter()
            .filter(|pod| members.all.is_grouped(pod));
        self.healthy = up.filter_map(|pod| members.all.id_of(pod)).collect();
        self.led = members.all.group.leader.is_some();
        self.configuration = members.all.group.configuration().cloned();
    }

    fn is_wanted(&self, pod: &str) -> bool {
        let wanted = self.wanted.get(set_of(pod)).copied().unwrap_or(0);
        ordinal(set_of(pod), pod).is_some_and(|ordinal| ordinal < wanted)
    }

    /// Who is back, or is gone and wanted no more.
    pub fn watch(&mut self, api: &Api, members: &Members, now: i64) {
        let mut away = std::mem::take(&mut self.away);
        away.retain(|name, uid| {
            let pod = api.pods.get(name);
            let there = pod.is_some_and(|pod| pod.metadata.uid.as_ref() == Some(uid));
            let back = !there && members.is_ready(name, now);
            !back && (there || self.is_wanted(name))
        });
        self.away = away;
    }

    /// A StatefulSet is about to be applied.
    ///
    /// # Errors
    /// What may not be.
    pub fn apply(&self, api: &Api, members: &Members, wanted: &StatefulSet) -> Result<(), String> {
        let set = wanted.metadata.name.clone().unwrap_or_default();
        let Some(living) = api.sets.get(&set).filter(|_| !self.is_blind) else {
            return Ok(());
        };
        let grouped = members.all.is_set_of_group(&set);
        let leaving: Vec<_> = (replicas(wanted)..replicas(living))
            .map(|o| pod_name(&set, o))
            .collect();
        for pod in &leaving {
            let knows_work = self.drains && self.running.contains(pod) && !self.idle.contains(pod);
            if knows_work {
                return Err(format!(
                    "{pod} is scaled in, and nobody asked whether it has work in hand"
                ));
            }
            let seats = self.configuration.iter().flat_map(|c| &c.seats);
            let mut seats = seats.filter(|seat| seat.part != Part::Learner);
            if grouped && seats.any(|seat| seat.name == *pod) {
                return Err(format!("{pod} is scaled in while it votes"));
            }
        }
        let serve = |pods: &[String]| {
            pods.iter()
                .filter(|pod| self.serving.contains(*pod))
                .count()
        };
        if !grouped && serve(&leaving) > 1 {
            return Err(format!("{leaving:?} are scaled in at once"));
        }
        let template = |set: &StatefulSet| set.spec.as_ref().map(|spec| spec.template.clone());
        let update = living
            .status
            .as_ref()
            .and_then(|status| status.update_revision.clone());
        let published = template(living) != template(wanted);
        let is_outdated = |pod: &String| {
            let pod = api.pods.get(pod);
            pod.is_some_and(|pod| published || Some(revision_of(pod)) != update.as_deref())
        };
        let granted = (partition(wanted)..replicas(wanted)).map(|o| pod_name(&set, o));
        let granted: Vec<_> = granted.filter(is_outdated).collect();
        if serve(&granted) > 1 {
            return Err(format!("{granted:?} may be restarted at once"));
        }
        for pod in &granted {
            self.may_restart(members, pod)?;
        }
        if !grouped && serve(&leaving) + serve(&granted) > 0 && members.all.has_group() && !self.led
        {
            return Err(format!("{set} loses a member while nobody leads"));
        }
        Ok(())
    }

    /// # Errors
    /// When the group is no quorum without it.
    pub fn may_restart(&self, members: &Members, pod: &str) -> Result<(), String> {
        let (Some(in_force), Some(id)) = (&self.configuration, members.all.id_of(pod)) else {
            return Ok(());
        };
        let votes = in_force
            .seat(id)
            .is_some_and(|seat| seat.part != Part::Learner);
        let alone = in_force.voters().count() == 1;
        let counts = |other| other != id && self.healthy.contains(&other);
        if self.is_blind
            || !self.serving.contains(pod)
            || !votes
            || alone
            || in_force.is_quorum(counts)
        {
            return Ok(());
        }
        Err(format!(
            "{pod} may be restarted, and the others are no quorum"
        ))
    }

    /// A pod goes by the operator's will.
    ///
    /// # Errors
    /// When another one of its pool is away by it.
    pub fn take(&mut self, api: &Api, members: &Members, pod: &str) -> Result<(), String> {
        let Some(uid) = api.pods.get(pod).and_then(|pod| pod.metadata.uid.clone()) else {
            return Ok(());
        };
        let beyond = api.sets.get(set_of(pod)).map_or(0, replicas);
        let leaves = ordinal(set_of(pod), pod).is_none_or(|ordinal| ordinal >= beyond);
        // What is too many anyway is missed by nobody, and its leaving is one at a time.
        let missed = if leaves {
            !members.all.is_grouped(pod)
        } else {
            self.is_wanted(pod)
        };
        if !self.serving.contains(pod) || !missed || self.is_blind {
            return Ok(());
        }
        // A revision goes down the ordinals of a group; a repair further down is a matter of its quorum.
        let number = |pod: &str| ordinal(set_of(pod), pod);
        let counts = |other: &&String| {
            let above = !members.all.is_grouped(pod) || number(other) > number(pod);
            set_of(other) == set_of(pod) && *other != pod && above
        };
        let beside = self.away.keys().find(counts).cloned();
        self.away.insert(pod.to_owned(), uid);
        match beside {
            Some(other) => Err(format!("{pod} is taken away, and {other} is not back")),
            None => Ok(()),
        }
    }
}

fn replicas(set: &StatefulSet) -> i32 {
    set.spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1)
}

fn partition(set: &StatefulSet) -> i32 {
    let strategy = set
        .spec
        .as_ref()
        .and_then(|spec| spec.update_strategy.as_ref());
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    rolling.and_then(|rolling| rolling.partition).unwrap_or(0)
}
