//! Where a group's state lies in the state store: every key begins with the group's number and a space.

use crate::GroupId;

/// The parts of a group's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Space {
    /// One key: applied index and term, configuration, session clock and count.
    Meta = 1,
    /// Sessions by id.
    Session = 2,
    /// Session ids by deadline.
    Deadline = 3,
    /// Identities that were removed.
    Removed = 4,
    /// The state machine's own keys.
    Machine = 5,
}

/// The prefix of a space of a group.
pub(crate) fn prefix(group: GroupId, space: Space) -> [u8; 9] {
    let mut key = [0; 9];
    key[..8].copy_from_slice(&group.to_be_bytes());
    key[8] = space as u8;
    key
}
