//! Forming the group: once. The founder is written to status, then to its claim, then status says that it is asked, and
//! only then it is, so that whoever decides next, with whatever is left of the two, asks nobody else.

use quorate_api::Group;
use quorate_wire::{Bootstrap, MemberRequest, MemberState};

use super::census::{GROUP, Member};
use super::draft::{Draft, Phase, Reason};
use super::marks;
use super::predicates::{Refusing, may_bootstrap, may_populate};
use super::view::View;
use super::{repair, rollout};
use crate::planted::planted;
use crate::{Action, Refusal};

/// The member that forms the group.
pub(super) struct Founder {
    id: String,
    /// It may have been asked: nobody else may be.
    asked: bool,
}

impl Founder {
    /// As status has it; without one, as a claim does, which does not tell whether it was asked.
    fn of(view: &View<'_>, draft: &Draft) -> Option<Self> {
        match &draft.group {
            Some(group) => Some(Founder {
                id: group.incarnation.clone(),
                asked: group.asked,
            }),
            None => marked_founder(view).map(|id| Founder { id, asked: true }),
        }
    }

    /// Whether the marks on a member's claim tell of its choice, or of another that was never asked, and not of a
    /// group that was formed.
    pub fn marked(&self, member: &Member<'_>) -> bool {
        let chosen = marks::get(member, marks::FOUNDER).is_some();
        marks::get(member, marks::INCARNATION) == Some(self.id.as_str()) || chosen && !self.asked
    }

    fn group(&self) -> Group {
        Group {
            id: GROUP as i64,
            incarnation: self.id.clone(),
            asked: self.asked,
            formed: false,
        }
    }
}

pub(super) fn form(view: &View<'_>, draft: &mut Draft) -> Phase {
    if draft.group.as_ref().is_some_and(|group| group.formed) {
        return Phase::Clear;
    }
    let founder = Founder::of(view, draft);
    if let Some(member) = view.members.values().find(|member| is_in_group(member)) {
        let id = founder.map(|founder| founder.id);
        let id = id.or_else(|| member.id().map(str::to_owned));
        let founder = Founder {
            id: id.unwrap_or_default(),
            asked: true,
        };
        draft.group = Some(Group {
            formed: true,
            ..founder.group()
        });
        return Phase::Clear;
    }
    if let Err(refused) = may_populate(view, view.wanted()) {
        return draft.attempt(Reason::ForeignClaim, Err(refused), String::new(), None);
    }
    let prepared = if founder.is_some() || is_known_to_others(view, None) {
        keep_pods(view, draft, founder.as_ref())
    } else {
        make_pods(view, draft)
    };
    if prepared == Phase::Busy {
        return prepared;
    }
    match founder {
        Some(founder) if !planted!(BootstrapWithoutIntent) => found(view, draft, founder),
        founder => choose(view, draft, founder.as_ref()),
    }
}

/// Nobody was asked yet: as many pods as are wanted, all at the newest revision.
///
/// Below a partition pods come back at the controller's current revision, which is the very first one until an update
/// was complete. It must be one that ran, or an eviction could bring back one that never did; a set without pods makes
/// the newest current.
fn make_pods(view: &View<'_>, draft: &mut Draft) -> Phase {
    draft.pool.replicas = view.wanted();
    draft.pool.partition = 0;
    if view.current_revision() != view.update_revision() {
        draft.pool.replicas = 0;
        let words = "a revision that was never seen to run is given up: the pods are made anew";
        return draft.busy(Reason::Forming, words.into());
    }
    // A revert makes the old revision the newest again; the controller leaves a pod alone that is not ready.
    let is_outdated =
        |member: &Member<'_>| member.pod.is_some() && !rollout::is_at_update(view, member);
    let words = "a pod of a revision that is given up is replaced";
    replace_one(view, draft, is_outdated, words)
}

/// The founder may have been asked already, and the group may have grown: no pod is taken away that runs.
fn keep_pods(view: &View<'_>, draft: &mut Draft, founder: Option<&Founder>) -> Phase {
    if !is_known_to_others(view, founder) {
        draft.pool.replicas = draft.pool.replicas.max(view.wanted());
    }
    // Without a partition nothing is left behind, but the StatefulSet's controller may wait for it all the same.
    let is_given_up = |member: &Member<'_>| {
        rollout::is_left_behind(view, member)
            || (view.partition() == 0 && !rollout::is_at_update(view, member))
    };
    let is_startless = |member: &Member<'_>| is_given_up(member) && member.does_not_start();
    let words = "a pod that does not start, of a revision that is given up, is replaced";
    replace_one(view, draft, is_startless, words)
}

