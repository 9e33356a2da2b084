//! One group, as the listeners of its member see it.

use std::time::Duration;

use quorate_group_core::{GroupId, Refused, Reply, Request, read_state};
use quorate_store::{Read, StateError};
use quorate_wire::{ConfiguredMember, GroupStatus};

use crate::handle::Handle;
use crate::status::parse_id;

/// What a listener needs of a group; a test has a script of one.
pub trait GroupAccess: Send + Sync + 'static {
    /// The group's number.
    fn id(&self) -> GroupId;
    /// Asks the group; every request is answered.
    fn request(&self, request: Request) -> impl Future<Output = Reply> + Send;
    /// A frozen view of the state; `None` while a snapshot takes its place.
    fn view(&self) -> Result<Option<Box<dyn Read>>, StateError>;
    /// Says that the state failed its checksums when it was read.
    fn damaged(&self, why: String);
    /// The clock that `Reply::Stale` is told by.
    fn now(&self) -> Duration;
    /// What the member knows of the group; `None` before it belongs to it.
    fn status(&self) -> Option<GroupStatus>;

    /// Who leads, as far as a refusal and the status tell.
    fn leader(&self, why: &Refused) -> Option<ConfiguredMember> {
        let status = self.status()?;
        let leader = match why {
            Refused::NoLeader { hint: Some(id) }
            | Refused::Raft(quorate_raft::Refusal::NotLeader(Some(id))) => *id,
            _ => parse_id(status.leader.as_deref()?)?,
        };
        let mut members = status.configuration.members.into_iter();
        members.find(|member| parse_id(&member.id) == Some(leader))
    }
}

/// One of the groups of this process.
#[derive(Clone, Debug)]
pub struct GroupHandle {
    id: GroupId,
    groups: Handle,
}

impl Handle {
    /// Access to the group of this number, whether the member belongs to it yet or not.
    pub fn group(&self, id: GroupId) -> GroupHandle {
        GroupHandle {
            id,
            groups: self.clone(),
        }
    }
}

impl GroupAccess for GroupHandle {
    fn id(&self) -> GroupId {
        self.id
    }

    async fn request(&self, request: Request) -> Reply {
        self.groups.request(self.id, request).await
    }

    fn view(&self) -> Result<Option<Box<dyn Read>>, StateError> {
        read_state(&**self.groups.store(), self.id)
    }

    fn damaged(&self, why: String) {
        self.groups.damaged(why);
    }

    fn now(&self) -> Duration {
        self.groups.now()
    }

    fn status(&self) -> Option<GroupStatus> {
        self.groups.status().borrow().group(self.id).cloned()
    }
}
