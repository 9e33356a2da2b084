//! Members without a vote get one: an empty one becomes a learner, a learner that holds the log a voter. One at a
//! time, the lowest ordinal first.

use quorate_wire::{AddLearner, ChangeMember, GroupRequest, MemberState, Part};

use super::Group;
use super::predicates::{may_change, may_promote};
use crate::pool::{Reason, Step};

impl Group<'_> {
    /// Lets the next one in.
    pub fn join(&self) -> Step {
        let Some(lead) = &self.lead else {
            return Step::default();
        };
        let view = &self.view;
        let learner = self
            .configured()
            .find(|(_, member)| member.part == Part::Learner);
        if let Some((ordinal, learner)) = learner {
            // One beyond the wanted number is let go by scaling, not given a vote.
            if ordinal >= self.voters() {
                return Step::default();
            }
            let change = ChangeMember {
                configuration_index: lead.configuration.index,
            };
            let request = GroupRequest::Promote {
                id: learner.id.clone(),
                change,
            };
            let allowed = may_promote(self, &view.member(ordinal), &learner.id);
            let pod = view.pod_name(ordinal);
            let words = format!("{pod} holds the log: it becomes a voter");
            let ask = self.ask_leader(lead, request);
            let step = Step::attempt(Reason::JOINING, allowed, words, ask);
            // A learner that does not even answer may need the very upgrade that would wait for it.
            return match view.member(ordinal).status {
                Some(_) => step,
                None => step.yielding(),
            };
        }
        let empty = view
            .members
            .range(..self.voters())
            .map(|(_, member)| member)
            .find(|member| {
                let unknown = member.id().is_some_and(|id| self.part(id).is_none());
                member.state() == Some(MemberState::Empty) && unknown && !self.is_spent(member)
            });
        let Some((member, id)) = empty.and_then(|member| Some((member, member.id()?))) else {
            return Step::default();
        };
        let pod = view.pod_name(member.ordinal);
        let request = GroupRequest::AddLearner(AddLearner {
            configuration_index: lead.configuration.index,
            id: id.to_owned(),
            name: pod.clone(),
            address: view.pool.peer_address(view.env, &pod).unwrap_or_default(),
        });
        let words = format!("{pod} is empty: it becomes a learner");
        let allowed = may_change(self).map(drop);
        Step::attempt(
            Reason::JOINING,
            allowed,
            words,
            self.ask_leader(lead, request),
        )
    }
}
