//! What the HTTP faces need of the group.

use std::time::Duration;

use quorate_group::{Handle, TraceContext};
use quorate_group_core::{Reply, Request, read_state};
use quorate_raft::MemberId;
use quorate_store::{Read, StateError};
use quorate_wire::GroupStatus;

use crate::GROUP;

/// The member's group.
pub trait Group: Send + Sync + 'static {
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
}

tokio::task_local! {
    /// The trace that the client's request belongs to.
    pub static TRACE: Option<TraceContext>;
}

impl Group for Handle {
    async fn request(&self, request: Request) -> Reply {
        let parent = TRACE.try_with(|trace| *trace).ok().flatten();
        self.request_traced(GROUP, request, parent).await
    }

    fn view(&self) -> Result<Option<Box<dyn Read>>, StateError> {
        read_state(&**self.store(), GROUP)
    }

    fn damaged(&self, why: String) {
        Handle::damaged(self, why);
    }

    fn now(&self) -> Duration {
        Handle::now(self)
    }

    fn status(&self) -> Option<GroupStatus> {
        Handle::status(self).borrow().group(GROUP).cloned()
    }
}

/// An identity as the documents write it.
pub fn parse_id(text: &str) -> Option<MemberId> {
    let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(text, 16)
        .ok()
        .filter(|id| digits && *id != 0)
        .map(MemberId)
}
