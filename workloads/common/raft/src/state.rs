//! What one group's core is made of; the other modules say what becomes of it.

use std::collections::BTreeMap;

use crate::config::Config;
use crate::configurations::Configurations;
use crate::disk::Disk;
use crate::io::Effect;
use crate::log::Log;
use crate::progress::Progress;
use crate::readers::{ForwardedReads, LeaderReads};
use crate::status::{Ignored, Role};
use crate::tenure::Tenure;
use crate::types::*;

/// Terms and indexes of peers beyond this are taken as damage, so that no sum can overflow.
pub(crate) const LIMIT: u64 = 1 << 62;

/// The consensus core of one group, as one state machine.
///
/// The shell takes in what is at hand with [`Raft::step`], as much of it as there is, and ends the round with
/// [`Raft::flush`]. `step` gives out only what needs no disk and no network: answers to requests. `flush` gives
/// out, for everything taken in since the last one, at most one [`Effect::Write`], then the messages, then what
/// is committed. So proposals that come together share one write, one append per member and one acknowledgement.
/// Without `flush` nothing is written, sent or committed; before [`Raft::deadline`] it may come as late as the
/// shell likes.
pub struct Raft {
    pub(crate) config: Config,
    pub(crate) now: Now,
    pub(crate) rng: fastrand::Rng,
    pub(crate) vote: Vote,
    pub(crate) log: Log,
    pub(crate) disk: Disk,
    pub(crate) configurations: Configurations,
    /// Committed, handed out by [`Effect::Apply`], reported by [`Input::Applied`]: each at most the one before.
    pub(crate) commit: Index,
    pub(crate) handed_out: Index,
    pub(crate) applied: Index,
    pub(crate) role: RoleState,
    /// The leader of this term, when known; this member itself when it leads.
    pub(crate) leader: Option<MemberId>,
    pub(crate) leader_heard: Now,
    pub(crate) tenure: Tenure,
    pub(crate) election_deadline: Now,
    pub(crate) forwarded: ForwardedReads,
    pub(crate) transfer: Option<Transfer>,
    /// The acknowledgement that this round will send.
    pub(crate) ack: Option<Ack>,
    /// The latest read round echoed in this term.
    pub(crate) echoed: u64,
    /// Messages that wait for the end of the round.
    pub(crate) outbox: Vec<(MemberId, Message, Gate)>,
    /// Effects not yet handed to the caller.
    pub(crate) out: Vec<Effect>,
    pub(crate) ignored: BTreeMap<Ignored, u64>,
    pub(crate) reported: Reported,
}

/// What a message rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// Nothing.
    None,
    /// Everything given to the disk so far, this round's write included.
    AllWritten,
}

/// The answers that a candidate has got.
pub(crate) type Votes = BTreeMap<MemberId, bool>;

pub(crate) enum RoleState {
    Follower,
    PreCandidate(Votes),
    Candidate(Votes),
    Leader(Box<Leader>),
}

/// What a leader knows, of this term alone.
pub(crate) struct Leader {
    pub(crate) progress: BTreeMap<MemberId, Progress>,
    /// The first entry of its term.
    pub(crate) first_index: Index,
    pub(crate) next_heartbeat: Now,
    /// For how long the group was led since the last command before its term.
    pub(crate) led: Now,
    pub(crate) heartbeat_due: bool,
    pub(crate) reads: LeaderReads,
}

impl Leader {
    pub(crate) fn new(first_index: Index, next_heartbeat: Now, led: Now) -> Self {
        let reads = LeaderReads::default();
        Self {
            progress: BTreeMap::new(),
            first_index,
            next_heartbeat,
            led,
            heartbeat_due: true,
            reads,
        }
    }
}

/// What [`Effect::Changed`] tells of.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Reported {
    pub(crate) role: Option<Role>,
    pub(crate) term: Term,
    pub(crate) leader: Option<MemberId>,
    pub(crate) configuration: Index,
    pub(crate) configuration_committed: bool,
    pub(crate) transferee: Option<MemberId>,
}

/// One acknowledgement for all appends of a round.
pub(crate) struct Ack {
    pub(crate) to: MemberId,
    /// The log agrees with the leader's up to here.
    pub(crate) matched: Index,
    pub(crate) round: u64,
    /// A heartbeat is among what is answered: the leader hears this member even while its disk is slow.
    pub(crate) prompt: bool,
}

/// A transfer that somebody waits for.
pub(crate) struct Transfer {
    pub(crate) ticket: Ticket,
    pub(crate) to: MemberId,
    pub(crate) deadline: Now,
    /// The successor was told to stand.
    pub(crate) told: bool,
}
