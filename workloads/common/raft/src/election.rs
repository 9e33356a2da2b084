//! Elections: pre-vote, vote, and the shield that voters hold over a leader they hear (paper, sections 5.2 and
//! 5.4.1; thesis, sections 4.2.3, 6.2 and 9.6).

use crate::planted::planted;
use crate::quorum::Outcome;
use crate::state::{Gate, Leader, Raft, RoleState, Votes};
use crate::status::{Ignored, Role};
use crate::types::*;

/// A request for a vote, without who asks in which term.
pub(crate) struct VoteRequest {
    pub(crate) pre: bool,
    pub(crate) last: Position,
}

impl Raft {
    /// A new timeout, drawn anew each time (paper, section 5.2).
    pub(crate) fn arm_election(&mut self) {
        let base = self.config.election_timeout;
        let spread = u64::try_from(base.as_nanos()).unwrap_or(u64::MAX).max(1);
        self.election_deadline = self.now + base + Now::from_nanos(self.rng.u64(0..spread));
    }

    /// Whether a leader is known to be there: its voters refuse to replace it.
    pub(crate) fn hears_leader(&self) -> bool {
        match self.role {
            RoleState::Leader(_) => true,
            _ => {
                self.leader.is_some() && self.now < self.leader_heard + self.config.election_timeout
            }
        }
    }

    /// No leader was heard for a whole timeout.
    pub(crate) fn on_election_timeout(&mut self) {
        self.arm_election();
        self.set_leader(None);
        if self.configurations.may_stand(self.config.id) {
            self.ask_whether_electable();
        } else {
            self.role = RoleState::Follower;
        }
    }

    /// Asks for votes without a new term: a member that cannot win (cut off, behind, removed) disturbs nobody.
    fn ask_whether_electable(&mut self) {
        self.role = RoleState::PreCandidate(Votes::from([(self.config.id, true)]));
        self.ask_for_votes(self.vote.term + 1, true, false);
        self.count_votes();
    }

    /// Stands for election in a new term. `transfer`: on the leader's word.
    pub(crate) fn stand(&mut self, transfer: bool) {
        self.vote = Vote {
            term: self.vote.term + 1,
            voted_for: Some(self.config.id),
        };
        self.disk.vote_changed();
        self.role = RoleState::Candidate(Votes::new());
        self.ack = None;
        self.echoed = 0;
        self.set_leader(None);
        self.arm_election();
        self.ask_for_votes(self.vote.term, false, transfer);
    }

    fn ask_for_votes(&mut self, term: Term, pre: bool, transfer: bool) {
        let last = self.log.last();
        // A real request claims a log and a vote, so both must be on disk: after a crash this member could stand
        // in the same term again with a shorter log, and be elected by answers that were given to the longer one.
        let gate = if pre { Gate::None } else { Gate::AllWritten };
        let me = self.config.id;
        let others: Vec<MemberId> = {
            let configuration = self.configurations.in_force();
            configuration
                .voters
                .union(&configuration.outgoing)
                .copied()
                .filter(|id| *id != me)
                .collect()
        };
        for to in others {
            let body = Body::RequestVote {
                pre,
                last_index: last.index,
                last_term: last.term,
                transfer,
            };
            self.send_message(to, Message { term, body }, gate);
        }
    }

    /// Looks whether the election is decided.
    pub(crate) fn count_votes(&mut self) {
        let me = self.config.id;
        let own_is_durable = self.disk.vote_is_durable();
        let configuration = self.configurations.in_force();
        match &self.role {
            RoleState::PreCandidate(votes) => {
                match configuration.tally(|id| votes.get(&id).copied()) {
                    Outcome::Won => self.stand(false),
                    Outcome::Lost => self.role = RoleState::Follower,
                    Outcome::Open => {}
                }
            }
            // A candidate's own vote counts like any other: when it is durable.
            RoleState::Candidate(votes) => {
                let vote = |id| {
                    if id == me {
                        own_is_durable.then_some(true)
                    } else {
                        votes.get(&id).copied()
                    }
                };
                match configuration.tally(vote) {
                    Outcome::Won => self.become_leader(),
                    Outcome::Lost => self.role = RoleState::Follower,
                    Outcome::Open => {}
                }
            }
            RoleState::Follower | RoleState::Leader(_) => {}
        }
    }

