//! The safety properties of Raft (paper, figure 3), checked on all members at every step.

use std::collections::{BTreeMap, BTreeSet};

use quorate_group_core::{PeerBody, PeerMessage, Record};
use quorate_raft::{Body, Configuration, Entry, Index, MemberId, Payload, Raft, Role, Term};

use crate::raft::counters::{Counters, Reached};
use crate::raft::trace::fingerprint;

/// What is known of the group's logs, of all members in all their lives.
#[derive(Debug, Default)]
pub struct Protocol {
    leaders: BTreeMap<Term, MemberId>,
    votes: BTreeMap<(Term, MemberId), MemberId>,
    /// Content and the term before it, of every entry that was ever in a log.
    entries: BTreeMap<(Index, Term), (u64, Term)>,
    /// Who ever had an entry durably.
    holders: BTreeMap<(Index, Term), BTreeSet<MemberId>>,
    /// Up to where a member's durable state came from a snapshot.
    snapshots: BTreeMap<MemberId, Index>,
    /// Term of each committed entry, and the term in which it was committed first.
    committed: Vec<(Term, Term)>,
    seen: BTreeMap<MemberId, Seen>,
    latest_leader: Option<MemberId>,
}

/// A member when it was last looked at.
#[derive(Clone, Debug)]
struct Seen {
    role: Role,
    term: Term,
    last: Index,
    commit: Index,
    applied: Index,
    full: bool,
    configuration: Configuration,
    configuration_index: Index,
}

impl Protocol {
    /// How many entries are committed.
    pub fn committed(&self) -> Index {
        self.committed.len() as Index
    }

    /// A member put records into its log.
    pub fn logged(&mut self, raft: &Raft, records: &[Record], counters: &mut Counters) {
        for record in records {
            let Record::Entries { entries, .. } = record else {
                continue;
            };
            let Some(first) = entries.first() else {
                continue;
            };
            if let Some(seen) = self.seen.get_mut(&raft.id()) {
                let leads = seen.role == Role::Leader
                    && raft.role() == Role::Leader
                    && seen.term == raft.term();
                assert!(
                    !leads || first.index > seen.last,
                    "leader append-only: {} overwrote {}",
                    raft.id(),
                    first.index
                );
                if first.index <= seen.last {
                    counters.hit(Reached::ConflictTruncated);
                    if first.index <= seen.configuration_index {
                        counters.hit(Reached::ConfigurationRolledBack);
                    }
                }
                seen.last = first.index - 1;
            }
            let mut before = raft.term_at(first.index - 1);
            for entry in entries {
                self.entry(entry, before);
                before = Some(entry.term);
            }
        }
    }

    /// Two entries of one place and term are the same, and so is all before them (by induction over the one before).
    fn entry(&mut self, entry: &Entry, before: Option<Term>) {
        let content = content(&entry.payload);
        let place = (entry.index, entry.term);
        let Some(before) = before.or_else(|| self.entries.get(&place).map(|(_, before)| *before))
        else {
            return;
        };
        let known = *self.entries.entry(place).or_insert((content, before));
        assert!(
            known == (content, before),
            "log matching: two entries at {place:?}"
        );
    }

    /// A member's entries are durable.
    pub fn durable(&mut self, member: MemberId, entries: &[(Index, Term)]) {
        for place in entries {
            self.holders.entry(*place).or_default().insert(member);
        }
    }

    /// A member's durable state is a snapshot's.
    pub fn installed(&mut self, member: MemberId, index: Index) {
        assert!(
            index <= self.committed(),
            "state machine safety: a snapshot at {index} holds what is not committed"
        );
        self.snapshots.insert(member, index);
    }

    /// A member sends something.
    pub fn sent(&mut self, from: MemberId, to: MemberId, message: &PeerMessage) {
        if let PeerBody::Raft(message) = &message.body
            && let Body::VoteReply {
                pre: false,
                granted: true,
            } = message.body
        {
            self.vote(message.term, from, to);
        }
    }

