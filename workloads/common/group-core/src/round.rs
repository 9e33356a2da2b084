//! What all groups of a member share while a round of inputs is taken in: limits, marks, the round's log records and
//! messages.

use std::collections::BTreeMap;

use quorate_raft::{Contact, Index, LogStart, MemberId, Now, Ticket, WriteId};

use crate::ask::{Refused, Reply};
use crate::config::Config;
use crate::io::Effect;
use crate::message::{PeerBody, PeerMessage};
use crate::record::Record;
use crate::types::GroupId;
use crate::work::Task;

/// How many senders' addresses are remembered that no configuration holds.
const MAX_HEARD: usize = 1024;

/// Shared by all groups, for as long as the process lives.
#[derive(Debug)]
pub(crate) struct Shared {
    pub config: Config,
    pub id: MemberId,
    pub read_only: bool,
    pub load: Load,
    /// Marks requests towards the core and other members. Begins at random in each life: an answer meant for an
    /// earlier life finds nobody.
    next_mark: u64,
    /// Where senders say they are, for answers to those that no configuration here holds yet.
    heard: BTreeMap<MemberId, Contact>,
    /// The number of the [`Effect::Log`] that this round will give out if it writes anything.
    pub write: WriteId,
    pub records: Vec<Record>,
    pub sends: Vec<Effect>,
    /// What the disk was found to have lost in this round.
    pub lost: Option<String>,
}

/// What waits in all groups together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub requests: usize,
    pub bytes: usize,
}

impl Shared {
    pub(crate) fn new(config: Config, id: MemberId) -> Self {
        let next_mark = fastrand::Rng::with_seed(config.seed ^ id.0).u64(..) >> 1;
        Self {
            config,
            id,
            read_only: false,
            load: Load::default(),
            next_mark,
            heard: BTreeMap::new(),
            write: 1,
            records: Vec::new(),
            sends: Vec::new(),
            lost: None,
        }
    }

    pub(crate) fn mark(&mut self) -> u64 {
        self.next_mark += 1;
        self.next_mark
    }

    /// Takes a request of so many bytes in, or says which queue is full.
    pub(crate) fn admit(&mut self, bytes: usize) -> Result<(), Refused> {
        let Config {
            max_pending_requests,
            max_pending_bytes,
            ..
        } = self.config;
        if self.load.requests >= max_pending_requests {
            return Err(Refused::Busy(format!(
                "{max_pending_requests} requests wait (max-pending-requests)"
            )));
        }
        if self.load.requests > 0 && self.load.bytes + bytes > max_pending_bytes {
            return Err(Refused::Busy(format!(
                "{} bytes wait (max-pending-bytes)",
                self.load.bytes
            )));
        }
        self.load.requests += 1;
        self.load.bytes += bytes;
        Ok(())
    }

    /// A request that was admitted has been answered.
    pub(crate) fn discharge(&mut self, bytes: usize) {
        self.load.requests = self.load.requests.saturating_sub(1);
        self.load.bytes = self.load.bytes.saturating_sub(bytes);
    }

    pub(crate) fn hear(&mut self, from: MemberId, contact: Contact) {
        if self.heard.get(&from) == Some(&contact) {
            return;
        }
        if self.heard.len() >= MAX_HEARD && !self.heard.contains_key(&from) {
            self.heard.pop_first();
        }
        self.heard.insert(from, contact);
    }

    pub(crate) fn heard(&self, id: MemberId) -> Option<&Contact> {
        self.heard.get(&id)
    }
}

/// One group's view of the round.
pub(crate) struct Round<'a> {
    pub shared: &'a mut Shared,
    pub group: GroupId,
    pub now: Now,
    pub out: &'a mut Vec<Effect>,
}

impl Round<'_> {
    pub(crate) fn reply(&mut self, ticket: Ticket, reply: Reply) {
        self.out.push(Effect::Reply { ticket, reply });
    }

    pub(crate) fn task(&mut self, task: Task) {
        self.out.push(Effect::Task {
            group: self.group,
            task,
        });
    }

    /// Sends at the end of the round, when `after` is durable.
    pub(crate) fn send(
        &mut self,
        to: MemberId,
        contact: Contact,
        body: PeerBody,
        after: Option<WriteId>,
    ) {
        let message = PeerMessage {
            group: self.group,
            body,
        };
        self.shared.sends.push(Effect::Send {
            to,
            contact,
            message,
            after,
        });
    }

    /// Notes in the log that the group's log begins after `index`.
    pub(crate) fn log_start(&mut self, index: Index, term: u64) {
        let start = LogStart {
            index,
            term,
            drop_suffix: false,
        };
        self.shared.records.push(Record::Start {
            group: self.group,
            start,
        });
    }
}
