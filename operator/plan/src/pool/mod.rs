//! A pool: the members that one StatefulSet runs. Whatever the kind, they are counted, rolled, repaired, grown and reported
//! here; what a member may be lost for, its [`Crew`] says.

pub(crate) mod build;
mod census;
pub(crate) mod claims;
mod conditions;
mod crew;
mod gate;
mod independent;
mod predicates;
pub(crate) mod repair;
mod report;
pub(crate) mod rollout;
mod spec;
mod step;
mod stuck;
mod view;
pub(crate) mod volumes;

use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) use census::VOLUME;
pub use census::{Census, Member};
pub(crate) use conditions::{finish, invalid, tell};
pub use crew::{Crew, Loss, Outage};
pub(crate) use gate::{Round, before_all, before_scaling, before_upgrades, round};
pub use independent::Independent;
pub(crate) use predicates::{is_idle, may_populate};
pub(crate) use report::report;
pub(crate) use spec::Given;
pub use spec::{Audience, Basics, IGNORE_BLOCKERS, KindNames, Pool, PoolName, Port, Program};
pub(crate) use step::refuse;
pub use step::{Change, Phase, Reason, Refusing, Step, Told};
pub use view::View;

use crate::{Decision, PoolStage, Stage};

/// How long a new pod may take before the operator says that it does not start.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// While something is under way.
const SOON: Duration = Duration::from_millis(500);

/// While nothing is: members are asked again this often, since no event tells of a lost disk or a new leader.
const LATER: Duration = Duration::from_secs(5);

/// What a round comes to, with the status that was made of it; `news` is told to people beside what the phases tell.
pub(crate) fn conclude<S>(
    crews: &[&dyn Crew<'_>],
    round: Round,
    status: S,
    news: Option<crate::Event>,
) -> Decision<S> {
    let Round { step, applies } = round;
    let serves = crews.iter().all(|crew| crew.outage().is_none());
    let idle = step.busy.is_none() && step.actions.is_empty() && serves;
    let stage = applies.then(|| stage(crews, &step.sets));
    let mut events = step.events;
    events.extend(news);
    Decision {
        stage,
        actions: step.actions,
        refusals: step.refusals,
        events,
        status,
        requeue_after: if idle { LATER } else { SOON },
    }
}

fn stage(crews: &[&dyn Crew<'_>], changes: &BTreeMap<&'static str, Change>) -> Stage {
    let pools = crews.iter().map(|crew| {
        let view = crew.view();
        let name = view.pool.name.name;
        let base = view.base(crew.floor());
        let change = changes.get(name).copied().unwrap_or_default();
        let stage = PoolStage {
            replicas: change.replicas.unwrap_or(base.replicas),
            partition: change.partition.unwrap_or(base.partition),
            ..base
        };
        (name.to_owned(), stage)
    });
    Stage {
        pools: pools.collect(),
    }
}
