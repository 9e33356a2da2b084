//! What the member tells of itself at `/status` and `/readyz`.

use std::sync::Arc;

use quorate_group::NodeStatus;
use quorate_node::health::Member;
use quorate_node::tls::Tls;
use quorate_wire::{
    BAD_CERTIFICATES, DISK_FULL, MemberProblem, MemberState, MemberStatus, Role, STATUS_VERSION,
};
use tokio_util::sync::CancellationToken;

use crate::GROUP;
use crate::build::Build;

/// The highest feature level that this build can write (DESIGN, section 4).
const FEATURE_LEVEL: u32 = 1;

/// The member as the health listener sees it.
pub struct Face {
    /// Of which build it is.
    pub build: Build,
    /// The resource's UID.
    pub cluster: String,
    /// The member's name.
    pub name: String,
    /// The certificates, if any were given.
    pub tls: Option<Arc<Tls>>,
    /// The latest status of the group's node.
    pub node: tokio::sync::watch::Receiver<Arc<NodeStatus>>,
    /// Cancelled when the member stops.
    pub stop: CancellationToken,
}

impl Member for Face {
    fn status(&self) -> MemberStatus {
        let node = self.node.borrow().clone();
        MemberStatus {
            schema: STATUS_VERSION.into(),
            kind: "RaftCluster".into(),
            name: self.name.clone(),
            version: self.build.version.into(),
            feature_level: FEATURE_LEVEL,
            cluster: self.cluster.clone(),
            incarnation: node.id.to_string(),
            state: node.state,
            reason: node.reason.clone(),
            can_set_aside: node.can_set_aside,
            ready: self.readiness().is_ok(),
            insecure: self.tls.is_none(),
            problems: problems(&node, self.tls.as_ref().and_then(|tls| tls.complaint())),
            restart_blockers: node.restart_blockers.clone(),
            groups: node.groups.clone(),
        }
    }

    fn readiness(&self) -> Result<(), String> {
        if self.stop.is_cancelled() {
            return Err("the member is stopping".into());
        }
        if let Some(why) = self.build.unready {
            return Err(why.into());
        }
        readiness(&self.node.borrow())
    }
}

/// What is wrong although the member runs: it serves reads, so it stays ready.
fn problems(node: &NodeStatus, bad_certificates: Option<String>) -> Vec<MemberProblem> {
    let disk_full = node.read_only.then(|| MemberProblem {
        code: DISK_FULL.into(),
        message: "free space on the disk is below free-space-reserve-bytes: client writes are refused until space returns; \
                  enlarge the volume or free space on it"
            .into(),
    });
    let bad_certificates = bad_certificates.map(|why| MemberProblem {
        code: BAD_CERTIFICATES.into(),
        message: format!(
            "{why}; the certificates before these stay in use, but a restart would fail"
        ),
    });
    disk_full.into_iter().chain(bad_certificates).collect()
}

/// A voter within its lag bound that knows a leader: what is ready counts for the quorum, so that a budget for
/// disruptions counts what matters.
fn readiness(node: &NodeStatus) -> Result<(), String> {
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
    let Some(group) = node.group(GROUP) else {
        return Err(format!("the member does not belong to group {GROUP} yet"));
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
        assert_eq!(problems(&node, None), []);
        node.read_only = true;
        assert_eq!(problems(&node, None)[0].code, DISK_FULL);
        assert_eq!(readiness(&node), Ok(()));
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
            match (readiness(&node), words) {
                (Ok(()), None) => {}
                (Err(why), Some(words)) => assert!(why.contains(words), "{why}"),
                (got, wanted) => panic!("{node:?}: {got:?}, not {wanted:?}"),
            }
        }
    }
}
