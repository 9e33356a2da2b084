//! A consensus group among a pool's members: all of them vote, or the first few do.

mod bootstrap;
mod join;
mod lead;
mod marks;
mod predicates;
mod repair;
mod scale;
mod told;

use quorate_wire::{ConfiguredMember, GroupRequest, MemberState, Part};

pub use lead::Lead;
pub use marks::{FOUNDER, GROUP_MARK, INCARNATION, LEFT, REMOVED, SET_ASIDE};

use crate::pool::{
    Crew, Loss, Member, Outage, Reason, Refusing, Step, Told, View, is_idle, refuse,
};
use crate::{Action, Refusal};

/// Who of a pool's members vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voters {
    /// Everyone.
    All,
    /// Those with the lowest ordinals, so many.
    First(i32),
}

/// A group, as a kind specifies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupSpec {
    /// Its number inside the cluster.
    pub number: u64,
    /// Who votes.
    pub voters: Voters,
}

/// A group and the pool whose members form it, as they were observed.
pub struct Group<'a> {
    view: View<'a>,
    spec: GroupSpec,
    /// What status says of its formation.
    record: Option<quorate_api::Formation>,
    /// Confirmed by a quorum of its own configuration, so that it is not one that was deposed.
    lead: Option<Lead<'a>>,
}

impl<'a> Group<'a> {
    /// `record` is what the status says of the group.
    pub fn of(view: View<'a>, spec: GroupSpec, record: Option<quorate_api::Formation>) -> Self {
        let mut lead = Lead::of(&view.census, spec.number);
        if let Some(lead) = &mut lead {
            // Those whose restart is granted and not carried out yet: the StatefulSet's controller may take them away at any
            // time.
            let granted = view.members.range(view.partition()..);
            let outdated = granted
                .map(|(_, member)| member)
                .filter(|member| member.pod.is_some())
                .filter(|member| member.revision() != view.update_revision());
            lead.going = outdated.filter_map(Member::id).collect();
        }
        Group {
            view,
            spec,
            record,
            lead,
        }
    }

    /// The same after a round: what it says of the group's formation stands.
    #[must_use]
    pub fn after(mut self, step: &Step) -> Self {
        self.record = step.group.clone().or(self.record);
        self
    }

    /// What is to be written to status.
    pub fn record(&self) -> Option<&quorate_api::Formation> {
        self.record.as_ref()
    }

    /// Who leads.
    pub fn lead(&self) -> Option<&Lead<'a>> {
        self.lead.as_ref()
    }

    fn is_formed(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.formed)
    }

    /// How many members are to vote.
    fn voters(&self) -> i32 {
        match self.spec.voters {
            Voters::All => self.view.wanted(),
            Voters::First(voters) => voters.min(self.view.wanted()),
        }
    }

    /// Everyone in the configuration, with the ordinal in the name.
    fn configured(&self) -> impl Iterator<Item = (i32, &'a ConfiguredMember)> {
        let configuration = self.lead.as_ref().map(|lead| lead.configuration);
        configuration
            .into_iter()
            .flat_map(|configuration| &configuration.members)
            .filter_map(|member| Some((self.view.ordinal(&member.name)?, member)))
    }

    /// The part of an identity in the configuration.
    fn part(&self, id: &str) -> Option<Part> {
        self.configured()
            .find(|(_, member)| member.id == id)
            .map(|(_, member)| member.part)
    }

    /// A learner that is no member of this cluster: its name is none of ours, it is said to be elsewhere, or nothing
    /// is left of its pod and never will be. It was added by another hand, and would be waited for for ever.
    fn stranger(&self) -> Option<&'a ConfiguredMember> {
        let mut members = self
            .lead
            .iter()
            .flat_map(|lead| &lead.configuration.members);
        members.find(|member| member.part == Part::Learner && self.is_strange(member))
    }

    fn is_strange(&self, learner: &ConfiguredMember) -> bool {
        let view = &self.view;
        let Some(ordinal) = view.ordinal(&learner.name) else {
            return true;
        };
        let member = view.member(ordinal);
        let beyond = ordinal >= self.voters().max(view.replicas().unwrap_or(0));
        let address = view.pool.peer_address(view.env, &learner.name);
        beyond && member.pod.is_none() && member.claim.is_none()
            || address.as_ref() != Some(&learner.address)
    }

    /// The healthy voter with the lowest ordinal, other than this one.
    fn successor(&self, lead: &Lead<'a>, ordinal: i32) -> Option<&'a str> {
        let others = self.configured().filter(|(other, _)| *other != ordinal);
        let healthy = others.filter(|(_, member)| lead.counts(&member.id));
        healthy
            .min_by_key(|(other, _)| *other)
            .map(|(_, member)| member.id.as_str())
    }

    fn ask_leader(&self, lead: &Lead<'_>, request: GroupRequest) -> Option<Action> {
        self.ask(&self.view.member(lead.ordinal), request)
    }

    fn ask(&self, member: &Member<'_>, request: GroupRequest) -> Option<Action> {
        let pod = self.view.pod_name(member.ordinal);
        Action::ask(&pod, member, request.into())
    }

    /// Asks the leader to give way, to the healthy voter with the lowest ordinal.
    fn hand_over(&self, ordinal: i32, reason: Reason, refused: &Refusing) -> Option<Step> {
        let lead = self.lead.as_ref()?;
        let to = self.successor(lead, ordinal).map(str::to_owned);
        if to.is_none() && reason == Reason::UPGRADING {
            // It is back in a moment: only for good it goes to whoever takes it.
            return None;
        }
        let request = GroupRequest::TransferLeader(quorate_wire::TransferLeader { to });
        let words = format!("{} hands leadership over", self.view.pod_name(ordinal));
        let ask = self.ask_leader(lead, request);
        Some(Step::refused(refused.clone()).and(Step::attempt(reason, Ok(()), words, ask)))
    }

    fn is_healthy_voter(&self, id: &str) -> bool {
        let lead = self.lead.as_ref();
        lead.is_some_and(|lead| lead.healthy.contains(id))
    }

    /// A member that has no vote in this group, and is to have none.
    fn is_outside(&self, member: &Member<'_>) -> bool {
        member.ordinal >= self.voters() && member.id().is_none_or(|id| self.part(id).is_none())
    }
}

