//! Which segments of the log are still needed: of each segment the highest index of each group in it.

use std::collections::BTreeMap;

use quorate_raft::Index;

use crate::types::GroupId;

/// The index over all segments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogIndex {
    segments: BTreeMap<u64, BTreeMap<GroupId, Index>>,
}

impl LogIndex {
    /// Entries of a group up to `index` lie in the segment.
    pub(crate) fn note(&mut self, segment: u64, group: GroupId, index: Index) {
        let highest = self
            .segments
            .entry(segment)
            .or_default()
            .entry(group)
            .or_default();
        *highest = (*highest).max(index);
    }

    /// The segment exists (and perhaps holds no entries); true when that is new.
    pub(crate) fn touch(&mut self, segment: u64) -> bool {
        let before = self.segments.len();
        self.segments.entry(segment).or_default();
        self.segments.len() > before
    }

    /// How many segments there are.
    pub(crate) fn len(&self) -> usize {
        self.segments.len()
    }

    /// The first segment that is needed when each group's log begins after `start(group)`. Segments go in order,
    /// and the newest stays: the log is being written there.
    pub(crate) fn first_needed(&self, start: impl Fn(GroupId) -> Index) -> Option<u64> {
        let newest = self.segments.keys().next_back()?;
        let needed = |groups: &BTreeMap<GroupId, Index>| {
            groups.iter().any(|(group, index)| *index > start(*group))
        };
        let first = self
            .segments
            .iter()
            .find(|(segment, groups)| *segment == newest || needed(groups));
        first.map(|(segment, _)| *segment)
    }

    /// The groups that need the oldest segment, and up to which index.
    pub(crate) fn holders(&self, start: impl Fn(GroupId) -> Index) -> Vec<(GroupId, Index)> {
        let oldest = self.segments.first_key_value().map(|(_, groups)| groups);
        let held = oldest
            .into_iter()
            .flatten()
            .filter(|(group, index)| **index > start(**group));
        held.map(|(group, index)| (*group, *index)).collect()
    }

    /// Forgets segments; false when there were none.
    pub(crate) fn drop_below(&mut self, segment: u64) -> bool {
        let kept = self.segments.split_off(&segment);
        !std::mem::replace(&mut self.segments, kept).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_goes_when_no_group_needs_it_and_none_before_it_stays() {
        let mut index = LogIndex::default();
        assert_eq!(index.first_needed(|_| 0), None);
        index.note(1, 1, 10);
        index.note(1, 2, 3);
        index.note(2, 1, 20);
        index.note(3, 1, 30);
        index.note(3, 1, 15);
        assert_eq!(
            index.first_needed(|group| if group == 1 { 20 } else { 2 }),
            Some(1)
        );
        assert_eq!(
            index.holders(|group| if group == 1 { 20 } else { 2 }),
            [(2, 3)]
        );
        assert_eq!(
            index.first_needed(|group| if group == 1 { 20 } else { 3 }),
            Some(3)
        );
        assert_eq!(index.first_needed(|_| 99), Some(3), "the newest stays");
        assert!(index.drop_below(3));
        assert!(!index.drop_below(3));
        assert_eq!(index.len(), 1);
    }
}
