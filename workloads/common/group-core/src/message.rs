//! What members say to each other, for all groups.

use bytes::Bytes;
use quorate_raft::Message;

use crate::ask::Reply;
use crate::types::{GroupId, SnapshotFile};

/// A message of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerMessage {
    /// The group.
    pub group: GroupId,
    /// What it says.
    pub body: PeerBody,
}

/// What it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerBody {
    /// Consensus.
    Raft(Message),
    /// A client's command, for the leader. Sent once, never again.
    Forward {
        /// The term in which the sender knows the receiver as leader: it takes the command in no other, so that a
        /// copy that comes late, or after a restart of the receiver, has no effect.
        term: u64,
        /// The sender's mark.
        id: u64,
        /// The encoded command.
        command: Bytes,
    },
    /// What came of a forwarded command.
    ForwardReply {
        /// As sent.
        id: u64,
        /// `Outcome`, `Refused` or `Unknown`.
        reply: Reply,
    },
    /// The leader has a snapshot for a member whose log is too old.
    SnapshotOffer {
        /// The leader's term.
        term: u64,
        /// What it offers.
        snapshot: SnapshotFile,
    },
    /// Send from here on; at `snapshot.size` it is installed. `None`: not wanted (already beyond it).
    SnapshotWant {
        /// What is wanted.
        snapshot: SnapshotFile,
        /// From where.
        offset: Option<u64>,
    },
    /// A piece.
    SnapshotChunk {
        /// The leader's term.
        term: u64,
        /// Of what.
        snapshot: SnapshotFile,
        /// Where it belongs.
        offset: u64,
        /// The piece.
        data: Bytes,
        /// Its CRC-32.
        crc: u32,
    },
    /// The sender's identity was removed from the group: it must stand aside.
    YouWereRemoved,
}
