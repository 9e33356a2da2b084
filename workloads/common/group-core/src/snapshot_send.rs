//! Sending snapshots to members whose log is too old: offered, asked for piece by piece, resumed after a loss.
//!
//! The receiver's [`PeerBody::SnapshotWant`](crate::PeerBody::SnapshotWant) is offer's answer and acknowledgement
//! in one. What gets lost is repaired by time alone: without progress the offer is repeated, and its answer says
//! where to go on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_raft::{Index, MemberId, Now};

use crate::types::SnapshotFile;

/// A transfer is given up after so many offers without progress; the core asks for another when the member is
/// heard again.
const MAX_OFFERS: u32 = 30;

/// A disk that did not take a snapshot (it is full, say) is spared another try for so many times [`Pace::retry`]: each
/// fills what is left of it for a moment.
const SPARED: u32 = 5;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Write a snapshot file.
    Take,
    /// Offer a snapshot.
    Offer(MemberId, Arc<SnapshotFile>),
    /// Read a piece.
    Read {
        to: MemberId,
        snapshot: Arc<SnapshotFile>,
        offset: u64,
        len: usize,
    },
    /// Send a piece.
    Chunk {
        to: MemberId,
        snapshot: Arc<SnapshotFile>,
        offset: u64,
        data: Bytes,
    },
    /// Tell the core.
    Done { to: MemberId, index: Option<Index> },
    /// Remove a file.
    Remove(Arc<SnapshotFile>),
}

/// Sizes and times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Bytes of a piece.
    pub chunk: usize,
    /// Pieces under way.
    pub window: usize,
    /// How long to wait for progress.
    pub retry: Duration,
}

#[derive(Debug)]
struct Transfer {
    snapshot: Arc<SnapshotFile>,
    /// The receiver has everything before it.
    acked: u64,
    /// Everything before it was sent.
    sent: u64,
    /// A piece is being read.
    reading: bool,
    /// How often it was offered without progress since; more than 0: the next answer says where to go on.
    offers: u32,
    retry_at: Now,
}

/// All that is being sent for a group.
#[derive(Debug, Default)]
pub(crate) struct Sender {
    /// The latest snapshot on disk.
    current: Option<Arc<SnapshotFile>>,
    /// Earlier ones that may still be in use.
    old: Vec<Arc<SnapshotFile>>,
    taking: bool,
    /// None is written for a member before this.
    spared_until: Now,
    /// Who waits for a snapshot to be written, and which index it must reach.
    waiting: BTreeMap<MemberId, Index>,
    transfers: BTreeMap<MemberId, Transfer>,
}

impl Sender {
    /// The core needs a snapshot at or beyond `at_least` for a member.
    pub(crate) fn need(
        &mut self,
        to: MemberId,
        at_least: Index,
        now: Now,
        pace: Pace,
    ) -> Vec<Action> {
        match self
            .current
            .clone()
            .filter(|file| file.meta.index >= at_least)
        {
            Some(file) => vec![self.offer(to, file, now, pace)],
            // The core asks again when it hears the member.
            None if now < self.spared_until => vec![Action::Done { to, index: None }],
            None => {
                self.waiting.insert(to, at_least);
                self.take()
            }
        }
    }

    /// Writes a snapshot file unless one is being written.
    pub(crate) fn take(&mut self) -> Vec<Action> {
        if std::mem::replace(&mut self.taking, true) {
            Vec::new()
        } else {
            vec![Action::Take]
        }
    }

    /// The snapshot file was written.
    pub(crate) fn taken(&mut self, file: SnapshotFile, now: Now, pace: Pace) -> Vec<Action> {
        self.taking = false;
        let file = Arc::new(file);
        match &self.current {
            // The same state gives the same file.
            Some(current) if **current == *file => {}
            _ => self.old.extend(self.current.replace(file)),
        }
        let waiting = std::mem::take(&mut self.waiting);
        waiting
            .into_iter()
            .flat_map(|(to, at_least)| self.need(to, at_least, now, pace))
            .collect()
    }