fn replace_one(
    view: &View<'_>,
    draft: &mut Draft,
    is_meant: impl Fn(&Member<'_>) -> bool,
    words: &str,
) -> Phase {
    let meant = view.members.values().find(|member| is_meant(member));
    let Some(restart) = meant.and_then(repair::restart) else {
        return Phase::Clear;
    };
    draft.actions.push(restart);
    draft.busy(Reason::Forming, words.into())
}

/// Whether any claim but the founder's knows a group: then it was formed once, and its members are silent now.
fn is_known_to_others(view: &View<'_>, founder: Option<&Founder>) -> bool {
    view.members.values().any(|member| {
        marks::is_counted(member) && founder.is_none_or(|founder| !founder.marked(member))
    })
}

/// One that is there, written to status with nothing done yet: the one whose claim says so already, as that mark must
/// not outlive the choice, or that with the lowest ordinal. Takes the place of a founder that was never asked.
fn choose(view: &View<'_>, draft: &mut Draft, before: Option<&Founder>) -> Phase {
    if let Err(refused) = may_bootstrap(view, before.filter(|founder| !founder.asked)) {
        return draft.attempt(Reason::Forming, Err(refused), String::new(), None);
    }
    let empty = || {
        let members = view.members.values();
        members.filter(|member| member.state() == Some(MemberState::Empty))
    };
    let marked = empty().find(|member| marks::get(member, marks::FOUNDER).is_some());
    let first = marked.or_else(|| empty().next());
    let Some((member, id)) = first.and_then(|member| Some((member, member.id()?))) else {
        return Phase::Busy;
    };
    let founder = Founder {
        id: id.to_owned(),
        asked: false,
    };
    draft.group = Some(founder.group());
    let words = format!("{} will found the group", view.pod_name(member.ordinal));
    if planted!(BootstrapWithoutIntent) {
        draft.actions.extend(ask(view, member, id));
    }
    draft.busy(Reason::Forming, words)
}

/// Marks the founder's claim; says in status that the founder is asked; asks it when status and claim say the same.
fn found(view: &View<'_>, draft: &mut Draft, mut founder: Founder) -> Phase {
    let in_status = draft.group.is_some();
    let allowed = may_bootstrap(view, Some(&founder));
    let Some(member) = view
        .members
        .values()
        .find(|member| member.id() == Some(founder.id.as_str()))
        .filter(|_| in_status)
    else {
        if !founder.asked {
            return choose(view, draft, Some(&founder));
        }
        draft.group = Some(founder.group());
        let allowed = allowed.and_then(|()| if in_status { lost(&founder.id) } else { Ok(()) });
        return draft.attempt(
            Reason::Forming,
            allowed,
            "the founder is known again from its claim".into(),
            None,
        );
    };
    let annotations = [
        (marks::GROUP_MARK.to_owned(), GROUP.to_string()),
        (marks::INCARNATION.to_owned(), founder.id.clone()),
        (marks::FOUNDER.to_owned(), "true".to_owned()),
    ];
    let Some(claim) = member.claim else {
        return draft.busy(Reason::Forming, "waiting to see the founder's claim".into());
    };
    let pod = view.pod_name(member.ordinal);
    if let Some(mark) = marks::mark(view, claim, annotations.into()) {
        let words = format!("{pod} is chosen to found the group");
        return draft.attempt(Reason::Forming, allowed, words, [mark]);
    }
    let words = format!("{pod} founds the group");
    if founder.asked || planted!(AsksBeforeSayingSo) {
        let ask = ask(view, member, &founder.id);
        return draft.attempt(Reason::Forming, allowed, words, ask);
    }
    founder.asked = allowed.is_ok();
    draft.group = Some(founder.group());
    draft.attempt(Reason::Forming, allowed, words, None)
}

fn ask(view: &View<'_>, member: &Member<'_>, founder: &str) -> Option<Action> {
    let request = MemberRequest::Bootstrap(Bootstrap {
        group: GROUP,
        incarnation: founder.to_owned(),
    });
    repair::ask(view, member, request)
}

/// It may have formed the group before its disk went, and taken writes: nobody but a person may decide that they do
/// not matter.
fn lost(founder: &str) -> Result<(), Refusing> {
    let words = format!(
        "the disk of the founder {founder} is gone, and it may have formed the group: delete the resource and create it anew"
    );
    Err((Refusal::GroupKnown, words))
}

fn marked_founder(view: &View<'_>) -> Option<String> {
    let founder = view
        .members
        .values()
        .find(|member| marks::get(member, marks::FOUNDER).is_some())?;
    marks::get(founder, marks::INCARNATION).map(str::to_owned)
}

fn is_in_group(member: &Member<'_>) -> bool {
    member.state() == Some(MemberState::Running) && member.group().is_some()
}