    fn vote(&mut self, term: Term, voter: MemberId, candidate: MemberId) {
        let voted = *self.votes.entry((term, voter)).or_insert(candidate);
        assert!(
            voted == candidate,
            "election safety: {voter} voted for {voted} and {candidate} in term {term}"
        );
    }

    /// A member ended a round.
    pub fn observe(&mut self, raft: &Raft, counters: &mut Counters) {
        let id = raft.id();
        let before = self.seen.get(&id).cloned();
        if let Some(before) = &before {
            assert!(
                raft.term() >= before.term,
                "{id} went back from term {} to {}",
                before.term,
                raft.term()
            );
            assert!(
                raft.commit() >= before.commit,
                "{id} took back what was committed"
            );
            check_own_term(raft, before);
            check_bound(raft, before, counters);
        }
        let was_leader = before
            .as_ref()
            .is_some_and(|seen| seen.role == Role::Leader && seen.term == raft.term());
        if raft.role() == Role::Leader && !was_leader {
            self.elected(raft, counters);
        }
        let configuration = before.as_ref().map(|seen| seen.configuration_index);
        if configuration != Some(raft.configuration_index()) {
            self.configured(raft);
        }
        self.advance(raft, before.as_ref());
        self.changed(raft, before.as_ref(), counters);
        let seen = Seen {
            role: raft.role(),
            term: raft.term(),
            last: raft.last_index(),
            commit: raft.commit(),
            applied: raft.applied(),
            full: raft.is_full(),
            configuration: raft.configuration().clone(),
            configuration_index: raft.configuration_index(),
        };
        self.seen.insert(id, seen);
    }

    /// The configuration in force is that of the entry at its index: it goes when its entry is truncated.
    fn configured(&self, raft: &Raft) {
        let index = raft.configuration_index();
        let committed = self.committed.get((index as usize).wrapping_sub(1));
        let term = raft.term_at(index).or(committed.map(|(term, _)| *term));
        let entry = term.and_then(|term| self.entries.get(&(index, term)));
        if let Some((known, _)) = entry {
            let in_force = Payload::Configuration(raft.configuration().clone());
            assert!(
                *known == content(&in_force),
                "configurations: {} goes by {in_force:?}, which is not what stands at {index}",
                raft.id()
            );
        }
    }

    /// A member starts again: its commit index and its un-synced log may be less than they were. What it found is
    /// durable; before `start` its state stands for the log.
    pub fn restarted(&mut self, member: MemberId, entries: &[(Index, Term)], start: Index) {
        self.seen.remove(&member);
        self.durable(member, entries);
        let snapshot = self.snapshots.entry(member).or_default();
        *snapshot = start.max(*snapshot);
    }

    fn elected(&mut self, raft: &Raft, counters: &mut Counters) {
        let (id, term) = (raft.id(), raft.term());
        let leader = *self.leaders.entry(term).or_insert(id);
        assert!(
            leader == id,
            "election safety: {leader} and {id} lead term {term}"
        );
        self.vote(term, id, id);
        if self
            .latest_leader
            .replace(id)
            .is_some_and(|latest| latest != id)
        {
            counters.hit(Reached::LeaderChange);
        }
        for (at, (entry, committed_in)) in self
            .committed
            .iter()
            .enumerate()
            .skip(raft.log_start().index as usize)
        {
            let index = at as Index + 1;
            assert!(
                *committed_in >= term || raft.term_at(index) == Some(*entry),
                "leader completeness: {id} leads term {term} without entry {index}, committed in term {committed_in}"
            );
        }
    }

    fn advance(&mut self, raft: &Raft, before: Option<&Seen>) {
        let from = before.map_or(raft.log_start().index, |seen| {
            seen.commit.max(raft.log_start().index)
        });
        for index in from + 1..=raft.commit() {
            let term = raft.term_at(index);
            assert!(
                term.is_some(),
                "{} committed {index}, which it does not have",
                raft.id()
            );
            let term = term.unwrap_or_default();
            match self.committed.get(index as usize - 1) {
                Some((committed, _)) => assert!(
                    *committed == term,
                    "state machine safety: {} commits {index} of term {term}, others of {committed}",
                    raft.id()
                ),
                None => {
                    assert!(
                        index == self.committed() + 1,
                        "{} commits {index} before what precedes it",
                        raft.id()
                    );
                    self.committed.push((term, raft.term()));
                    self.check_quorum(raft, before, index, term);
                }
            }
        }
    }

