//! How the configuration changes (paper, section 6; thesis, chapter 4).

use std::collections::{BTreeMap, BTreeSet};

use crate::io::{Change, Effect, Refusal};
use crate::planted::planted;
use crate::state::{Raft, RoleState};
use crate::types::*;

/// The configuration after `change`, and before the joint one is left; the checks that need no log.
fn changed(current: &Configuration, change: &Change) -> Result<Configuration, Refusal> {
    let mut next = current.clone();
    match change {
        Change::AddLearner(id, contact) => {
            if current.contains(*id) {
                return Err(Refusal::AlreadyMember(*id));
            }
            next.learners.insert(*id);
            next.contacts.insert(*id, contact.clone());
        }
        Change::Reconfigure { promote, remove } => {
            if let Some(voter) = promote.iter().find(|id| current.voters.contains(id)) {
                return Err(Refusal::AlreadyVoter(*voter));
            }
            let stranger = promote
                .iter()
                .find(|id| !current.learners.contains(id) || remove.contains(id))
                .or_else(|| remove.iter().find(|id| !current.contains(**id)));
            if let Some(stranger) = stranger {
                return Err(Refusal::NoSuchMember(*stranger));
            }
            next.voters.extend(promote);
            next.voters.retain(|id| !remove.contains(id));
            next.learners
                .retain(|id| !remove.contains(id) && !promote.contains(id));
            if !planted!(ChangeWithoutJoint) {
                next.outgoing = current.voters.clone();
            }
            keep_contacts(&mut next);
        }
    }
    Ok(next)
}

/// Both halves agreed: the new half goes on alone.
fn left(joint: &Configuration) -> Configuration {
    let mut next = joint.clone();
    next.outgoing.clear();
    keep_contacts(&mut next);
    next
}

fn keep_contacts(configuration: &mut Configuration) {
    let members: BTreeSet<MemberId> = configuration.members();
    let contacts: &mut BTreeMap<MemberId, Contact> = &mut configuration.contacts;
    contacts.retain(|id, _| members.contains(id));
}

impl Raft {
    pub(crate) fn change(&mut self, ticket: Ticket, expected: Index, change: &Change) {
        match self.judge(expected, change) {
            Ok(next) => {
                let index = self.append(Payload::Configuration(next));
                self.out.push(Effect::Proposed {
                    ticket,
                    index,
                    term: self.vote.term,
                });
            }
            Err(reason) => self.out.push(Effect::Refused { ticket, reason }),
        }
    }

    /// Whether a change may be begun now. One at a time, and only by a leader that has committed an entry of its
    /// term: two changes of which each is safe alone are not when neither sees the other (Ongaro, "bug in
    /// single-server membership changes", raft-dev 2015).
    fn judge(&self, expected: Index, change: &Change) -> Result<Configuration, Refusal> {
        if self.leader_state().is_none() {
            return Err(Refusal::NotLeader(self.leader));
        }
        if self.transfer.is_some() || !self.is_voter() {
            return Err(Refusal::Transferring);
        }
        let in_force = self.configurations.index();
        if expected != in_force {
            return Err(Refusal::Outdated {
                expected,
                actual: in_force,
            });
        }
        if !planted!(ChangeBeforeFirstCommit) {
            if !self.is_ready() {
                return Err(Refusal::NotReady);
            }
            if self.is_joint() || !self.configuration_committed() {
                return Err(Refusal::ChangeInProgress(in_force));
            }
        }
        let next = changed(self.configuration(), change)?;
        if let Change::Reconfigure { promote, .. } = change {
            for id in promote {
                self.check_caught_up(*id)?;
                // In a young group the bound alone would let a member in that was never there.
                if !self.is_active(*id) {
                    return Err(self.lagging(*id));
                }
            }
            self.check_health(&next)?;
        }
        Ok(next)
    }

    /// Refuses who is more than the lag bound behind.
    pub(crate) fn check_caught_up(&self, member: MemberId) -> Result<(), Refusal> {
        let lag = self.log.last_index().saturating_sub(self.matched(member));
        if lag > self.config.lag_bound {
            return Err(self.lagging(member));
        }
        Ok(())
    }

