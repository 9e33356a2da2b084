//! Scaling is a change of membership, one step at a time: out by a pod that becomes a learner and then a voter; in by
//! a member that the group lets go of before its pod is taken away.

use quorate_wire::Part;

use super::Group;
use super::predicates::{may_change, may_remove};
use crate::Refusal;
use crate::planted::planted;
use crate::pool::{Crew, Loss, Reason, Step, may_populate};

/// Whether the number of pods or of configured members is not the wanted one.
pub(super) fn is_needed(group: &Group<'_>) -> bool {
    let view = &group.view;
    let is_wanted = group.floor() == group.voters() && view.replicas() == Some(view.wanted());
    group.lead.is_some() && !is_wanted
}

impl Group<'_> {
    /// Two voters can spare none: no restart would ever be allowed before they are one, or three.
    pub fn scale_before_upgrading(&self) -> Step {
        let lead = self.lead.as_ref();
        let cannot_spare = lead.is_some_and(|lead| lead.voters().count() == 2);
        if cannot_spare && !self.view.publishes {
            self.scale()
        } else {
            Step::default()
        }
    }

    /// The next step towards the wanted number.
    pub fn scale(&self) -> Step {
        let Some(lead) = &self.lead else {
            return Step::default();
        };
        let (view, pool) = (&self.view, self.view.pool.name.name);
        let (members, voters, wanted) = (self.floor(), self.voters(), view.wanted());
        if members > voters {
            // A learner first: nothing joins while it is there, and the last voter may have nobody to hand over to.
            let learners = self
                .configured()
                .filter(|(ordinal, member)| *ordinal >= voters && member.part == Part::Learner);
            let learner = learners.map(|(ordinal, _)| ordinal).max();
            return self.scale_in(learner.unwrap_or(members - 1));
        }
        let replicas = view.replicas().unwrap_or(wanted);
        if replicas > wanted {
            return self.let_go(replicas);
        }
        let all_vote = lead.voters().count() == usize::try_from(replicas.min(voters)).unwrap_or(0);
        if replicas < wanted && all_vote {
            let allowed = may_change(self).and_then(|_| may_populate(view, replicas + 1));
            let is_allowed = allowed.is_ok();
            let words = format!("{} is made", view.pod_name(replicas));
            let step = Step::attempt(Reason::SCALING, allowed, words, None);
            return if is_allowed {
                step.replicas(pool, replicas + 1)
            } else {
                step
            };
        }
        if members < voters {
            return Step::waits(Reason::SCALING, "waiting for the new member to answer");
        }
        Step::default()
    }

    /// Pods that are in no configuration can go as soon as it is certain that they are not, and they hold nothing else.
    fn let_go(&self, replicas: i32) -> Step {
        let (view, pool, wanted) = (&self.view, self.view.pool.name.name, self.view.wanted());
        let mut beyond = (wanted..replicas).map(|ordinal| view.member(ordinal));
        if let Some(refused) = beyond.find_map(|member| self.may_lose(&member, Loss::Leave).err()) {
            return Step::attempt(Reason::SCALING, Err(refused), "", None);
        }
        // Once its pod is gone, only its claim's marks tell that nobody counts on it any more.
        if !self.mark().actions.is_empty() {
            return Step::waits(Reason::SCALING, "waiting to see the claims marked");
        }
        let partition = view.base(self.floor()).partition.min(wanted);
        Step::waits(Reason::SCALING, format!("{wanted} pods are enough"))
            .replicas(pool, wanted)
            .partition(pool, partition)
    }

    /// Leadership off it, then the group lets go of it; its pod goes in a later round, when that is committed.
    fn scale_in(&self, ordinal: i32) -> Step {
        if planted!(ScaleInShrinksFirst) {
            let pool = self.view.pool.name.name;
            return Step::waits(Reason::SCALING, "its pod goes").replicas(pool, ordinal);
        }
        let Some(lead) = &self.lead else {
            return Step::default();
        };
        let Some((_, last)) = self
            .configured()
            .find(|(configured, _)| *configured == ordinal)
        else {
            return Step::default();
        };
        let pod = self.view.pod_name(ordinal);
        let allowed = may_remove(self, &pod, &last.id);
        if let Err(refused @ (Refusal::LeaderInPlace, _)) = &allowed
            && let Some(step) = self.hand_over(ordinal, Reason::SCALING, refused)
        {
            return step;
        }
        let acts = self.remove(lead, ordinal, &last.id);
        let words = format!("{pod} leaves the group");
        Step::attempt(Reason::SCALING, allowed, words, acts)
    }
}
