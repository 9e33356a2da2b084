//! What claims remember of the group, so that it is known even when status is lost and every member is silent.

use std::collections::BTreeMap;

use super::{Group, predicates};
use crate::pool::claims::{self, get};
use crate::pool::{Member, Step};

/// Annotation of a claim: the group that the data on it belongs to.
pub const GROUP_MARK: &str = "quorate.dev/group";

/// Annotation of a claim: the identity on it, once it is in the group's configuration, or was chosen to found it.
pub const INCARNATION: &str = "quorate.dev/incarnation";

/// Annotation of a claim: `true` on the one whose member forms the group. Written before that member is asked, so that
/// no other is ever asked.
pub const FOUNDER: &str = "quorate.dev/founder";

/// Annotation of a claim: the last identity on it that the group was asked to remove. It must never be added again.
pub const REMOVED: &str = "quorate.dev/removed";

/// Annotation of a claim: the identity on it that a leader has confirmed to have left the group, after it was asked to
/// remove it. A removal that was only asked for may never be made.
pub const LEFT: &str = "quorate.dev/left";

/// Annotation of a claim: the identity on it whose data was damaged and was asked to make way for another.
pub const SET_ASIDE: &str = "quorate.dev/set-aside";

/// The identity that the group knew on this claim.
pub(super) fn incarnation<'a>(member: &Member<'a>) -> Option<&'a str> {
    get(member, INCARNATION)
}

/// Whether the claim says that the group counts on this member.
pub(super) fn is_counted(member: &Member<'_>) -> bool {
    let id = get(member, INCARNATION);
    get(member, GROUP_MARK).is_some() && id.is_some() && id != get(member, LEFT)
}

impl<'a> Group<'a> {
    /// Brings every claim's marks up to date: whose data it holds, and whether it goes with the resource.
    pub fn mark(&self) -> Step {
        claims::update(&self.view, |member| {
            let mut annotations = BTreeMap::new();
            if let Some(id) = member.id().filter(|id| self.part(id).is_some()) {
                annotations.insert(GROUP_MARK.to_owned(), self.spec.number.to_string());
                annotations.insert(INCARNATION.to_owned(), id.to_owned());
            }
            if let Some(id) = self.has_left(member) {
                annotations.insert(LEFT.to_owned(), id.to_owned());
            }
            annotations
        })
    }

    fn has_left(&self, member: &Member<'a>) -> Option<&'a str> {
        let id = incarnation(member).filter(|id| get(member, REMOVED) == Some(id))?;
        (predicates::may_change(self).is_ok() && self.part(id).is_none()).then_some(id)
    }
}