impl<'a> Crew<'a> for Group<'a> {
    fn view(&self) -> &View<'a> {
        &self.view
    }

    /// Without a leader the marked claims speak for the group.
    fn floor(&self) -> i32 {
        let highest = match self.lead {
            Some(_) => self
                .configured()
                .filter(|(_, member)| member.part != Part::Learner || !self.is_strange(member))
                .map(|(ordinal, _)| ordinal)
                .max(),
            None => self
                .view
                .members
                .values()
                .filter(|member| marks::is_counted(member))
                .map(|member| member.ordinal)
                .max(),
        };
        highest.map_or(0, |ordinal| ordinal + 1)
    }

    fn stays(&self, ordinal: i32) -> bool {
        self.configured()
            .any(|(configured, _)| configured == ordinal)
    }

    /// A voter that counts, or a learner that runs; outside the group one that serves.
    fn is_healthy(&self, member: &Member<'a>) -> bool {
        let Some(id) = member.id() else { return false };
        match self.part(id) {
            Some(Part::Learner) => member.state() == Some(MemberState::Running),
            Some(_) => self.is_healthy_voter(id),
            None => self.is_outside(member) && member.status.is_some_and(|status| status.ready),
        }
    }

    fn waits_to_join(&self, member: &Member<'a>) -> bool {
        !self.is_outside(member) && member.state() == Some(MemberState::Empty)
    }

    fn counts(&self, member: &Member<'a>) -> bool {
        let part = member.id().and_then(|id| self.part(id));
        let is_in_place = part.is_some_and(|part| part != Part::Learner);
        (is_in_place || self.is_outside(member)) && self.is_healthy(member)
    }

    fn may_lose(&self, member: &Member<'a>, loss: Loss) -> Result<(), Refusing> {
        match loss {
            Loss::Restart | Loss::Replace => predicates::may_restart(self, member),
            Loss::Wipe => predicates::may_wipe(self, member),
            Loss::Leave => {
                predicates::may_change(self)?;
                is_idle(self, member)
            }
        }
    }

    fn prepare(&self, member: &Member<'a>, _: Loss, refused: &Refusing) -> Option<Step> {
        let leads = refused.0 == Refusal::LeaderInPlace;
        let step = || self.hand_over(member.ordinal, Reason::UPGRADING, refused);
        leads.then(step).flatten()
    }

    fn price(&self, _: &Member<'a>) -> Option<String> {
        let alone = self.lead.as_ref().is_some_and(Lead::is_alone);
        alone.then(|| "a group of one stops serving meanwhile".to_owned())
    }

    fn may_be_without_set(&self) -> Result<(), Refusing> {
        let lead = predicates::may_change(self)?;
        match lead
            .voters()
            .find(|voter| !self.is_healthy_voter(&voter.id))
        {
            None => Ok(()),
            Some(voter) => refuse(
                Refusal::QuorumAtRisk,
                format!(
                    "the StatefulSet is made anew when all members are healthy, and {} is not",
                    voter.name
                ),
            ),
        }
    }

    /// Leadership is asked about of the leader that a quorum confirms. Where nobody leads, only a restart may help.
    fn judges_itself(&self, blocker: &str) -> bool {
        blocker == "Leader" || self.lead.is_none()
    }

    fn outage(&self) -> Option<Outage> {
        told::outage(self)
    }

    fn weakness(&self) -> Option<String> {
        told::weakness(self)
    }

    fn incomplete(&self) -> Option<Told> {
        told::incomplete(self)
    }

    fn lacks(&self, member: &Member<'a>) -> &'static str {
        told::lacks(self, member)
    }

    fn whole(&self) -> String {
        format!("{} members vote", self.voters())
    }

    fn is_to_scale(&self) -> bool {
        scale::is_needed(self)
    }
}

/// The role of a member in a group of this number, in one word, or why it has none.
pub fn role(member: &Member<'_>, number: u64) -> String {
    match (member.state(), member.group(number)) {
        (Some(MemberState::Running), Some(group)) => format!("{:?}", group.role),
        (Some(state), _) => format!("{state:?}"),
        (None, _) => "Unreachable".to_owned(),
    }
}
