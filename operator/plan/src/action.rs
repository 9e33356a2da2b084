//! What a host is asked to do, one effect at a time. Each is safe to repeat, and safe when it comes late: a
//! deletion names a UID, a change of membership the configuration that it was decided on.

use std::collections::BTreeMap;

use quorate_wire::MemberRequest;
use serde::Serialize;

use crate::pool::Member;

/// One effect on the world beside the application of objects and the writing of status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Action {
    /// Says on a claim whose it is, so that it can speak for the group when nobody else does.
    MarkClaim {
        /// The claim's name.
        name: String,
        /// The claim that was seen; nothing is done to another.
        uid: String,
        /// Annotations to set; others stay.
        annotations: BTreeMap<String, String>,
        /// Whether the claim goes when the resource goes (an owner reference to the resource, the only one).
        owned: bool,
    },
    /// Asks for a larger volume.
    GrowClaim {
        /// The claim's name.
        name: String,
        /// The claim that was seen; nothing is done to another.
        uid: String,
        /// The size to request, more than it requests now.
        size: String,
    },
    /// Makes the resource an owner of a pod, beside its controller, or no longer: a pod without a StatefulSet would
    /// outlive the resource otherwise.
    OwnPod {
        /// The pod's name.
        name: String,
        /// The pod that was seen; nothing is done to another.
        uid: String,
        /// Whether the resource owns it from now on.
        owned: bool,
    },
    /// Takes a StatefulSet away and leaves its pods, for the next one of its name to adopt.
    OrphanSet {
        /// The StatefulSet's name.
        name: String,
        /// The StatefulSet that was seen; nothing is done to another.
        uid: String,
    },
    /// Deletes a claim (and with it the data).
    DeleteClaim {
        /// The claim's name.
        name: String,
        /// The claim that was seen; nothing is done to another.
        uid: String,
    },
    /// Deletes a pod; its StatefulSet makes it anew.
    DeletePod {
        /// The pod's name.
        name: String,
        /// The pod that was seen; nothing is done to another.
        uid: String,
    },
    /// Sends a request to a member's admin listener.
    Ask {
        /// The pod to ask.
        pod: String,
        /// The pod that was seen; nothing is asked of another.
        pod_uid: String,
        /// What to ask.
        request: MemberRequest,
    },
}

impl Action {
    /// A request to a member, if it has a pod.
    pub(crate) fn ask(pod: &str, member: &Member<'_>, request: MemberRequest) -> Option<Self> {
        Some(Action::Ask {
            pod: pod.to_owned(),
            pod_uid: member.pod?.metadata.uid.clone()?,
            request,
        })
    }

    /// A stable name, for events, metric labels and counters.
    pub fn name(&self) -> &'static str {
        match self {
            Action::MarkClaim { .. } => "MarkClaim",
            Action::GrowClaim { .. } => "GrowClaim",
            Action::OwnPod { .. } => "OwnPod",
            Action::OrphanSet { .. } => "OrphanSet",
            Action::DeleteClaim { .. } => "DeleteClaim",
            Action::DeletePod { .. } => "DeletePod",
            Action::Ask { request, .. } => request.name,
        }
    }

    /// The names that [`Action::name`] can give, but for those of requests to members.
    pub const NAMES: [&'static str; 6] = [
        "MarkClaim",
        "GrowClaim",
        "OwnPod",
        "OrphanSet",
        "DeleteClaim",
        "DeletePod",
    ];
}
