//! What a member of groups tells of itself at `/status` and `/readyz`.

use std::sync::Arc;

use quorate_group_core::GroupId;
use quorate_node::about::About;
use quorate_node::health::Vitals;
use quorate_wire::{DISK_FULL, MAX_GROUPS, MemberProblem, MemberState, MemberStatus, Role};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::status::GroupsStatus;

/// A member whose one group is all that it serves.
pub struct GroupVitals {
    /// Who it is.
    pub about: About,
    /// The group.
    pub group: GroupId,
    /// The latest status of the groups.
    pub groups: watch::Receiver<Arc<GroupsStatus>>,
    /// Cancelled when the member stops.
    pub stop: CancellationToken,
}

impl Vitals for GroupVitals {
    fn status(&self) -> MemberStatus {
        let groups = self.groups.borrow().clone();
        let ready = self.readiness().is_ok();
        let mut status = self.about.status(groups.id.to_string(), ready);
        status.state = groups.state;
        status.reason.clone_from(&groups.reason);
        status.can_set_aside = groups.can_set_aside;
        status.problems.splice(..0, disk_full(&groups));
        status.restart_blockers.clone_from(&groups.restart_blockers);
        if let Some(group) = groups.group(self.group) {
            status.summary = group.summary();
        }
        status.groups = groups.groups.iter().take(MAX_GROUPS).cloned().collect();
        status
    }

    fn readiness(&self) -> Result<(), String> {
        if self.stop.is_cancelled() {
            return Err("the member is stopping".into());
        }
        readiness(&self.groups.borrow(), self.group)
    }
}

/// It serves reads, so it stays ready.
fn disk_full(groups: &GroupsStatus) -> Option<MemberProblem> {
    groups.read_only.then(|| MemberProblem {
        code: DISK_FULL.into(),
        message: "free space on the disk is below free-space-reserve-bytes: client writes are refused until space returns; \
                  enlarge the volume or free space on it"
            .into(),
    })
}

/// A voter within its lag bound that knows a leader: what is ready counts for the quorum, so that a budget for
/// disruptions counts what matters.
fn readiness(groups: &GroupsStatus, id: GroupId) -> Result<(), String> {
    match groups.state {
        MemberState::Running => {}
        MemberState::Empty => {
            return Err(
                "the member belongs to no group yet: it waits to be bootstrapped or added".into(),
            );
        }
        MemberState::Damaged | MemberState::Removed => {
            return Err(groups
                .reason
                .clone()
                .unwrap_or_else(|| format!("the member is {:?}", groups.state)));
        }
    }
    let Some(group) = groups.group(id) else {
        return Err(format!("the member does not belong to group {id} yet"));
    };
    if group.role == Role::Learner {
        return Err("the member is a learner: it serves, but does not count for the quorum until it is promoted".into());
    }
    if group.leader.is_none() {
        return Err("no leader is known".into());
    }
    if !group.caught_up {
        return Err(format!(
            "the member is further behind than lag-bound-entries: applied {} of {}",
            group.applied, group.commit
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use quorate_raft::MemberId;
    use quorate_wire::GroupStatus;

    use super::*;

    fn groups(state: MemberState, groups: Vec<GroupStatus>) -> GroupsStatus {
        GroupsStatus {
            id: MemberId(1),
            state,
            reason: None,
            can_set_aside: false,
            read_only: false,
            ready: true,
            restart_blockers: vec![],
            groups,
            contacts: Default::default(),
        }
    }

    fn group(role: Role, leader: Option<&str>, caught_up: bool) -> GroupStatus {
        let leader = leader.map(Into::into);
        GroupStatus {
            group: 1,
            role,
            term: 1,
            leader,
            last: 9,
            commit: 9,
            applied: 9,
            caught_up,
            configuration: Default::default(),
        }
    }

    #[test]
    fn a_full_disk_is_a_problem_and_no_reason_to_be_unready() {
        let leader = Some("0000000000000001");
        let mut groups = groups(
            MemberState::Running,
            vec![group(Role::Leader, leader, true)],
        );
        assert_eq!(disk_full(&groups), None);
        groups.read_only = true;
        assert_eq!(disk_full(&groups).unwrap().code, DISK_FULL);
        assert_eq!(readiness(&groups, 1), Ok(()));
    }

    #[test]
    fn ready_is_a_voter_near_a_leader() {
        let running = |group| groups(MemberState::Running, vec![group]);
        let leader = Some("0000000000000001");
        let table = [
            (running(group(Role::Leader, leader, true)), None),
            (running(group(Role::Follower, leader, true)), None),
            (running(group(Role::Learner, leader, true)), Some("learner")),
            (
                running(group(Role::Follower, leader, false)),
                Some("lag-bound-entries"),
            ),
            (
                running(group(Role::Candidate, None, true)),
                Some("no leader is known"),
            ),
            (groups(MemberState::Running, vec![]), Some("group 1")),
            (
                groups(MemberState::Empty, vec![]),
                Some("bootstrapped or added"),
            ),
            (groups(MemberState::Damaged, vec![]), Some("Damaged")),
            (groups(MemberState::Removed, vec![]), Some("Removed")),
        ];
        for (groups, words) in table {
            match (readiness(&groups, 1), words) {
                (Ok(()), None) => {}
                (Err(why), Some(words)) => assert!(why.contains(words), "{why}"),
                (got, wanted) => panic!("{groups:?}: {got:?}, not {wanted:?}"),
            }
        }
    }
}
