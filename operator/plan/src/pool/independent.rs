//! Members that need nobody's vote: each serves by itself, and one at a time may be away.

use std::collections::BTreeMap;

use quorate_wire::{MemberRequest, MemberState};

use super::census::{Census, Member};
use super::claims;
use super::crew::{Crew, Loss, Outage};
use super::predicates::{is_idle, may_populate};
use super::repair::{left_behind, one_by_one, restart, wipe};
use super::step::{Reason, Refusing, Step, Told, refuse};
use super::view::View;
use crate::{Action, Refusal};

/// A pool of members without a group.
pub struct Independent<'a> {
    view: View<'a>,
    drain: Option<MemberRequest>,
    provided: Result<(), Refusing>,
}

impl<'a> Independent<'a> {
    /// `drain` is what a member is asked for before it leaves, again and again, until it names nothing any more that this
    /// would interrupt. One that is asked no longer stays after all, and must take up work again by itself.
    pub fn new(view: View<'a>, drain: Option<MemberRequest>) -> Self {
        Self {
            view,
            drain,
            provided: Ok(()),
        }
    }

    /// What must hold outside of this pool before any member that serves may go.
    #[must_use]
    pub fn provided(self, provided: Result<(), Refusing>) -> Self {
        Self { provided, ..self }
    }

    /// Who is there.
    pub fn census(&self) -> &Census<'a> {
        &self.view.census
    }

    /// Claims go with the resource or stay, as is specified.
    pub fn mark(&self) -> Step {
        claims::update(&self.view, |_| BTreeMap::new())
    }

    /// Where nobody ever served and a revision is given up, the pods are made anew: below a partition they come back at the
    /// revision that the controller takes for the stable one, and that must be one that ran.
    pub fn form(&self) -> Step {
        let view = &self.view;
        let served = view.old.is_some_and(|old| old.stable.is_some());
        let mut members = view.members.values();
        let given_up = view.is_between_revisions() && !view.publishes;
        if served || !given_up || members.any(|member| self.is_up(member)) {
            return Step::default();
        }
        let words = "a revision that was never seen to run is given up: the pods are made anew";
        Step::waits(Reason::FORMING, words)
            .replicas(view.pool.name.name, 0)
            .partition(view.pool.name.name, 0)
    }

    /// Damaged members are made anew, and pods that nothing else brings back.
    pub fn repair(&self) -> Step {
        one_by_one(self.view.members.values(), |member| {
            let pod = self.view.pod_name(member.ordinal);
            let allowed = || self.may_lose(member, Loss::Wipe);
            match member.state() {
                Some(MemberState::Damaged) => {
                    let words =
                        format!("{pod} is damaged: its disk is replaced, with what is on it");
                    Step::attempt(Reason::REPAIRING, allowed(), words, wipe(member))
                }
                Some(MemberState::Removed) => {
                    let words = format!("{pod} starts anew, with what was on its disk set aside");
                    Step::attempt(Reason::REPAIRING, Ok(()), words, restart(member))
                }
                _ => left_behind(self, member),
            }
        })
    }

    /// Out at once, in one by one.
    pub fn scale(&self) -> Step {
        let view = &self.view;
        let (wanted, pool) = (view.wanted(), view.pool.name.name);
        let replicas = view.replicas().unwrap_or(wanted);
        if replicas < wanted {
            let allowed = may_populate(view, wanted);
            let step = Step::attempt(
                Reason::SCALING,
                allowed.clone(),
                format!("{wanted} pods are made"),
                None,
            );
            return match allowed {
                Ok(()) => step.replicas(pool, wanted),
                Err(_) => step,
            };
        }
        let leaving = view
            .members
            .range(replicas..)
            .find(|(_, m)| m.pod.is_some());
        if let Some((ordinal, _)) = leaving {
            let words = format!("waiting for {} to be gone", view.pod_name(*ordinal));
            return Step::waits(Reason::SCALING, words);
        }
        if replicas == wanted {
            return Step::default();
        }
        let last = view.member(replicas - 1);
        let pod = view.pod_name(last.ordinal);
        match self.may_lose(&last, Loss::Leave) {
            Ok(()) => Step::attempt(Reason::SCALING, Ok(()), format!("{pod} goes"), None)
                .replicas(pool, replicas - 1),
            Err(refused) => self
                .prepare(&last, Loss::Leave, &refused)
                .unwrap_or_else(|| Step::attempt(Reason::SCALING, Err(refused), "", None)),
        }
    }

    fn serves(&self, member: &Member<'_>) -> bool {
        member.status.is_some_and(|status| status.ready)
    }

    /// Whether it serves by its own account, or by its kubelet's where the operator does not reach it.
    fn is_up(&self, member: &Member<'_>) -> bool {
        let said = member.status.map(|status| status.ready);
        said.unwrap_or(member.is_ready())
    }

    /// What it says that its leaving would interrupt. With a drain, silence says nothing: only one whose process cannot
    /// run has certainly no work in hand.
    fn has_nothing_left(&self, member: &Member<'a>) -> Result<(), Refusing> {
        let view = &self.view;
        let needs_no_answer = self.drain.is_none() || view.pool.heedless;
        if needs_no_answer || member.status.is_some() || member.cannot_run() {
            return is_idle(self, member);
        }
        let pod = view.pod_name(member.ordinal);
        let why = member.silence.unwrap_or("it has no pod");
        let words = format!("nobody can tell whether {pod} has work in hand: {why}");
        refuse(Refusal::MemberSilent, words)
    }

    /// Those that do not serve among the wanted that were made: scaling out waits for an upgrade, so that an upgrade must
    /// not wait for it.
    fn missing(&self) -> Vec<i32> {
        let wanted = self.view.wanted();
        let made = self.view.replicas().unwrap_or(wanted);
        (0..wanted.min(made))
            .filter(|ordinal| !self.serves(&self.view.member(*ordinal)))
            .collect()
    }
}