    fn lagging(&self, member: MemberId) -> Refusal {
        let matched = self.matched(member);
        Refusal::Lagging {
            member,
            matched,
            lag: self.log.last_index().saturating_sub(matched),
        }
    }

    /// New voters must be able to commit without waiting for one that is down or far behind: once the joint
    /// configuration is left, the old half helps no more.
    fn check_health(&self, next: &Configuration) -> Result<(), Refusal> {
        let healthy = next
            .voters
            .iter()
            .filter(|id| self.is_active(**id) && self.check_caught_up(**id).is_ok())
            .count();
        let voters = next.voters.len();
        let changes_voters = next.voters != self.configuration().voters;
        if voters == 0 || (changes_voters && healthy <= voters / 2) {
            return Err(Refusal::WouldLoseQuorum { voters, healthy });
        }
        Ok(())
    }

    /// What a leader owes a committed configuration: to leave it when it is joint (a new leader that finds itself
    /// in one too), and to leave office when it is not in it (thesis, section 4.2.2).
    pub(crate) fn settle_configuration(&mut self) {
        if !self.is_ready() || !self.configuration_committed() {
            return;
        }
        if self.is_joint() {
            let next = left(self.configuration());
            self.append(Payload::Configuration(next));
        } else if !self.is_voter() {
            if let Some(heir) = self.best_voter() {
                self.send(heir, Body::TimeoutNow);
            }
            self.become_follower(self.vote.term, None);
        }
    }

    /// Entries go to exactly the members of the configuration in force.
    pub(crate) fn sync_members(&mut self) {
        let next = self.log.last_index() + 1;
        let members = self.configurations.in_force().members();
        let me = self.config.id;
        if let RoleState::Leader(leader) = &mut self.role {
            leader.progress.retain(|id, _| members.contains(id));
            for id in members.into_iter().filter(|id| *id != me) {
                leader
                    .progress
                    .entry(id)
                    .or_insert_with(|| crate::progress::Progress::new(next, None));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[u64]) -> BTreeSet<MemberId> {
        ids.iter().copied().map(MemberId).collect()
    }

    fn configuration(voters: &[u64], learners: &[u64]) -> Configuration {
        let mut configuration = Configuration {
            voters: ids(voters),
            learners: ids(learners),
            ..Configuration::default()
        };
        for id in configuration.members() {
            configuration.contacts.insert(id, Contact::default());
        }
        configuration
    }

    #[test]
    fn a_joint_configuration_keeps_who_leaves_until_it_is_left() {
        let change = Change::Reconfigure {
            promote: ids(&[4]),
            remove: ids(&[1, 5]),
        };
        let joint = changed(&configuration(&[1, 2, 3], &[4, 5]), &change).unwrap();
        assert_eq!(joint.voters, ids(&[2, 3, 4]));
        assert_eq!(joint.outgoing, ids(&[1, 2, 3]));
        assert_eq!(joint.learners, ids(&[]));
        assert_eq!(
            joint.contacts.keys().copied().collect::<BTreeSet<_>>(),
            ids(&[1, 2, 3, 4])
        );
        assert_eq!(left(&joint), configuration(&[2, 3, 4], &[]));
    }

    #[test]
    fn strangers_are_named() {
        let current = configuration(&[1, 2, 3], &[4]);
        let refusal = |promote: &[u64], remove: &[u64]| {
            changed(
                &current,
                &Change::Reconfigure {
                    promote: ids(promote),
                    remove: ids(remove),
                },
            )
            .unwrap_err()
        };
        assert_eq!(
            refusal(&[2], &[]),
            Refusal::AlreadyVoter(MemberId(2)),
            "a voter already"
        );
        assert_eq!(refusal(&[9], &[]), Refusal::NoSuchMember(MemberId(9)));
        assert_eq!(refusal(&[], &[9]), Refusal::NoSuchMember(MemberId(9)));
        assert_eq!(
            refusal(&[4], &[4]),
            Refusal::NoSuchMember(MemberId(4)),
            "promoted and removed at once"
        );
        let again = Change::AddLearner(MemberId(1), Contact::default());
        assert_eq!(
            changed(&current, &again).unwrap_err(),
            Refusal::AlreadyMember(MemberId(1))
        );
    }
}
