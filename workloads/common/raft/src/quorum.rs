//! What a majority, or both majorities of a joint configuration, agree on (paper, section 6).

use std::collections::BTreeSet;

use crate::planted::planted;
use crate::types::{Configuration, MemberId};

/// How a vote stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Won,
    Lost,
    Open,
}

impl Configuration {
    /// Whether two majorities must agree.
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether the member votes, in either half.
    pub fn is_voter(&self, id: MemberId) -> bool {
        self.voters.contains(&id) || self.outgoing.contains(&id)
    }

    /// Whether the member belongs to the group, as a voter or a learner.
    pub fn contains(&self, id: MemberId) -> bool {
        self.is_voter(id) || self.learners.contains(&id)
    }

    /// Everyone, each once, in order.
    pub fn members(&self) -> BTreeSet<MemberId> {
        self.voters
            .iter()
            .chain(&self.outgoing)
            .chain(&self.learners)
            .copied()
            .collect()
    }

    /// The sets of which a majority each must agree.
    fn halves(&self) -> impl Iterator<Item = &BTreeSet<MemberId>> {
        let new_only = planted!(JointCountsOneHalf);
        let old = Some(&self.outgoing).filter(|old| !old.is_empty() && !new_only);
        std::iter::once(&self.voters).chain(old)
    }

    /// The highest value that a quorum has reached; `None` when there are no voters.
    pub(crate) fn reached<T: Ord + Copy>(&self, value: impl Fn(MemberId) -> T) -> Option<T> {
        let mut lowest: Option<T> = None;
        for half in self.halves() {
            let mut values: Vec<T> = half.iter().map(|id| value(*id)).collect();
            values.sort_unstable_by(|a, b| b.cmp(a));
            // In descending order, as many as stand up to and including this place make a majority.
            let reached = *values.get(half.len() / 2)?;
            lowest = Some(lowest.map_or(reached, |other| other.min(reached)));
        }
        lowest
    }

    /// How a vote stands: won when each half has a majority for it, lost when one can no longer get it.
    pub(crate) fn tally(&self, vote: impl Fn(MemberId) -> Option<bool>) -> Outcome {
        let mut outcome = Outcome::Won;
        for half in self.halves() {
            let majority = half.len() / 2 + 1;
            let (mut yes, mut no) = (0, 0);
            for id in half {
                match vote(*id) {
                    Some(true) => yes += 1,
                    Some(false) => no += 1,
                    None => {}
                }
            }
            if no > half.len() - majority.min(half.len()) {
                return Outcome::Lost;
            }
            if yes < majority {
                outcome = Outcome::Open;
            }
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn set(bits: u8) -> BTreeSet<MemberId> {
        (0..7)
            .filter(|bit| bits & (1 << bit) != 0)
            .map(MemberId)
            .collect()
    }

    fn is_quorum(configuration: &Configuration, yes: &BTreeSet<MemberId>) -> bool {
        let majority = |half: &BTreeSet<MemberId>| half.intersection(yes).count() * 2 > half.len();
        majority(&configuration.voters)
            && (configuration.outgoing.is_empty() || majority(&configuration.outgoing))
    }

    proptest! {
        /// Against the definition: the highest value that some quorum has reached.
        #[test]
        fn reached_is_the_highest_value_of_a_quorum(
            voters in 0u8..128, outgoing in 0u8..128, values in prop::collection::vec(0u64..5, 7),
        ) {
            let configuration =
                Configuration { voters: set(voters), outgoing: set(outgoing), ..Configuration::default() };
            let naive = (0..5u64)
                .rev()
                .find(|least| {
                    let yes = (0..7).filter(|i| values[*i as usize] >= *least).map(MemberId).collect();
                    is_quorum(&configuration, &yes)
                });
            prop_assert_eq!(configuration.reached(|id| values[id.0 as usize]), naive);
        }

        /// Against the definition: won by a quorum, lost when all who are silent would not make one. A configuration
        /// has voters, joint or not.
        #[test]
        fn tally_is_won_or_lost_when_nothing_can_change_it(
            voters in 1u8..128, outgoing in 0u8..128,
            votes in prop::collection::btree_map(0u64..7, any::<bool>(), 0..7),
        ) {
            let configuration =
                Configuration { voters: set(voters), outgoing: set(outgoing), ..Configuration::default() };
            let votes: BTreeMap<MemberId, bool> = votes.into_iter().map(|(id, v)| (MemberId(id), v)).collect();
            let yes: BTreeSet<MemberId> = votes.iter().filter(|(_, v)| **v).map(|(id, _)| *id).collect();
            let hope: BTreeSet<MemberId> =
                (0..7).map(MemberId).filter(|id| votes.get(id) != Some(&false)).collect();
            let naive = if is_quorum(&configuration, &yes) {
                Outcome::Won
            } else if is_quorum(&configuration, &hope) {
                Outcome::Open
            } else {
                Outcome::Lost
            };
            prop_assert_eq!(configuration.tally(|id| votes.get(&id).copied()), naive);
        }

        /// Two quorums of one configuration meet; so do one of a joint configuration and one of either half.
        #[test]
        fn quorums_meet(voters in 1u8..128, outgoing in 0u8..128, a in 0u8..128, b in 0u8..128) {
            let joint = Configuration { voters: set(voters), outgoing: set(outgoing), ..Configuration::default() };
            let new = Configuration { voters: set(voters), ..Configuration::default() };
            let (a, b) = (set(a), set(b));
            if is_quorum(&joint, &a) && is_quorum(&new, &b) {
                prop_assert!(a.intersection(&b).next().is_some());
            }
        }
    }

    #[test]
    fn nobody_is_no_quorum() {
        let empty = Configuration::default();
        assert_eq!(empty.reached(|_| 1), None);
        assert_eq!(empty.tally(|_| Some(true)), Outcome::Open);
    }
}
