//! What comes before every phase: whether anything may be decided at all.

use super::crew::Crew;
use super::predicates::may_work;
use super::rollout;
use super::step::{Reason, Step};
use super::volumes;
use crate::Refusal;
use crate::planted::planted;

/// What is decided in a round, and whether the objects are applied in it.
#[derive(Clone, Debug)]
pub struct Round {
    /// What is wanted.
    pub step: Step,
    /// Whether the stage is applied: else every object stays as it is.
    pub applies: bool,
}

/// Asks the phases, unless something keeps everything from being changed.
pub fn round(crews: &[&dyn Crew<'_>], deleting: bool, phases: impl FnOnce() -> Step) -> Round {
    let views = || crews.iter().map(|crew| crew.view());
    let only = |step, applies| Round { step, applies };
    if deleting {
        // Owner references take everything that shall go; there is nothing to keep a quorum for.
        let step = Step::waits(Reason::DELETING, "the resource is being deleted");
        return only(step, false);
    }
    if views().any(volumes::set_is_going) {
        let step = Step::waits(Reason::WAITING, "its StatefulSet is being deleted");
        return only(step, false);
    }
    if views().any(volumes::is_without_set) {
        // Though the resource was paused meanwhile.
        let step = Step::waits(Reason::GROWING, "a StatefulSet is made around its pods");
        return only(step, true);
    }
    if let Some(refused) = views().find_map(|view| may_work(view).err()) {
        let reason = match refused.0 {
            Refusal::Paused => Reason::PAUSED,
            _ => Reason::WAITING,
        };
        return only(Step::attempt(reason, Err(refused), "", None), false);
    }
    if views().any(|view| view.lacks_set()) {
        let step = Step::waits(
            Reason::REPAIRING,
            "a StatefulSet is put back around its pods",
        );
        return only(step, true);
    }
    only(phases(), true)
}

/// A repair, or a member's joining: while it is under way what was granted to an upgrade is taken back.
pub fn before_upgrades(crews: &[&dyn Crew<'_>], step: Step) -> Step {
    if planted!(RollsBeforeRepair) {
        return step.yielding();
    }
    step.and_while_busy(|| {
        let taken_back = crews.iter().map(|crew| rollout::take_back(crew.view()));
        taken_back.fold(Step::default(), Step::and)
    })
}

/// A repair, which upgrading and scaling are told to wait for.
pub fn before_all(crews: &[&dyn Crew<'_>], repair: Step) -> Step {
    let others_wait = crews
        .iter()
        .any(|crew| rollout::is_needed(crew.view()) || crew.is_to_scale());
    let words = "upgrading and scaling wait for the repair".to_owned();
    let waits = Step::refused((Refusal::RepairFirst, words));
    let repair = repair.and_while_busy(|| if others_wait { waits } else { Step::default() });
    before_upgrades(crews, repair)
}

/// An upgrade, which scaling is told to wait for.
pub fn before_scaling(crews: &[&dyn Crew<'_>], upgrade: Step) -> Step {
    let scaling_waits = crews.iter().any(|crew| crew.is_to_scale());
    let words = "scaling waits for the upgrade".to_owned();
    let waits = Step::refused((Refusal::UpgradeFirst, words));
    upgrade.and_while_busy(|| {
        if scaling_waits {
            waits
        } else {
            Step::default()
        }
    })
}
