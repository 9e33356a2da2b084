//! Where a group's state lies in the state store: every key begins with the group's number and a space.

use bytes::{BufMut as _, Bytes, BytesMut};

use crate::types::GroupId;

/// The parts of a group's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Space {
    /// Two keys: where the state stands ([`META`]), and which snapshot is being installed ([`INSTALLING`]).
    Meta = 1,
    /// Sessions by id.
    Session = 2,
    /// Session ids by deadline.
    Deadline = 3,
    /// Identities that were removed from the group.
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

/// The key in [`Space::Meta`] of [`crate::meta::Meta`].
pub(crate) const META: &[u8] = b"";
/// The key in [`Space::Meta`] of [`crate::meta::Installing`].
pub(crate) const INSTALLING: &[u8] = b"installing";

/// The first key after a space of a group.
pub(crate) fn end(group: GroupId, space: Space) -> [u8; 9] {
    let mut key = prefix(group, space);
    key[8] += 1;
    key
}

/// A key in a space of a group.
pub(crate) fn key(group: GroupId, space: Space, rest: &[u8]) -> Bytes {
    let mut key = BytesMut::with_capacity(9 + rest.len());
    key.put_slice(&prefix(group, space));
    key.put_slice(rest);
    key.freeze()
}

/// The key of a number in a space of a group; keys sort as the numbers do.
pub(crate) fn number(group: GroupId, space: Space, number: u64) -> Bytes {
    key(group, space, &number.to_be_bytes())
}

/// The first key that a group could have.
pub(crate) fn first(group: GroupId) -> [u8; 8] {
    group.to_be_bytes()
}
