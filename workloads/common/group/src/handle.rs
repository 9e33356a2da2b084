//! What a workload holds: it asks through this, from any task.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quorate_group_core::{GroupId, Input, Refused, Reply, Request};
use quorate_node::trace::{self, TraceContext};
use quorate_raft::Now;
use quorate_store::StateStore;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use crate::budget::{Budget, Share};
use crate::events::{Event, Events};
use crate::spans::outcome;
use crate::status::GroupsStatus;

/// A request on its way to the driver.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) group: GroupId,
    pub(crate) request: Request,
    /// Set when a span is recorded.
    pub(crate) trace: Option<TraceContext>,
    pub(crate) pending: Pending,
}

/// What is needed to answer it.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) answer: oneshot::Sender<Reply>,
    pub(crate) begun: Instant,
    pub(crate) kind: &'static str,
    pub(crate) _share: Share,
}

/// Access to the groups of this process; clones share it.
#[derive(Clone)]
pub struct Handle {
    pub(crate) calls: mpsc::UnboundedSender<Call>,
    pub(crate) events: Events,
    pub(crate) budget: Arc<Budget>,
    pub(crate) max_command_bytes: usize,
    pub(crate) store: Arc<dyn StateStore>,
    pub(crate) status: watch::Receiver<Arc<GroupsStatus>>,
    pub(crate) origin: Instant,
    pub(crate) stopped: CancellationToken,
}

impl Handle {
    /// Asks a group. `Reply::Refused(Busy)` when as much is waiting as may; `Reply::Unknown` when the member
    /// stopped before the answer was known. A span is recorded, here and on the member that commits, where spans of
    /// level debug are; it belongs to the client's trace ([`trace::current`]), if there is one.
    pub async fn request(&self, group: GroupId, request: Request) -> Reply {
        let bytes = size(&request);
        if bytes > self.max_command_bytes {
            let why = format!(
                "a command of {bytes} bytes is larger than peers take ({})",
                self.max_command_bytes
            );
            return Reply::Refused(Refused::OutOfService(why));
        }
        let share = match self.budget.take(bytes) {
            Ok(share) => share,
            Err(full) => return Reply::Refused(Refused::Busy(full)),
        };
        let span = tracing::debug_span!("request", group, trace = tracing::field::Empty);
        let trace = join_trace(&span);
        let (answer, answered) = oneshot::channel();
        let pending = Pending {
            answer,
            begun: Instant::now(),
            kind: kind(&request),
            _share: share,
        };
        if self
            .calls
            .send(Call {
                group,
                request,
                trace,
                pending,
            })
            .is_err()
        {
            return Reply::Refused(Refused::OutOfService("this member is stopping".into()));
        }
        let reply = answered
            .instrument(span.clone())
            .await
            .unwrap_or(Reply::Unknown);
        span.in_scope(|| tracing::debug!(outcome = outcome(&reply), "answered"));
        reply
    }

    /// The state of all groups: read a group's with [`quorate_group_core::read_state`], after `Reply::Ready`.
    pub fn store(&self) -> &Arc<dyn StateStore> {
        &self.store
    }

    /// Says that [`Handle::store`] is damaged: the member takes part in nothing any more, and is to be replaced.
    pub fn damaged(&self, why: String) {
        self.events.send(Event::Input(Input::Damaged(why)));
    }

    /// The latest status; at most about 100 ms old.
    pub fn status(&self) -> watch::Receiver<Arc<GroupsStatus>> {
        self.status.clone()
    }

    /// The groups' own clock, to which `Reply::Stale` refers.
    pub fn now(&self) -> Now {
        self.origin.elapsed()
    }

    /// Hands leadership of every group over, waits for what is under way (both within `patience`), then stops.
    /// Returns when everything is on disk and stopped.
    pub async fn shutdown(&self, patience: Duration) {
        self.events.send(Event::Leave(patience));
        self.stopped.cancelled().await;
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle")
            .field("status", &self.status.borrow())
            .finish_non_exhaustive()
    }
}

fn join_trace(span: &Span) -> Option<TraceContext> {
    if span.is_disabled() {
        return None;
    }
    let trace = trace::current().unwrap_or_else(TraceContext::root).child();
    span.record("trace", tracing::field::display(trace));
    Some(trace)
}

fn size(request: &Request) -> usize {
    match request {
        Request::Write(write) => write.command.len(),
        _ => 0,
    }
}

/// The kind of a request that goes through the log.
pub(crate) const PROPOSAL: &str = "proposal";

/// The kind of a request, for metrics.
fn kind(request: &Request) -> &'static str {
    match request {
        Request::Write(_) | Request::OpenSession { .. } | Request::CloseSession { .. } => PROPOSAL,
        Request::Read | Request::StaleRead => "read",
        Request::Bootstrap { .. }
        | Request::Change { .. }
        | Request::Transfer { .. }
        | Request::Snapshot
        | Request::SetAside { .. } => "admin",
    }
}