    /// It could not be written: those who wait are asked for again.
    pub(crate) fn not_taken(&mut self, now: Now, pace: Pace) -> Vec<Action> {
        self.taking = false;
        self.spared_until = now + pace.retry * SPARED;
        std::mem::take(&mut self.waiting)
            .into_keys()
            .map(|to| Action::Done { to, index: None })
            .collect()
    }

    /// A receiver says how far it is.
    pub(crate) fn wanted(
        &mut self,
        from: MemberId,
        snapshot: &SnapshotFile,
        offset: Option<u64>,
        now: Now,
        pace: Pace,
    ) -> Vec<Action> {
        let Some(transfer) = self
            .transfers
            .get_mut(&from)
            .filter(|transfer| *transfer.snapshot == *snapshot)
        else {
            return Vec::new();
        };
        let Some(offset) = offset.filter(|offset| *offset < snapshot.size) else {
            self.transfers.remove(&from);
            return vec![Action::Done {
                to: from,
                index: Some(snapshot.meta.index),
            }];
        };
        if transfer.offers > 0 {
            (transfer.acked, transfer.sent) = (offset, offset);
        } else if offset > transfer.acked {
            transfer.acked = offset;
            transfer.sent = transfer.sent.max(offset);
        } else {
            return Vec::new();
        }
        transfer.offers = 0;
        transfer.retry_at = now + pace.retry;
        self.go_on(from, pace)
    }

    /// A piece was read.
    pub(crate) fn read(
        &mut self,
        to: MemberId,
        snapshot: &Arc<SnapshotFile>,
        offset: u64,
        data: Bytes,
        pace: Pace,
    ) -> Vec<Action> {
        let Some(transfer) = self
            .transfers
            .get_mut(&to)
            .filter(|transfer| transfer.snapshot == *snapshot)
        else {
            return Vec::new();
        };
        transfer.reading = false;
        let mut actions = Vec::new();
        // Else it went back while the piece was read.
        if transfer.sent == offset && !data.is_empty() {
            transfer.sent += data.len() as u64;
            actions.push(Action::Chunk {
                to,
                snapshot: snapshot.clone(),
                offset,
                data,
            });
        }
        actions.extend(self.go_on(to, pace));
        actions
    }

    /// The file could not be read: another one is needed.
    pub(crate) fn unreadable(&mut self, to: MemberId) -> Vec<Action> {
        let Some(transfer) = self.transfers.remove(&to) else {
            return Vec::new();
        };
        if let Some(current) = self
            .current
            .take_if(|current| **current == *transfer.snapshot)
        {
            self.old.push(current);
        }
        vec![Action::Done { to, index: None }]
    }

    /// Repeats offers that had no effect, gives up those that had none for long, removes files that nobody needs:
    /// the log goes back to `log_start`.
    pub(crate) fn tick(&mut self, now: Now, log_start: Index, pace: Pace) -> Vec<Action> {
        let late = self
            .transfers
            .iter()
            .filter(|(_, transfer)| transfer.retry_at <= now);
        let late: Vec<MemberId> = late.map(|(to, _)| *to).collect();
        let mut actions = Vec::new();
        for to in late {
            let Some(transfer) = self.transfers.get_mut(&to) else {
                continue;
            };
            if transfer.offers >= MAX_OFFERS {
                self.transfers.remove(&to);
                actions.push(Action::Done { to, index: None });
            } else {
                transfer.offers += 1;
                transfer.retry_at = now + pace.retry;
                actions.push(Action::Offer(to, transfer.snapshot.clone()));
            }
        }
        if let Some(outdated) = self
            .current
            .take_if(|current| current.meta.index < log_start)
        {
            self.old.push(outdated);
        }
        actions.extend(self.remove_unused());
        actions
    }