    /// What is committed is durable on a majority of some configuration that was in force: nothing is acknowledged
    /// on a promise.
    fn check_quorum(&self, raft: &Raft, before: Option<&Seen>, index: Index, term: Term) {
        let now = raft.configuration();
        let held = self.is_held(now, index, term)
            || before.is_some_and(|seen| self.is_held(&seen.configuration, index, term));
        assert!(
            held,
            "durability: {} commits {index} of term {term}, which no quorum has on its disks",
            raft.id()
        );
    }

    fn is_held(&self, configuration: &Configuration, index: Index, term: Term) -> bool {
        let holders = self.holders.get(&(index, term));
        let has = |member: &&MemberId| {
            holders.is_some_and(|holders| holders.contains(*member))
                || self
                    .snapshots
                    .get(*member)
                    .is_some_and(|snapshot| *snapshot >= index)
        };
        let majority = |half: &BTreeSet<MemberId>| {
            half.is_empty() || half.iter().filter(has).count() > half.len() / 2
        };
        majority(&configuration.voters) && majority(&configuration.outgoing)
    }

    /// Counts what became of configurations at the leader.
    fn changed(&self, raft: &Raft, before: Option<&Seen>, counters: &mut Counters) {
        let Some(before) =
            before.filter(|seen| seen.configuration_index < raft.configuration_index())
        else {
            return;
        };
        if raft.role() != Role::Leader {
            return;
        }
        let (old, new) = (&before.configuration, raft.configuration());
        match (old.is_joint(), new.is_joint()) {
            (false, true) => counters.hit(Reached::JointEntered),
            (true, false) => {
                counters.hit(Reached::JointLeft);
                if !new.is_voter(raft.id()) {
                    counters.hit(Reached::LeaderLeft);
                }
            }
            _ => {}
        }
        let (learners, members) = (&old.learners, old.contacts.keys());
        if new
            .learners
            .difference(learners)
            .any(|id| !old.contacts.contains_key(id))
        {
            counters.hit(Reached::LearnerAdded);
        }
        if !new.is_joint()
            && old.is_joint()
            && new.voters.difference(&old.outgoing).next().is_some()
        {
            counters.hit(Reached::Promoted);
        }
        if members.into_iter().any(|id| !new.contacts.contains_key(id)) {
            counters.hit(Reached::Removed);
        }
    }
}

/// A leader commits by counting only what is of its own term (paper, section 5.4.2).
fn check_own_term(raft: &Raft, before: &Seen) {
    let stood = matches!(before.role, Role::Candidate | Role::Leader);
    let counts = raft.role() == Role::Leader && stood && before.term == raft.term();
    // A snapshot shows what is committed too; then the log begins with it.
    let counted = raft.commit() > before.commit.max(raft.log_start().index);
    assert!(
        !(counts && counted) || raft.term_at(raft.commit()) == Some(raft.term()),
        "old-term commit: {} counts {} in term {}, which is of term {:?}",
        raft.id(),
        raft.commit(),
        raft.term(),
        raft.term_at(raft.commit())
    );
}

/// A follower that has not applied as much as it may hold takes nothing in.
fn check_bound(raft: &Raft, before: &Seen, counters: &mut Counters) {
    let follows = before.role == Role::Follower && raft.role() == Role::Follower;
    if !follows || !before.full || before.applied != raft.applied() {
        return;
    }
    counters.hit(Reached::FollowerFull);
    assert!(
        raft.last_index() <= before.last,
        "memory: {} takes in {} while it cannot apply {}",
        raft.id(),
        raft.last_index(),
        raft.commit()
    );
}

fn content(payload: &Payload) -> u64 {
    match payload {
        Payload::Empty => 1,
        Payload::Command(command) => fingerprint(command),
        Payload::Configuration(configuration) => {
            fingerprint(format!("{configuration:?}").as_bytes())
        }
    }
}
