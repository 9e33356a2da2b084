//! Forming the group: once. The founder is written to status, then to its claim, and only then asked, so that
//! whoever decides next, with whatever is left of the two, asks nobody else.

use quorate_api::Group;
use quorate_wire::{Bootstrap, MemberState};

use super::draft::{Draft, Phase, Reason};
use super::marks;
use super::predicates::{Refusing, may_bootstrap, may_populate};
use super::view::{GROUP, Member, View};
use super::{repair, rollout};
use crate::planted::planted;
use crate::{Action, MemberRequest, Refusal};

pub(super) fn form(view: &View<'_>, draft: &mut Draft) -> Phase {
    if draft.group.as_ref().is_some_and(|group| group.formed) {
        return Phase::Clear;
    }
    if let Some(member) = view.members.values().find(|member| is_in_group(member)) {
        let founder = draft
            .group
            .take()
            .map(|group| group.incarnation)
            .or_else(|| marked_founder(view));
        let incarnation = founder
            .or_else(|| member.id().map(str::to_owned))
            .unwrap_or_default();
        draft.group = Some(Group {
            id: GROUP as i64,
            incarnation,
            formed: true,
        });
        return Phase::Clear;
    }
    if let Err(refused) = may_populate(view, view.wanted()) {
        return draft.attempt(Reason::ForeignClaim, Err(refused), String::new(), None);
    }
    let founder = draft
        .group
        .as_ref()
        .map(|group| group.incarnation.clone())
        .or_else(|| marked_founder(view));
    let prepared = if founder.is_some() || is_known_to_others(view, None) {
        keep_pods(view, draft, founder.as_deref())
    } else {
        make_pods(view, draft)
    };
    if prepared == Phase::Busy {
        return prepared;
    }
    match founder {
        Some(founder) if !planted!(BootstrapWithoutIntent) => found(view, draft, &founder),
        _ => choose(view, draft),
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
        |member: &&Member<'_>| member.pod.is_some() && !rollout::is_at_update(view, member);
    let Some(restart) = view
        .members
        .values()
        .find(is_outdated)
        .and_then(repair::restart)
    else {
        return Phase::Clear;
    };
    draft.actions.push(restart);
    draft.busy(
        Reason::Forming,
        "a pod of a revision that is given up is replaced".into(),
    )
}

/// The founder may have been asked already, and the group may have grown: no pod is taken away that runs.
fn keep_pods(view: &View<'_>, draft: &mut Draft, founder: Option<&str>) -> Phase {
    if !is_known_to_others(view, founder) {
        draft.pool.replicas = draft.pool.replicas.max(view.wanted());
    }
    // Without a partition nothing is left behind, but the StatefulSet's controller may wait for it all the same.
    let is_given_up = |member: &Member<'_>| {
        rollout::is_left_behind(view, member)
            || (view.partition() == 0 && !rollout::is_at_update(view, member))
    };
    let startless = |member: &&Member<'_>| is_given_up(member) && member.does_not_start();
    let Some(restart) = view
        .members
        .values()
        .find(startless)
        .and_then(repair::restart)
    else {
        return Phase::Clear;
    };
    draft.actions.push(restart);
    let words = "a pod that does not start, of a revision that is given up, is replaced";
    draft.busy(Reason::Forming, words.into())
}

/// Whether any claim but the founder's knows a group: then it was formed once, and its members are silent now.
fn is_known_to_others(view: &View<'_>, founder: Option<&str>) -> bool {
    view.members.values().any(|member| {
        marks::is_counted(member) && marks::get(member, marks::INCARNATION) != founder
    })
}

/// The one with the lowest ordinal, written to status with nothing done yet.
fn choose(view: &View<'_>, draft: &mut Draft) -> Phase {
    if let Err(refused) = may_bootstrap(view, None) {
        return draft.attempt(Reason::Forming, Err(refused), String::new(), None);
    }
    let first = view
        .members
        .values()
        .find(|member| member.state() == Some(MemberState::Empty));
    let Some((member, id)) = first.and_then(|member| Some((member, member.id()?))) else {
        return Phase::Busy;
    };
    draft.group = Some(Group {
        id: GROUP as i64,
        incarnation: id.to_owned(),
        formed: false,
    });
    let words = format!("{} will found the group", view.pod_name(member.ordinal));
    if planted!(BootstrapWithoutIntent) {
        draft.actions.push(ask(view, member, id));
    }
    draft.busy(Reason::Forming, words)
}

/// Marks the founder's claim; asks the founder when status and claim say the same.
fn found(view: &View<'_>, draft: &mut Draft, founder: &str) -> Phase {
    let in_status = draft.group.is_some();
    draft.group = Some(Group {
        id: GROUP as i64,
        incarnation: founder.to_owned(),
        formed: false,
    });
    let allowed = may_bootstrap(view, Some(founder));
    let Some(member) = view
        .members
        .values()
        .find(|member| member.id() == Some(founder))
        .filter(|_| in_status)
    else {
        let allowed = allowed.and_then(|()| if in_status { lost(founder) } else { Ok(()) });
        return draft.attempt(
            Reason::Forming,
            allowed,
            "the founder is known again from its claim".into(),
            None,
        );
    };
    let annotations = [
        (marks::GROUP_MARK.to_owned(), GROUP.to_string()),
        (marks::INCARNATION.to_owned(), founder.to_owned()),
        (marks::FOUNDER.to_owned(), "true".to_owned()),
    ];
    let Some(claim) = member.claim else {
        return draft.busy(Reason::Forming, "waiting to see the founder's claim".into());
    };
    let pod = view.pod_name(member.ordinal);
    match marks::mark(view, claim, annotations.into()) {
        Some(mark) => draft.attempt(
            Reason::Forming,
            allowed,
            format!("{pod} is chosen to found the group"),
            [mark],
        ),
        None => draft.attempt(
            Reason::Forming,
            allowed,
            format!("{pod} founds the group"),
            [ask(view, member, founder)],
        ),
    }
}

fn ask(view: &View<'_>, member: &Member<'_>, founder: &str) -> Action {
    let request = MemberRequest::Bootstrap(Bootstrap {
        group: GROUP,
        incarnation: founder.to_owned(),
    });
    Action::Ask {
        pod: view.pod_name(member.ordinal),
        pod_uid: member
            .pod
            .and_then(|pod| pod.metadata.uid.clone())
            .unwrap_or_default(),
        request,
    }
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