    /// This member leads no more.
    pub(crate) fn stop(&mut self) {
        self.transfers.clear();
        self.waiting.clear();
    }

    /// When [`Sender::tick`] is due.
    pub(crate) fn deadline(&self) -> Option<Now> {
        self.transfers
            .values()
            .map(|transfer| transfer.retry_at)
            .min()
    }

    /// The lowest index of what is being sent: the log should be kept from there on if it can be.
    pub(crate) fn lowest(&self) -> Option<Index> {
        self.transfers
            .values()
            .map(|transfer| transfer.snapshot.meta.index)
            .min()
    }

    /// Whether anything is being sent.
    pub(crate) fn is_busy(&self) -> bool {
        !self.transfers.is_empty() || !self.waiting.is_empty()
    }

    fn offer(&mut self, to: MemberId, snapshot: Arc<SnapshotFile>, now: Now, pace: Pace) -> Action {
        let retry_at = now + pace.retry;
        let transfer = Transfer {
            snapshot: snapshot.clone(),
            acked: 0,
            sent: 0,
            reading: false,
            offers: 1,
            retry_at,
        };
        self.transfers.insert(to, transfer);
        Action::Offer(to, snapshot)
    }

    fn go_on(&mut self, to: MemberId, pace: Pace) -> Vec<Action> {
        let Some(transfer) = self.transfers.get_mut(&to) else {
            return Vec::new();
        };
        let window = (pace.chunk * pace.window) as u64;
        let may_send =
            transfer.sent < transfer.snapshot.size && transfer.sent - transfer.acked < window;
        if transfer.reading || !may_send {
            return Vec::new();
        }
        transfer.reading = true;
        vec![Action::Read {
            to,
            snapshot: transfer.snapshot.clone(),
            offset: transfer.sent,
            len: pace.chunk,
        }]
    }

    fn remove_unused(&mut self) -> Vec<Action> {
        // A transfer or a task that still reads it holds it too.
        let (unused, used) = std::mem::take(&mut self.old)
            .into_iter()
            .partition(|file| Arc::strong_count(file) == 1);
        self.old = used;
        Vec::into_iter(unused).map(Action::Remove).collect()
    }
}

#[cfg(test)]
mod tests {
    use quorate_raft::SnapshotMeta;

    use super::*;

    const PACE: Pace = Pace {
        chunk: 10,
        window: 2,
        retry: Duration::from_secs(1),
    };
    const TO: MemberId = MemberId(2);

    fn secs(secs: u64) -> Now {
        Duration::from_secs(secs)
    }

    fn file(index: Index) -> SnapshotFile {
        SnapshotFile {
            meta: SnapshotMeta {
                index,
                ..SnapshotMeta::default()
            },
            size: 35,
            crc: 7,
        }
    }

    fn read(offset: u64) -> Action {
        Action::Read {
            to: TO,
            snapshot: Arc::new(file(9)),
            offset,
            len: 10,
        }
    }

    fn done(index: Option<Index>) -> Action {
        Action::Done { to: TO, index }
    }

    fn offered() -> (Sender, Arc<SnapshotFile>) {
        let mut sender = Sender::default();
        assert_eq!(sender.need(TO, 5, secs(0), PACE), [Action::Take]);
        assert_eq!(sender.need(TO, 6, secs(0), PACE), []);
        let actions = sender.taken(file(9), secs(0), PACE);
        let [Action::Offer(TO, snapshot)] = &actions[..] else {
            panic!("{actions:?}")
        };
        (sender, snapshot.clone())
    }

    fn data(len: usize) -> Bytes {
        vec![0; len].into()
    }

