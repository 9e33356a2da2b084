//! What to do now for a RaftCluster. Pure: everything it knows is handed in.

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use quorate_api::{Member as MemberReport, RaftCluster, RaftClusterStatus};

use super::{GROUP, RaftClusters};
use crate::group::{self, Group, Lead};
use crate::pool::{
    self, Census, Crew, Member, Step, View, before_all, before_scaling, before_upgrades, claims,
    rollout, volumes,
};
use crate::{Decision, Desired, Observed};

/// One step towards what is wanted: the first phase that has anything to do ends the round.
pub(super) fn decide(
    desired: &Desired<RaftClusters>,
    observed: &Observed,
    now: Timestamp,
) -> Decision<RaftClusterStatus> {
    let resource = &desired.resource;
    let old = resource.status.as_ref();
    let [pool] = desired.pools.as_slice() else {
        unreachable!("a RaftCluster has one pool");
    };
    let view = View::of(
        pool,
        &desired.env,
        old.map(|old| &old.common),
        observed,
        now,
    );
    let group = Group::of(view, GROUP, old.and_then(|old| old.group.clone()));
    let deleting = resource.metadata.deletion_timestamp.is_some();
    let round = pool::round(&[&group], deleting, || phases(&group));

    let group = group.after(&round.step);
    let mut status = old.cloned().unwrap_or_default();
    status.group = group.record().cloned();
    report(resource, &[&group.view().census], &mut status);
    let generation = resource.metadata.generation;
    let news = pool::tell(&[&group], &round.step, generation, &mut status.common);
    pool::conclude(&[&group], round, status, news)
}

/// Formed once; then repaired first, then completed, then upgraded, then scaled. Volumes grow whatever else is under way.
fn phases(group: &Group<'_>) -> Step {
    let crews: &[&dyn Crew<'_>] = &[group];
    group.form().and_unless_busy(|| {
        let progress = Step::first_busy(&[
            &|_| group.mark(),
            &|_| before_all(crews, group.repair()),
            &|_| before_upgrades(crews, group.join()),
            &|_| before_upgrades(crews, group.scale_before_upgrading()),
            &|_| before_scaling(crews, rollout::roll(group)),
            &|_| group.scale(),
            &|_| claims::release(group),
            &|before| volumes::renew(group, before),
        ]);
        progress.and(volumes::grow(group.view()))
    })
}

/// What the members are and say of themselves.
pub(super) fn report(
    resource: &RaftCluster,
    pools: &[&Census<'_>],
    status: &mut RaftClusterStatus,
) {
    pool::report(pools, resource.spec.tls.is_some(), &mut status.common);
    let Some(census) = pools.first() else { return };
    let lead = Lead::of(census, GROUP.number);
    let there = census
        .members
        .values()
        .filter(|member| member.pod.is_some());
    status.members = there
        .map(|member| of_member(census, member, lead.as_ref()))
        .collect();
    status.leader = lead.as_ref().map(|lead| census.pod_name(lead.ordinal));
    status.term = lead.map(|lead| saturating(lead.term));
}

fn of_member(census: &Census<'_>, member: &Member<'_>, lead: Option<&Lead<'_>>) -> MemberReport {
    let mut configured = lead
        .into_iter()
        .flat_map(|lead| &lead.configuration.members);
    let configured = configured.find(|configured| Some(configured.id.as_str()) == member.id());
    let group = member.group(GROUP.number);
    MemberReport {
        name: census.pod_name(member.ordinal),
        incarnation: member.id().map(str::to_owned),
        role: group::role(member, GROUP.number),
        term: group.map(|group| saturating(group.term)),
        match_index: configured
            .and_then(|configured| configured.match_index)
            .map(saturating),
        applied: group.map(|group| saturating(group.applied)),
        lag: group.map(|group| saturating(group.commit.saturating_sub(group.applied))),
        version: member.status.map(|status| status.version.clone()),
        ready: member.status.is_some_and(|status| status.ready),
    }
}

fn saturating(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
