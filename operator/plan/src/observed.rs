//! What a host saw of one resource's world. Every decision is made on this and on nothing else.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use quorate_wire::MemberStatus;

use crate::Object;

/// The objects that belong to one resource, and what its members say of themselves.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// The StatefulSets that the resource owns, by name.
    pub stateful_sets: BTreeMap<String, StatefulSet>,
    /// The pods that those StatefulSets own, or the resource itself while their StatefulSet is made anew, by name.
    pub pods: BTreeMap<String, Pod>,
    /// The claims of those pods by name: those of ordinals that are gone and of earlier resources of the same
    /// name too, found by the instance label and not by owner, because nobody else remembers them.
    pub claims: BTreeMap<String, PersistentVolumeClaim>,
    /// Everything else that the resource owns.
    pub objects: Vec<Object>,
    /// Why the StatefulSet's controller could not make a missing pod, in the words of whoever refused it (a quota, an
    /// admission plugin), by the StatefulSet's name.
    pub denials: BTreeMap<String, String>,
    /// Why the Secret with the members' certificates is of no use, while a pod waits for it.
    pub secret: Option<String>,
    /// What each pod's member answered, by the pod's name.
    pub members: BTreeMap<String, Answer>,
    /// Our own writes that this observation does not show yet, in words; the engine fills it in. Nothing disruptive
    /// is decided on what lies behind our own acts.
    pub behind: Vec<String>,
}

/// A member's answer to `GET /status`.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The pod that was asked: a pod of the same name that came later is another one.
    pub pod_uid: String,
    /// When the answer came.
    pub at: Timestamp,
    /// The document, or in words why there is none.
    pub status: Result<MemberStatus, String>,
}
