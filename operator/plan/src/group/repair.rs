//! Repair comes before anything else: an upgrade that waited for a member that only a repair brings back would wait
//! for ever, and one that did not wait would take the next voter away.

use quorate_wire::{ChangeMember, GroupRequest, MemberState, SetAside};

use super::predicates::{may_remove, may_wipe};
use super::{Group, Lead, marks};
use crate::Action;
use crate::planted::planted;
use crate::pool::claims::{get, note};
use crate::pool::repair::{left_behind, one_by_one, restart, wipe};
use crate::pool::{Crew, Member, Reason, Step};

impl<'a> Group<'a> {
    /// Members first, then what the configuration says of who is gone.
    pub fn repair(&self) -> Step {
        let members = one_by_one(self.view.members.values(), |member| self.mend(member));
        if !members.actions.is_empty() {
            return members;
        }
        let stranger = self.remove_stranger();
        if stranger.busy.is_some() {
            return members.and(stranger);
        }
        members.and(self.remove_lost())
    }

    fn mend(&self, member: &Member<'a>) -> Step {
        let pod = self.view.pod_name(member.ordinal);
        // What is beyond the wanted number and in no configuration is about to go anyway.
        let stays = member.ordinal < self.view.wanted() || self.stays(member.ordinal);
        match member.state().filter(|_| stays) {
            Some(MemberState::Damaged) => {
                let why = member.status.and_then(|status| status.reason.as_deref());
                let why = why.unwrap_or("it does not say why");
                let (becomes, acts) = match self.set_aside(member) {
                    Some(acts) => ("what is on its disk is set aside", acts),
                    None => ("its disk is replaced, with what is on it", wipe(member)),
                };
                Step::attempt(
                    Reason::REPAIRING,
                    may_wipe(self, member),
                    format!("{pod} is damaged: {becomes} ({why})"),
                    acts,
                )
            }
            // Its data was set aside; when it starts again it draws a new identity.
            Some(MemberState::Removed) => {
                let words = format!("{pod} starts anew, with what was on its disk set aside");
                Step::attempt(Reason::REPAIRING, Ok(()), words, restart(member))
            }
            Some(MemberState::Empty) if self.is_spent(member) => {
                let words = format!(
                    "{pod} was removed before the group ever reached it: its empty disk is replaced"
                );
                let allowed = may_wipe(self, member);
                Step::attempt(Reason::REPAIRING, allowed, words, wipe(member))
            }
            _ => left_behind(self, member),
        }
    }

    /// An identity that the group asked to be removed is never added again, even if nothing was ever written under it.
    pub(super) fn is_spent(&self, member: &Member<'_>) -> bool {
        let Some(id) = member.id() else { return false };
        let removed = get(member, marks::REMOVED) == Some(id);
        removed && self.lead.is_some() && self.part(id).is_none() && !planted!(AddsRemovedIdentity)
    }

    /// An identity whose disk now holds another one is gone for good. One that is merely silent is not.
    fn remove_lost(&self) -> Step {
        let Some(lead) = &self.lead else {
            return Step::default();
        };
        let lost = self.configured().find(|(ordinal, configured)| {
            let member = self.view.member(*ordinal);
            match member.state() {
                Some(MemberState::Empty | MemberState::Running) => {
                    member.id() != Some(configured.id.as_str())
                }
                Some(_) => false,
                None => planted!(RemovesTheUnreachable) && member.pod.is_some(),
            }
        });
        let Some((ordinal, configured)) = lost else {
            return Step::default();
        };
        let pod = self.view.pod_name(ordinal);
        let words = format!(
            "{pod} has another disk, or another identity on it: the earlier one, {}, is removed",
            configured.id
        );
        let allowed = may_remove(self, &pod, &configured.id);
        let acts = self.remove(lead, ordinal, &configured.id);
        Step::attempt(Reason::REPAIRING, allowed, words, acts)
    }

    /// What another hand added to the group goes, like every other drift.
    fn remove_stranger(&self) -> Step {
        let (Some(lead), Some(stranger)) = (&self.lead, self.stranger()) else {
            return Step::default();
        };
        let (id, name, address) = (&stranger.id, &stranger.name, &stranger.address);
        let words = format!(
            "the learner {name} ({id}) at {address} is no member of this cluster: it is removed"
        );
        let allowed = may_remove(self, name, id);
        Step::attempt(
            Reason::REPAIRING,
            allowed,
            words,
            self.ask_removal(lead, id),
        )
    }

    /// Marks the claim, then asks the leader: an operator that dies in between leaves a mark that says nothing as long as
    /// the identity is in the configuration.
    pub(super) fn remove(&self, lead: &Lead<'_>, ordinal: i32, id: &str) -> Vec<Action> {
        let mark = note(&self.view, &self.view.member(ordinal), marks::REMOVED, id);
        mark.into_iter().chain(self.ask_removal(lead, id)).collect()
    }

    fn ask_removal(&self, lead: &Lead<'_>, id: &str) -> Option<Action> {
        let change = ChangeMember {
            configuration_index: lead.configuration.index,
        };
        let request = GroupRequest::Remove {
            id: id.to_owned(),
            change,
        };
        self.ask_leader(lead, request)
    }

    /// Asks the damaged member itself, which then says that it is removed. Once per disk: where the data of two identities
    /// was damaged, no third one is laid on it.
    fn set_aside(&self, member: &Member<'_>) -> Option<Vec<Action>> {
        let id = member
            .id()
            .filter(|_| member.status.is_some_and(|status| status.can_set_aside))?;
        let earlier = get(member, marks::SET_ASIDE);
        if earlier.is_some_and(|earlier| earlier != id) {
            return None;
        }
        let request = GroupRequest::SetAside(SetAside {
            incarnation: id.to_owned(),
        });
        // Only a claim remembers it.
        member.claim?;
        let ask = self.ask(member, request)?;
        let mark = note(&self.view, member, marks::SET_ASIDE, id);
        Some(mark.into_iter().chain([ask]).collect())
    }
}
