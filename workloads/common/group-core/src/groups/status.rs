//! What can be seen of the groups from outside.

use quorate_raft::{Contact, MemberId, Raft, Ticket};
use quorate_wire::{GroupStatus, MemberState, RestartBlocker};

use super::Groups;
use crate::group::Group;
use crate::types::GroupId;

impl Groups {
    /// This member's identity.
    pub fn id(&self) -> MemberId {
        self.shared.id
    }

    /// What this member is able to do.
    pub fn state(&self) -> MemberState {
        match &self.damage {
            _ if self.aside.is_standing() => MemberState::Removed,
            Some(_) => MemberState::Damaged,
            None if self.groups.is_empty() => MemberState::Empty,
            None => MemberState::Running,
        }
    }

    /// Why, when it is not running, and what to do.
    pub fn reason(&self) -> Option<String> {
        match self.state() {
            MemberState::Running => None,
            MemberState::Empty => {
                Some("it belongs to no group: bootstrap one, or add it to one".into())
            }
            MemberState::Damaged | MemberState::Removed => self.out_of_service(),
        }
    }

    /// Whether it can serve: a voter within its lag bound in every group that it has.
    pub fn ready(&self) -> bool {
        self.state() == MemberState::Running
            && self
                .groups
                .values()
                .all(|group| group.ready(&self.shared.config) || group.is_gone())
    }

    /// The numbers of the groups that it takes part in.
    pub fn ids(&self) -> impl Iterator<Item = GroupId> + '_ {
        self.groups.keys().copied()
    }

    /// One group as this member sees it.
    pub fn status(&self, group: GroupId) -> Option<GroupStatus> {
        self.groups
            .get(&group)
            .map(|state| state.status(group, &self.shared.config))
    }

    /// What a restart of this member would interrupt now.
    pub fn restart_blockers(&self) -> Vec<RestartBlocker> {
        if self.state() != MemberState::Running {
            return Vec::new();
        }
        let groups = self.groups.iter().filter(|(_, group)| !group.is_gone());
        groups
            .flat_map(|(id, group)| group.blockers(*id, &self.shared.config))
            .collect()
    }

    /// Where a member is, as far as any group or message has told.
    pub fn contact(&self, id: MemberId) -> Option<&Contact> {
        self.groups
            .values()
            .find_map(|group| group.contact(id))
            .or_else(|| self.shared.heard(id))
    }

    /// Whether an identity is known to be removed from all the groups here that ever had it.
    pub fn is_removed(&self, id: MemberId) -> bool {
        let removed = |group: &Group| group.removed().contains(&id);
        self.groups.values().any(removed)
            && !self
                .groups
                .values()
                .any(|group| !removed(group) && group.contact(id).is_some())
    }

    /// Whether client writes are refused for lack of free space.
    pub fn is_read_only(&self) -> bool {
        self.shared.read_only
    }

    /// Requests that wait for an answer, and the bytes of commands among them.
    pub fn pending(&self) -> (usize, usize) {
        (self.shared.load.requests, self.shared.load.bytes)
    }

    /// To whom, and under which mark, the request that was stepped just now was forwarded: the shell sends the
    /// client's trace along.
    pub fn forwarded(&self, group: GroupId, ticket: Ticket) -> Option<(MemberId, u64)> {
        self.groups.get(&group)?.latest_forwarded(ticket)
    }

    /// The core of a group, for metrics and for the simulator's invariants.
    pub fn raft(&self, group: GroupId) -> Option<&Raft> {
        self.groups.get(&group).map(Group::raft)
    }
}
