//! What the parts of the shell tell the driver.

use std::time::Duration;

use quorate_group_core::{GroupId, Input};
use quorate_raft::MemberId;
use tokio::sync::{mpsc, oneshot};

use crate::fatal::Fatal;

/// One thing told. The queue is unbounded, but each part has only as much under way as the driver
/// gave it, or says little.
#[derive(Debug)]
pub(crate) enum Event {
    /// For the groups.
    Input(Input),
    /// A sender of our cluster stands at the door.
    Hello {
        from: MemberId,
        name: String,
        answer: oneshot::Sender<Admission>,
    },
    /// Hand over and stop.
    Leave(Duration),
    /// Stop at once.
    Fatal(Fatal),
}

/// Whether a sender may come in.
#[derive(Debug)]
pub(crate) enum Admission {
    Welcome,
    Removed(Vec<GroupId>),
    /// The group knows the sender by another name.
    Known(String),
}

/// Tells the driver; silently nothing once it has stopped.
#[derive(Clone, Debug)]
pub(crate) struct Events(pub(crate) mpsc::UnboundedSender<Event>);

impl Events {
    pub(crate) fn send(&self, event: Event) {
        let _ = self.0.send(event);
    }
}
