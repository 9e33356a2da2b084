//! Members without a vote get one: an empty one becomes a learner, a learner that holds the log a voter. One at a
//! time, the lowest ordinal first.

use quorate_wire::{AddLearner, ChangeMember, MemberRequest, MemberState, Part};

use super::super::build;
use super::draft::{Draft, Phase, Reason};
use super::predicates::{may_add, may_promote};
use super::repair::{ask_leader, is_spent};
use super::view::View;

pub(super) fn join(view: &View<'_>, draft: &mut Draft) -> Phase {
    let Some(lead) = &view.lead else {
        return Phase::Clear;
    };
    let learner = view
        .configured()
        .find(|(_, member)| member.part == Part::Learner);
    if let Some((ordinal, learner)) = learner {
        // One beyond the wanted number is let go by scaling, not given a vote.
        if ordinal >= view.wanted() {
            return Phase::Clear;
        }
        let change = ChangeMember {
            configuration_index: lead.configuration.index,
        };
        let request = MemberRequest::Promote {
            id: learner.id.clone(),
            change,
        };
        let allowed = may_promote(view, &view.member(ordinal), &learner.id);
        let words = format!(
            "{} holds the log: it becomes a voter",
            view.pod_name(ordinal)
        );
        let phase = draft.attempt(
            Reason::Joining,
            allowed,
            words,
            ask_leader(view, lead, request),
        );
        // A learner that does not even answer may need the very upgrade that would wait for it.
        return if view.member(ordinal).status.is_some() {
            phase
        } else {
            Phase::Clear
        };
    }
    let empty = view
        .members
        .range(..view.wanted())
        .map(|(_, member)| member)
        .find(|member| {
            let unknown = member.id().is_some_and(|id| view.part(id).is_none());
            member.state() == Some(MemberState::Empty) && unknown && !is_spent(view, member)
        });
    let Some((member, id)) = empty.and_then(|member| Some((member, member.id()?))) else {
        return Phase::Clear;
    };
    let pod = view.pod_name(member.ordinal);
    let request = MemberRequest::AddLearner(AddLearner {
        configuration_index: lead.configuration.index,
        id: id.to_owned(),
        name: pod.clone(),
        address: build::peer_address(&view.desired.valid, &view.desired.env, &pod),
    });
    let words = format!("{pod} is empty: it becomes a learner");
    draft.attempt(
        Reason::Joining,
        may_add(view),
        words,
        ask_leader(view, lead, request),
    )
}
