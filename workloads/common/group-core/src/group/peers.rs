//! What other members say to a group, and how snapshots travel between them.

use quorate_raft::{Input as CoreInput, MemberId};

use super::{Group, pace};
use crate::message::PeerBody;
use crate::round::Round;
use crate::snapshot_receive::Action as Receive;
use crate::snapshot_send::Action as Send;
use crate::types::SnapshotFile;
use crate::work::Task;

impl Group {
    /// Takes a message in.
    pub(crate) fn receive(&mut self, from: MemberId, body: PeerBody, round: &mut Round<'_>) {
        if self.gone {
            return;
        }
        if self.removed.contains(&from) {
            if body != PeerBody::YouWereRemoved {
                self.send(from, PeerBody::YouWereRemoved, None, round);
            }
            return;
        }
        match body {
            PeerBody::Raft(message) => self.core(CoreInput::Receive { from, message }, round),
            PeerBody::Forward { term, id, command } => {
                self.forwarded(from, term, id, command, round)
            }
            PeerBody::ForwardReply { id, reply } => {
                let answer = self.requests.answered(round.shared, from, id, reply);
                self.answer(answer, round);
            }
            PeerBody::SnapshotOffer { term, snapshot } => self.offered(from, term, snapshot, round),
            PeerBody::SnapshotWant { snapshot, offset } => {
                let actions = self
                    .sender
                    .wanted(from, &snapshot, offset, round.now, pace(round));
                self.send_snapshots(actions, round);
            }
            PeerBody::SnapshotChunk {
                term,
                snapshot,
                offset,
                data,
                crc,
            } => {
                if term >= self.raft.term() {
                    let action = self.receiver.chunk(from, &snapshot, offset, data, crc);
                    self.receive_snapshots(action, round);
                }
            }
            // A member of the same cluster says so, and only a committed removal makes it say so. Whether it stands
            // in the configuration that this member knows says nothing: everybody may have been exchanged since.
            PeerBody::YouWereRemoved => self.gone = true,
        }
    }

    /// Whoever offers it, a snapshot holds only what is committed; a leader of an earlier term is not waited for.
    fn offered(
        &mut self,
        from: MemberId,
        term: u64,
        snapshot: SnapshotFile,
        round: &mut Round<'_>,
    ) {
        if term < self.raft.term() || snapshot.size == 0 {
            return;
        }
        if self.raft.wants_snapshot(&snapshot.meta) {
            let action = self.receiver.offered(from, snapshot);
            self.receive_snapshots(action, round);
        } else {
            self.send(
                from,
                PeerBody::SnapshotWant {
                    snapshot,
                    offset: None,
                },
                None,
                round,
            );
        }
    }

    pub(super) fn receive_snapshots(
        &mut self,
        actions: impl IntoIterator<Item = Receive>,
        round: &mut Round<'_>,
    ) {
        for action in actions {
            match action {
                Receive::Open { from, snapshot } => round.task(Task::OpenPart { from, snapshot }),
                Receive::Want {
                    to,
                    snapshot,
                    offset,
                } => {
                    self.send(
                        to,
                        PeerBody::SnapshotWant {
                            snapshot,
                            offset: Some(offset),
                        },
                        None,
                        round,
                    );
                }
                Receive::Write {
                    snapshot,
                    offset,
                    data,
                } => round.task(Task::WritePart {
                    snapshot,
                    offset,
                    data,
                }),
            }
        }
    }

    pub(super) fn send_snapshots(&mut self, actions: Vec<Send>, round: &mut Round<'_>) {
        let term = self.raft.term();
        for action in actions {
            match action {
                Send::Take => round.task(Task::TakeSnapshot),
                Send::Offer(to, snapshot) => {
                    let snapshot = SnapshotFile::clone(&snapshot);
                    self.send(to, PeerBody::SnapshotOffer { term, snapshot }, None, round);
                }
                Send::Read {
                    to,
                    snapshot,
                    offset,
                    len,
                } => {
                    round.task(Task::ReadChunk {
                        snapshot,
                        to,
                        offset,
                        len,
                    });
                }
                Send::Chunk {
                    to,
                    snapshot,
                    offset,
                    data,
                } => {
                    let (snapshot, crc) = (SnapshotFile::clone(&snapshot), crc32fast::hash(&data));
                    self.send(
                        to,
                        PeerBody::SnapshotChunk {
                            term,
                            snapshot,
                            offset,
                            data,
                            crc,
                        },
                        None,
                        round,
                    );
                }
                Send::Done { to, index } => self.core(CoreInput::SnapshotDone { to, index }, round),
                Send::Remove(snapshot) => round.task(Task::RemoveSnapshot(snapshot)),
            }
        }
    }
}