impl<'a> Crew<'a> for Independent<'a> {
    fn view(&self) -> &View<'a> {
        &self.view
    }

    fn floor(&self) -> i32 {
        0
    }

    fn stays(&self, _: i32) -> bool {
        false
    }

    fn is_healthy(&self, member: &Member<'a>) -> bool {
        self.serves(member)
    }

    fn waits_to_join(&self, _: &Member<'a>) -> bool {
        false
    }

    fn counts(&self, member: &Member<'a>) -> bool {
        self.serves(member)
    }

    /// Who does not serve is no loss: else two that do not would wait for one another for ever. What is on its disk is
    /// something else.
    fn may_lose(&self, member: &Member<'a>, loss: Loss) -> Result<(), Refusing> {
        let is_up = self.is_up(member);
        if is_up || matches!(loss, Loss::Wipe | Loss::Leave) {
            self.provided.clone()?;
        }
        if !is_up && loss != Loss::Leave {
            return Ok(());
        }
        let missing = self.missing();
        if let Some(other) = missing.iter().find(|other| **other != member.ordinal) {
            let words = format!(
                "{} does not serve: no other may go",
                self.view.pod_name(*other)
            );
            return refuse(Refusal::MembersMissing, words);
        }
        match loss {
            Loss::Leave => self.has_nothing_left(member),
            Loss::Restart | Loss::Replace | Loss::Wipe => Ok(()),
        }
    }

    fn prepare(&self, member: &Member<'a>, loss: Loss, refused: &Refusing) -> Option<Step> {
        let request = self.drain.clone()?;
        if loss != Loss::Leave || refused.0 != Refusal::RestartBlocked {
            return None;
        }
        let pod = self.view.pod_name(member.ordinal);
        let ask = Action::ask(&pod, member, request)?;
        let words = format!("{pod} is drained before it goes");
        let step = Step::attempt(Reason::SCALING, Ok(()), words, [ask]);
        Some(Step::refused(refused.clone()).and(step))
    }

    fn price(&self, _: &Member<'a>) -> Option<String> {
        None
    }

    fn may_be_without_set(&self) -> Result<(), Refusing> {
        match self.missing().first() {
            None => Ok(()),
            Some(missing) => {
                let pod = self.view.pod_name(*missing);
                let words =
                    format!("the StatefulSet is made anew when all serve, and {pod} does not");
                refuse(Refusal::MembersMissing, words)
            }
        }
    }

    fn judges_itself(&self, _: &str) -> bool {
        false
    }

    fn outage(&self) -> Option<Outage> {
        let mut members = self.view.members.values();
        let nobody = !members.any(|member| self.serves(member));
        nobody.then(|| Outage {
            reason: Reason::FORMING,
            brief: "no member serves yet".to_owned(),
            trouble: None,
        })
    }

    fn weakness(&self) -> Option<String> {
        let missing = self.missing().into_iter();
        let names: Vec<_> = missing.map(|ordinal| self.view.pod_name(ordinal)).collect();
        (!names.is_empty()).then(|| format!("not serving: {}", names.join(", ")))
    }

    fn incomplete(&self) -> Option<Told> {
        let words = self.weakness()?;
        Some((Reason::MEMBER_UNAVAILABLE, words))
    }

    fn lacks(&self, _: &Member<'a>) -> &'static str {
        "it never gets ready"
    }

    fn whole(&self) -> String {
        format!("{} members serve", self.view.wanted())
    }

    fn is_to_scale(&self) -> bool {
        self.view.replicas() != Some(self.view.wanted())
    }
}