    fn become_leader(&mut self) {
        assert_eq!(self.role(), Role::Candidate, "only a candidate is elected");
        assert_eq!(
            self.vote.voted_for,
            Some(self.config.id),
            "a leader voted for itself"
        );
        let first = self.log.last_index() + 1;
        self.role = RoleState::Leader(Box::new(Leader::new(
            first,
            self.now + self.config.heartbeat_interval,
            self.led_before(),
        )));
        self.set_leader(Some(self.config.id));
        self.sync_members();
        if let RoleState::Leader(leader) = &mut self.role {
            for progress in leader.progress.values_mut() {
                progress.heard = Some(self.now);
            }
        }
        // Commits what earlier terms left behind, and tells where the log stands (paper, sections 5.4.2 and 8).
        if !planted!(OldTermCommit) {
            self.append(Payload::Empty);
        }
    }

    /// Follows `leader`, or nobody yet, in `term`.
    pub(crate) fn become_follower(&mut self, term: Term, leader: Option<MemberId>) {
        assert!(term >= self.vote.term, "terms never fall");
        if term > self.vote.term {
            self.vote = Vote {
                term,
                voted_for: None,
            };
            self.disk.vote_changed();
            self.ack = None;
            self.echoed = 0;
        }
        let before = std::mem::replace(&mut self.role, RoleState::Follower);
        if !matches!(before, RoleState::Follower) {
            self.arm_election();
        }
        self.set_leader(leader);
        if let RoleState::Leader(leader) = before {
            self.refuse_reads(leader.reads);
        }
    }

    /// Who leads, as far as this member knows.
    pub(crate) fn set_leader(&mut self, leader: Option<MemberId>) {
        if leader == self.leader {
            return;
        }
        self.leader = leader;
        self.refuse_forwarded_reads();
        self.transfer_sees_leader();
    }

    pub(crate) fn on_request_vote(&mut self, from: MemberId, term: Term, request: &VoteRequest) {
        let VoteRequest { pre, last } = *request;
        if pre && self.hears_leader() {
            return self.ignore(Ignored::LeaderHeard);
        }
        // Membership is not looked at: a member may be asked before it has seen the entry that makes it, or the
        // candidate, a voter (thesis, section 4.2.2).
        let free = self.vote.voted_for.is_none() && self.leader.is_none();
        let may = (pre && term > self.vote.term) || self.vote.voted_for == Some(from) || free;
        if !may || !self.log.is_at_most(last) {
            return self.send_message(
                from,
                self.vote_reply(self.vote.term, pre, false),
                Gate::None,
            );
        }
        if pre {
            return self.send_message(from, self.vote_reply(term, pre, true), Gate::None);
        }
        if self.vote.voted_for != Some(from) {
            self.vote.voted_for = Some(from);
            self.disk.vote_changed();
        }
        self.role = RoleState::Follower;
        self.arm_election();
        let durable = self.disk.vote_is_durable() || planted!(VoteBeforeSync);
        let gate = if durable {
            Gate::None
        } else {
            Gate::AllWritten
        };
        self.send_message(from, self.vote_reply(term, pre, true), gate);
    }

    pub(crate) fn vote_reply(&self, term: Term, pre: bool, granted: bool) -> Message {
        Message {
            term,
            body: Body::VoteReply { pre, granted },
        }
    }

    pub(crate) fn on_vote_reply(&mut self, from: MemberId, term: Term, pre: bool, granted: bool) {
        let asked_in = self.vote.term + u64::from(pre && granted);
        if term != asked_in {
            return self.ignore(Ignored::Stale);
        }
        let votes = match &mut self.role {
            RoleState::PreCandidate(votes) if pre => votes,
            RoleState::Candidate(votes) if !pre => votes,
            _ => return self.ignore(Ignored::Stale),
        };
        votes.entry(from).or_insert(granted);
        self.count_votes();
    }

    /// A leader that has not heard a majority within an election timeout cannot know that it still leads; clients
    /// are better served elsewhere (thesis, section 6.2).
    pub(crate) fn check_quorum(&mut self) {
        let heard = self.configurations.in_force().reached(|id| self.heard(id));
        let alive = heard
            .flatten()
            .is_some_and(|heard| self.now < heard + self.config.election_timeout);
        if !alive {
            self.become_follower(self.vote.term, None);
        }
    }
}
