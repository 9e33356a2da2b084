//! What a member of groups tells of itself at `/status` and `/readyz`.

use std::sync::Arc;

use quorate_group_core::GroupId;
use quorate_node::about::About;
use quorate_node::health::Vitals;
use quorate_wire::{DISK_FULL, MemberProblem, MemberState, MemberStatus, Role};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::status::NodeStatus;

/// A member whose one group is all that it serves.
pub struct GroupVitals {
    /// Who it is.
    pub about: About,
    /// The group.
    pub group: GroupId,
    /// The latest status of the groups.
    pub node: watch::Receiver<Arc<NodeStatus>>,
    /// Cancelled when the member stops.
    pub stop: CancellationToken,
}

impl Vitals for GroupVitals {
    fn status(&self) -> MemberStatus {
        let node = self.node.borrow().clone();
        let ready = self.readiness().is_ok();
        let mut status = self.about.status(node.id.to_string(), ready);
        status.state = node.state;
        status.reason.clone_from(&node.reason);
        status.can_set_aside = node.can_set_aside;
        status.problems.splice(..0, disk_full(&node));
        status.restart_blockers.clone_from(&node.restart_blockers);
        status.groups.clone_from(&node.groups);
        status
    }

    fn readiness(&self) -> Result<(), String> {
        if self.stop.is_cancelled() {
            return Err("the member is stopping".into());
        }
        readiness(&self.node.borrow(), self.group)
    }
}

/// It serves reads, so it stays ready.
fn disk_full(node: &NodeStatus) -> Option<MemberProblem> {
    node.read_only.then(|| MemberProblem {
        code: DISK_FULL.into(),
        message: "free space on the disk is below free-space-reserve-bytes: client writes are refused until space returns; \
                  enlarge the volume or free space on it"
            .into(),
    })
}

/// A voter within its lag bound that knows a leader: what is ready counts for the quorum, so that a budget for
/// disruptions counts what matters.
fn readiness(node: &NodeStatus, id: GroupId) -> Result<(), String> {
    match node.state {
        MemberState::Running => {}
        MemberState::Empty => {
            return Err(
                "the member belongs to no group yet: it waits to be bootstrapped or added".into(),
            );
        }
        MemberState::Damaged | MemberState::Removed => {
            return Err(node
                .reason
                .clone()
                .unwrap_or_else(|| format!("the member is {:?}", node.state)));
        }
    }
    let Some(group) = node.group(id) else {
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

    fn node(state: MemberState, groups: Vec<GroupStatus>) -> NodeStatus {
        NodeStatus {
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
        let mut node = node(
            MemberState::Running,
            vec![group(Role::Leader, leader, true)],
        );
        assert_eq!(disk_full(&node), None);
        node.read_only = true;
        assert_eq!(disk_full(&node).unwrap().code, DISK_FULL);
        assert_eq!(readiness(&node, 1), Ok(()));
    }

    #[test]
    fn ready_is_a_voter_near_a_leader() {
        let running = |group| node(MemberState::Running, vec![group]);
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
            (node(MemberState::Running, vec![]), Some("group 1")),
            (
                node(MemberState::Empty, vec![]),
                Some("bootstrapped or added"),
            ),
            (node(MemberState::Damaged, vec![]), Some("Damaged")),
            (node(MemberState::Removed, vec![]), Some("Removed")),
        ];
        for (node, words) in table {
            match (readiness(&node, 1), words) {
                (Ok(()), None) => {}
                (Err(why), Some(words)) => assert!(why.contains(words), "{why}"),
                (got, wanted) => panic!("{node:?}: {got:?}, not {wanted:?}"),
            }
        }
    }
}
