//! The part of a request's trace on the member that commits it: the trace context comes with the forwarded
//! command, the span ends with the answer to it.

use std::collections::BTreeMap;

use quorate_group_core::{PeerBody, PeerMessage, Reply};
use quorate_node::trace::TraceContext;
use quorate_raft::MemberId;
use tracing::Span;

/// Every forwarded command is answered; this bounds what a broken peer could make us hold.
const MAX_SPANS: usize = 10_000;

/// Spans of forwarded commands, by sender and its mark.
#[derive(Debug, Default)]
pub(crate) struct Spans {
    leaving: BTreeMap<(MemberId, u64), TraceContext>,
    committing: BTreeMap<(MemberId, u64), Span>,
}

impl Spans {
    /// A group forwards a traced command: the trace goes along.
    pub(crate) fn forwarded(&mut self, to: MemberId, id: u64, trace: TraceContext) {
        if self.leaving.len() < MAX_SPANS {
            self.leaving.insert((to, id), trace);
        }
    }

    /// A message leaves: the trace that goes with it, and the end of the span that it answers.
    pub(crate) fn sends(&mut self, to: MemberId, message: &PeerMessage) -> Option<TraceContext> {
        match &message.body {
            PeerBody::Forward { id, .. } => self.leaving.remove(&(to, *id)),
            PeerBody::ForwardReply { id, reply } => {
                if let Some(span) = self.committing.remove(&(to, *id)) {
                    span.in_scope(|| tracing::debug!(outcome = outcome(reply), "answered"));
                }
                None
            }
            _ => None,
        }
    }

    /// A message came, with the trace that it belongs to.
    pub(crate) fn came(&mut self, from: MemberId, message: &PeerMessage, trace: TraceContext) {
        let PeerBody::Forward { id, .. } = message.body else {
            return;
        };
        let span = tracing::debug_span!("commit", group = message.group, %from, trace = %trace.child(), parent = %trace);
        if !span.is_disabled() && self.committing.len() < MAX_SPANS {
            self.committing.insert((from, id), span);
        }
    }
}

/// The name of a reply, for metrics and spans.
pub(crate) fn outcome(reply: &Reply) -> &'static str {
    match reply {
        Reply::Outcome { .. } => "applied",
        Reply::Ready | Reply::Stale { .. } => "read",
        Reply::Done | Reply::Transferred(_) => "done",
        Reply::Refused(_) => "refused",
        Reply::Unknown => "unknown",
    }
}
