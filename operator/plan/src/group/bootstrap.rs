//! Forming the group: once. The founder is written to status, then to its claim, then status says that it is asked, and
//! only then it is, so that whoever decides next, with whatever is left of the two, asks nobody else.

use quorate_api::Formation;
use quorate_wire::{Bootstrap, GroupRequest, MemberState};

use super::predicates::may_bootstrap;
use super::{Group, marks};
use crate::planted::planted;
use crate::pool::claims::{get, mark};
use crate::pool::repair::restart;
use crate::pool::rollout::{is_left_behind, take_back};
use crate::pool::{Crew, Member, Reason, Refusing, Step, may_populate, refuse};
use crate::{Action, Refusal};

/// The member that forms the group.
pub(super) struct Founder {
    id: String,
    /// It may have been asked: nobody else may be.
    asked: bool,
}

impl Founder {
    /// As status has it; without one, as a claim does, which does not tell whether it was asked.
    fn of(group: &Group<'_>) -> Option<Self> {
        match &group.record {
            Some(record) => Some(Founder {
                id: record.incarnation.clone(),
                asked: record.asked,
            }),
            None => marked_founder(group).map(|id| Founder { id, asked: true }),
        }
    }

    /// Whether the marks on a member's claim tell of its choice, or of another that was never asked, and not of a
    /// group that was formed.
    pub fn marked(&self, member: &Member<'_>) -> bool {
        let chosen = get(member, marks::FOUNDER).is_some();
        marks::incarnation(member) == Some(self.id.as_str()) || chosen && !self.asked
    }

    /// The step that writes it to status.
    fn written(&self, group: &Group<'_>, formed: bool) -> Step {
        Step {
            group: Some(Formation {
                id: i64::try_from(group.spec.number).unwrap_or(i64::MAX),
                incarnation: self.id.clone(),
                asked: self.asked,
                formed,
            }),
            ..Step::default()
        }
    }
}

impl<'a> Group<'a> {
    /// Forms the group, unless it was formed.
    pub fn form(&self) -> Step {
        if self.is_formed() {
            return Step::default();
        }
        let view = &self.view;
        let founder = Founder::of(self);
        if let Some(member) = view
            .members
            .values()
            .find(|member| self.is_in_group(member))
        {
            let id = founder.map(|founder| founder.id);
            let id = id.or_else(|| member.id().map(str::to_owned));
            let founder = Founder {
                id: id.unwrap_or_default(),
                asked: true,
            };
            // What was published while it was formed reached every pod; from now on they may be lost one by one.
            return founder.written(self, true).and(take_back(view));
        }
        if let Err(refused) = may_populate(view, view.wanted()) {
            return Step::attempt(Reason::FOREIGN_CLAIM, Err(refused), "", None);
        }
        let prepared = if founder.is_some() || self.is_known_to_others(None) {
            self.keep_pods(founder.as_ref())
        } else {
            self.make_pods()
        };
        prepared.and_unless_busy(|| match founder {
            Some(founder) if !planted!(BootstrapWithoutIntent) => self.found(founder),
            founder => self.choose(founder.as_ref()),
        })
    }

    /// Nobody was asked yet: as many pods as are wanted, all at the newest revision.
    ///
    /// Below a partition pods come back at the controller's current revision, which is the very first one until an update
    /// was complete. It must be one that ran, or an eviction could bring back one that never did; a set without pods makes
    /// the newest current.
    fn make_pods(&self) -> Step {
        let (view, pool) = (&self.view, self.view.pool.name.name);
        let step = Step::default().partition(pool, 0);
        if view.is_between_revisions() {
            let words = "a revision that was never seen to run is given up: the pods are made anew";
            return step
                .replicas(pool, 0)
                .and(Step::waits(Reason::FORMING, words));
        }
        // A revert makes the old revision the newest again; the controller leaves a pod alone that is not ready.
        let is_outdated = |member: &Member<'_>| member.pod.is_some() && !view.is_at_update(member);
        let words = "a pod of a revision that is given up is replaced";
        step.replicas(pool, view.wanted())
            .and(self.replace_one(is_outdated, words))
    }