    #[test]
    fn pieces_go_out_within_the_window_and_the_end_is_told() {
        let (mut sender, snapshot) = offered();
        assert_eq!(
            sender.wanted(TO, &snapshot, Some(0), secs(0), PACE),
            [read(0)]
        );
        let actions = sender.read(TO, &snapshot, 0, data(10), PACE);
        assert!(
            matches!(&actions[..], [Action::Chunk { offset: 0, .. }, next] if *next == read(10))
        );
        let actions = sender.read(TO, &snapshot, 10, data(10), PACE);
        assert!(
            matches!(&actions[..], [Action::Chunk { offset: 10, .. }]),
            "the window is full: {actions:?}"
        );
        assert_eq!(
            sender.wanted(TO, &snapshot, Some(10), secs(0), PACE),
            [read(20)]
        );
        assert_eq!(
            sender.wanted(TO, &snapshot, Some(10), secs(0), PACE),
            [],
            "a duplicate"
        );
        assert_eq!(
            sender.wanted(TO, &snapshot, Some(35), secs(0), PACE),
            [done(Some(9))]
        );
        assert!(!sender.is_busy());
    }

    #[test]
    fn after_a_loss_the_offer_is_repeated_and_its_answer_says_where_to_go_on() {
        let (mut sender, snapshot) = offered();
        sender.wanted(TO, &snapshot, Some(0), secs(0), PACE);
        sender.read(TO, &snapshot, 0, data(10), PACE);
        assert_eq!(
            sender.tick(secs(1), 0, PACE),
            [Action::Offer(TO, snapshot.clone())]
        );
        // The receiver has lost what it had; the piece that is being read is of no use.
        assert_eq!(sender.wanted(TO, &snapshot, Some(3), secs(1), PACE), []);
        assert_eq!(sender.read(TO, &snapshot, 10, data(10), PACE), [read(3)]);
    }

    #[test]
    fn a_silent_receiver_is_given_up() {
        let (mut sender, _) = offered();
        let given_up = (1..100).find(|second| sender.tick(secs(*second), 0, PACE) == [done(None)]);
        assert_eq!(given_up, Some(u64::from(MAX_OFFERS)));
        assert_eq!(sender.deadline(), None);
    }

    #[test]
    fn a_file_is_used_again_while_the_log_reaches_back_to_it_and_removed_when_nobody_needs_it() {
        let (mut sender, snapshot) = offered();
        drop(snapshot);
        let other = MemberId(3);
        assert!(matches!(
            &sender.need(other, 9, secs(0), PACE)[..],
            [Action::Offer(..)]
        ));
        assert_eq!(sender.need(other, 10, secs(0), PACE), [Action::Take]);
        assert!(
            matches!(&sender.taken(file(12), secs(0), PACE)[..], [Action::Offer(to, _)] if *to == other)
        );
        assert_eq!(
            sender.tick(secs(0), 5, PACE),
            [],
            "still being sent to the first"
        );
        sender.wanted(TO, &file(9), None, secs(0), PACE);
        assert_eq!(
            sender.tick(secs(0), 5, PACE),
            [Action::Remove(Arc::new(file(9)))]
        );
        sender.stop();
        assert_eq!(sender.tick(secs(0), 12, PACE), []);
        assert_eq!(
            sender.tick(secs(0), 13, PACE),
            [Action::Remove(Arc::new(file(12)))]
        );
    }

    #[test]
    fn a_file_that_cannot_be_written_or_read_is_asked_for_again() {
        let mut sender = Sender::default();
        sender.need(TO, 5, secs(0), PACE);
        assert_eq!(sender.not_taken(secs(0), PACE), [done(None)]);
        assert_eq!(sender.need(TO, 5, secs(4), PACE), [done(None)], "spared");
        assert_eq!(sender.need(TO, 5, secs(5), PACE), [Action::Take]);
        assert!(!sender.not_taken(secs(5), PACE).is_empty());
        let (mut sender, snapshot) = offered();
        drop(snapshot);
        assert_eq!(sender.unreadable(TO), [done(None)]);
        assert_eq!(
            sender.tick(secs(0), 0, PACE),
            [Action::Remove(Arc::new(file(9)))]
        );
        assert_eq!(sender.need(TO, 5, secs(0), PACE), [Action::Take]);
    }
}
