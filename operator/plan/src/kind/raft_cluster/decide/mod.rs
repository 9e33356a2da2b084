//! What to do now for a RaftCluster. Pure: everything it knows is handed in.

mod bootstrap;
mod census;
mod draft;
mod join;
mod marks;
mod predicates;
mod repair;
mod report;
mod rollout;
mod scale;
mod status;
mod stuck;
#[cfg(test)]
mod tests;
mod view;
mod volumes;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use serde_json::Value;

pub use marks::{FOUNDER, GROUP_MARK, INCARNATION, LEFT, REMOVED};

use self::draft::{Draft, Phase, Reason};
use self::predicates::may_work;
use self::view::View;
use super::{POOL, RaftClusters, build};
use crate::planted::planted;
use crate::{Decision, Desired, Object, Observed, Refusal, Stage, template_digest};

pub(super) use status::{finish, invalid};

/// How long a new pod may take before the operator says that it does not start.
const PATIENCE: Duration = Duration::from_secs(30);

/// While something is under way.
const SOON: Duration = Duration::from_millis(500);

/// While nothing is: members are asked again this often, since no event tells of a lost disk or a new leader.
const LATER: Duration = Duration::from_secs(5);

/// One step towards what is wanted: the first phase that has anything to do ends the round.
pub(super) fn decide(
    desired: &Desired<RaftClusters>,
    observed: &Observed,
    now: Timestamp,
) -> Decision {
    let view = View::of(desired, observed, now);
    let mut draft = Draft::of(&view, &wanted_digest(desired));
    if desired.resource.metadata.deletion_timestamp.is_some() {
        // Owner references take everything that shall go; there is nothing to keep a quorum for.
        draft.busy(Reason::Deleting, "the resource is being deleted".into());
        return conclude(&view, draft, false);
    }
    if volumes::set_is_going(&view) {
        draft.busy(Reason::Waiting, "its StatefulSet is being deleted".into());
        return conclude(&view, draft, false);
    }
    if volumes::is_without_set(&view) {
        // Though the resource was paused meanwhile.
        draft.busy(
            Reason::Growing,
            "a StatefulSet is made around its pods".into(),
        );
        return conclude(&view, draft, true);
    }
    if let Err(refused) = may_work(&view) {
        let reason = if refused.0 == Refusal::Paused {
            Reason::Paused
        } else {
            Reason::Waiting
        };
        draft.attempt(reason, Err(refused), String::new(), None);
        return conclude(&view, draft, false);
    }
    if view.lacks_set() {
        draft.busy(
            Reason::Repairing,
            "a StatefulSet is put back around its pods".into(),
        );
        return conclude(&view, draft, true);
    }
    if bootstrap::form(&view, &mut draft) == Phase::Clear {
        marks::update(&view, &mut draft);
        progress(&view, &mut draft);
        volumes::grow(&view, &mut draft);
    }
    conclude(&view, draft, true)
}

/// A group that is formed: repaired first, then completed, then upgraded, then scaled.
fn progress(view: &View<'_>, draft: &mut Draft) {
    if repair::repair(view, draft) == Phase::Busy && !planted!(RollsBeforeRepair) {
        if rollout::is_needed(view, draft) || scale::is_needed(view) {
            draft.refuse((
                Refusal::RepairFirst,
                "upgrading and scaling wait for the repair".into(),
            ));
        }
        rollout::take_back(view, draft);
        return;
    }
    if join::join(view, draft) == Phase::Busy && !planted!(RollsBeforeRepair) {
        rollout::take_back(view, draft);
        return;
    }
    // Two voters can spare none: no restart would ever be allowed before they are one, or three.
    let cannot_spare = view
        .lead
        .as_ref()
        .is_some_and(|lead| lead.voters().count() == 2);
    if cannot_spare && !draft.publishes && scale::scale(view, draft) == Phase::Busy {
        rollout::take_back(view, draft);
        return;
    }
    if rollout::roll(view, draft) == Phase::Busy {
        if scale::is_needed(view) {
            draft.refuse((
                Refusal::UpgradeFirst,
                "scaling waits for the upgrade".into(),
            ));
        }
        return;
    }
    if scale::scale(view, draft) == Phase::Clear {
        scale::release_claims(view, draft);
        volumes::renew(view, draft);
    }
}

fn conclude(view: &View<'_>, mut draft: Draft, applies: bool) -> Decision {
    let trouble = status::trouble(view, &draft);
    let status = status::status(view, &draft, trouble.as_ref());
    let news = trouble.and_then(|trouble| status::news(view, trouble));
    draft.events.extend(news);
    let idle = draft.busy.is_none() && draft.actions.is_empty() && view.lead.is_some();
    Decision {
        stage: applies.then(|| Stage {
            pools: [(POOL.to_owned(), draft.pool)].into(),
        }),
        actions: draft.actions,
        refusals: draft.refusals,
        events: draft.events,
        status: serde_json::to_value(status).unwrap_or(Value::Null),
        requeue_after: if idle { LATER } else { SOON },
    }
}

/// The digest of the template that the resource asks for.
fn wanted_digest(desired: &Desired<RaftClusters>) -> String {
    let objects = build::build(&desired.valid, &Stage::default(), &desired.env);
    let set = objects.into_iter().find_map(|object| match object {
        Object::StatefulSet(set) => Some(set),
        _ => None,
    });
    template_digest(&set.unwrap_or_else(StatefulSet::default))
}