    /// The founder may have been asked already, and the group may have grown: no pod is taken away that runs.
    fn keep_pods(&self, founder: Option<&Founder>) -> Step {
        let view = &self.view;
        let step = if self.is_known_to_others(founder) {
            Step::default()
        } else {
            let replicas = view.base(self.floor()).replicas.max(view.wanted());
            Step::default().replicas(view.pool.name.name, replicas)
        };
        // Without a partition nothing is left behind, but the StatefulSet's controller may wait for it all the same.
        let is_given_up = |member: &Member<'a>| {
            is_left_behind(self, member) || (view.partition() == 0 && !view.is_at_update(member))
        };
        let is_startless = |member: &Member<'a>| is_given_up(member) && member.does_not_start();
        let words = "a pod that does not start, of a revision that is given up, is replaced";
        step.and(self.replace_one(is_startless, words))
    }

    fn replace_one(&self, is_meant: impl Fn(&Member<'a>) -> bool, words: &str) -> Step {
        let meant = self.view.members.values().find(|member| is_meant(member));
        match meant.and_then(restart) {
            None => Step::default(),
            Some(restart) => Step::acts([restart]).and(Step::waits(Reason::FORMING, words)),
        }
    }

    /// Whether any claim but the founder's knows a group: then it was formed once, and its members are silent now.
    fn is_known_to_others(&self, founder: Option<&Founder>) -> bool {
        self.view.members.values().any(|member| {
            marks::is_counted(member) && founder.is_none_or(|founder| !founder.marked(member))
        })
    }

    /// One that is there, written to status with nothing done yet: the one whose claim says so already, as that mark must
    /// not outlive the choice, or that with the lowest ordinal. Takes the place of a founder that was never asked.
    fn choose(&self, before: Option<&Founder>) -> Step {
        if let Err(refused) = may_bootstrap(self, before.filter(|founder| !founder.asked)) {
            return Step::attempt(Reason::FORMING, Err(refused), "", None);
        }
        let empty = || {
            let members = self.view.members.values();
            let voters = members.filter(|member| member.ordinal < self.voters());
            voters.filter(|member| member.state() == Some(MemberState::Empty))
        };
        let marked = empty().find(|member| get(member, marks::FOUNDER).is_some());
        let first = marked.or_else(|| empty().next());
        let Some((member, id)) = first.and_then(|member| Some((member, member.id()?))) else {
            return Step::waits(Reason::FORMING, "waiting for a member to answer");
        };
        let founder = Founder {
            id: id.to_owned(),
            asked: false,
        };
        let asks = self
            .bootstrap(member, id)
            .filter(|_| planted!(BootstrapWithoutIntent));
        let words = format!(
            "{} will found the group",
            self.view.pod_name(member.ordinal)
        );
        founder
            .written(self, false)
            .and(Step::acts(asks))
            .and(Step::waits(Reason::FORMING, words))
    }

    /// Marks the founder's claim; says in status that the founder is asked; asks it when status and claim say the same.
    fn found(&self, mut founder: Founder) -> Step {
        let view = &self.view;
        let in_status = self.record.is_some();
        let allowed = may_bootstrap(self, Some(&founder));
        let Some(member) = view
            .members
            .values()
            .find(|member| member.id() == Some(founder.id.as_str()))
            .filter(|_| in_status)
        else {
            if !founder.asked {
                return self.choose(Some(&founder));
            }
            let allowed = allowed.and_then(|()| if in_status { lost(&founder.id) } else { Ok(()) });
            let words = "the founder is known again from its claim";
            return founder.written(self, false).and(Step::attempt(
                Reason::FORMING,
                allowed,
                words,
                None,
            ));
        };
        let annotations = [
            (marks::GROUP_MARK.to_owned(), self.spec.number.to_string()),
            (marks::INCARNATION.to_owned(), founder.id.clone()),
            (marks::FOUNDER.to_owned(), "true".to_owned()),
        ];
        let Some(claim) = member.claim else {
            return Step::waits(Reason::FORMING, "waiting to see the founder's claim");
        };
        let pod = view.pod_name(member.ordinal);
        if let Some(mark) = mark(view, claim, annotations.into()) {
            let words = format!("{pod} is chosen to found the group");
            return Step::attempt(Reason::FORMING, allowed, words, [mark]);
        }
        let words = format!("{pod} founds the group");
        if founder.asked || planted!(AsksBeforeSayingSo) {
            let ask = self.bootstrap(member, &founder.id);
            return Step::attempt(Reason::FORMING, allowed, words, ask);
        }
        founder.asked = allowed.is_ok();
        founder
            .written(self, false)
            .and(Step::attempt(Reason::FORMING, allowed, words, None))
    }

    fn bootstrap(&self, member: &Member<'_>, founder: &str) -> Option<Action> {
        let request = GroupRequest::Bootstrap(Bootstrap {
            group: self.spec.number,
            incarnation: founder.to_owned(),
        });
        self.ask(member, request)
    }

    fn is_in_group(&self, member: &Member<'_>) -> bool {
        member.state() == Some(MemberState::Running) && member.group(self.spec.number).is_some()
    }
}

/// It may have formed the group before its disk went, and taken writes: nobody but a person may decide that they do
/// not matter.
fn lost(founder: &str) -> Result<(), Refusing> {
    refuse(
        Refusal::GroupKnown,
        format!(
            "the disk of the founder {founder} is gone, and it may have formed the group: delete the resource and create it anew"
        ),
    )
}

fn marked_founder(group: &Group<'_>) -> Option<String> {
    let mut members = group.view.members.values();
    let founder = members.find(|member| get(member, marks::FOUNDER).is_some())?;
    marks::incarnation(founder).map(str::to_owned)
}
