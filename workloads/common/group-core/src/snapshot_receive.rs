//! Receiving a snapshot: opened, filled piece by piece in order, installed when it is whole. A part file survives
//! a restart, so receiving goes on where it was.

use std::collections::VecDeque;

use bytes::Bytes;
use quorate_raft::MemberId;

use crate::types::SnapshotFile;

/// How many pieces may wait for the disk.
const MAX_QUEUED: usize = 64;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Open the part file.
    Open {
        from: MemberId,
        snapshot: SnapshotFile,
    },
    /// Ask for more.
    Want {
        to: MemberId,
        snapshot: SnapshotFile,
        offset: u64,
    },
    /// Write a piece.
    Write {
        snapshot: SnapshotFile,
        offset: u64,
        data: Bytes,
    },
}

#[derive(Debug, PartialEq, Eq)]
enum Reception {
    Opening,
    Receiving,
    /// Everything is here.
    Whole,
    Installing,
}

#[derive(Debug)]
struct Incoming {
    from: MemberId,
    snapshot: SnapshotFile,
    reception: Reception,
    /// What is in the part file.
    have: u64,
    queue: VecDeque<Bytes>,
    /// Bytes in the queue, and in the piece that is being written.
    queued: u64,
    writing: bool,
}

/// What a group is receiving: one snapshot at a time.
#[derive(Debug, Default)]
pub(crate) struct Receiver {
    current: Option<Incoming>,
}

impl Receiver {
    /// A leader offers a snapshot that is wanted.
    pub(crate) fn offered(&mut self, from: MemberId, snapshot: SnapshotFile) -> Option<Action> {
        if let Some(current) = &mut self.current {
            if current.snapshot == snapshot {
                current.from = from;
                let idle = current.reception == Reception::Receiving && !current.writing;
                return idle.then(|| current.want());
            }
            if current.reception == Reception::Installing {
                return None;
            }
        }
        self.current = Some(Incoming {
            from,
            snapshot: snapshot.clone(),
            reception: Reception::Opening,
            have: 0,
            queue: VecDeque::new(),
            queued: 0,
            writing: false,
        });
        Some(Action::Open { from, snapshot })
    }

    /// The part file is open and holds `have` bytes.
    pub(crate) fn opened(&mut self, snapshot: &SnapshotFile, have: u64) -> Option<Action> {
        let current = self
            .current
            .as_mut()
            .filter(|current| current.snapshot == *snapshot)?;
        if current.reception != Reception::Opening {
            return None;
        }
        current.reception = Reception::Receiving;
        current.progress(have)
    }

    /// A piece came. Out of order, damaged or too much: it is dropped, and will be asked for again.
    pub(crate) fn chunk(
        &mut self,
        from: MemberId,
        snapshot: &SnapshotFile,
        offset: u64,
        data: Bytes,
        crc: u32,
    ) -> Option<Action> {
        let current = self
            .current
            .as_mut()
            .filter(|current| current.snapshot == *snapshot)?;
        let next = current.have + current.queued;
        let fits = offset == next && data.len() as u64 <= snapshot.size - next;
        let sound = !data.is_empty()
            && data.len() <= crate::config::MAX_CHUNK_BYTES
            && crc32fast::hash(&data) == crc;
        let room = current.reception == Reception::Receiving && current.queue.len() < MAX_QUEUED;
        if current.from != from || !fits || !room || !sound {
            return None;
        }
        current.queued += data.len() as u64;
        current.queue.push_back(data);
        current.write()
    }

    /// A piece was written.
    pub(crate) fn written(&mut self, snapshot: &SnapshotFile, have: u64) -> Vec<Action> {
        let Some(current) = self
            .current
            .as_mut()
            .filter(|current| current.snapshot == *snapshot)
        else {
            return Vec::new();
        };
        if current.reception != Reception::Receiving
            || !std::mem::replace(&mut current.writing, false)
        {
            return Vec::new();
        }
        current.queued -= have.saturating_sub(current.have).min(current.queued);
        let want = current.progress(have);
        want.into_iter().chain(current.write()).collect()
    }

    /// The snapshot that may be installed now, if it is whole.
    pub(crate) fn whole(&self) -> Option<&SnapshotFile> {
        self.current
            .as_ref()
            .filter(|current| current.reception == Reception::Whole)
            .map(|current| &current.snapshot)
    }

    /// The whole snapshot is being installed.
    pub(crate) fn install(&mut self) -> Option<SnapshotFile> {
        let current = self
            .current
            .as_mut()
            .filter(|current| current.reception == Reception::Whole)?;
        current.reception = Reception::Installing;
        Some(current.snapshot.clone())
    }

    /// The disk failed to open or write the part file, the file was damaged, or it is installed or wanted no more:
    /// whom it came from.
    pub(crate) fn end(&mut self) -> Option<(MemberId, SnapshotFile)> {
        self.current
            .take()
            .map(|current| (current.from, current.snapshot))
    }

    /// A file task failed: the snapshot is received anew when it is offered again. What is being installed is past
    /// that.
    pub(crate) fn failed(&mut self) {
        self.current.take_if(|current| {
            matches!(current.reception, Reception::Opening | Reception::Receiving)
        });
    }

    /// Whether anything is being received.
    pub(crate) fn is_busy(&self) -> bool {
        self.current.is_some()
    }
}

impl Incoming {
    fn want(&self) -> Action {
        Action::Want {
            to: self.from,
            snapshot: self.snapshot.clone(),
            offset: self.have,
        }
    }

    fn progress(&mut self, have: u64) -> Option<Action> {
        self.have = have;
        if have < self.snapshot.size {
            return Some(self.want());
        }
        self.reception = Reception::Whole;
        None
    }

    fn write(&mut self) -> Option<Action> {
        if self.writing {
            return None;
        }
        let data = self.queue.pop_front()?;
        self.writing = true;
        Some(Action::Write {
            snapshot: self.snapshot.clone(),
            offset: self.have,
            data,
        })
    }
}

#[cfg(test)]
mod tests {
    use quorate_raft::SnapshotMeta;

    use super::*;

    const FROM: MemberId = MemberId(1);

    fn file(crc: u32) -> SnapshotFile {
        SnapshotFile {
            meta: SnapshotMeta {
                index: 9,
                ..SnapshotMeta::default()
            },
            size: 30,
            crc,
        }
    }

    fn want(to: MemberId, offset: u64) -> Action {
        Action::Want {
            to,
            snapshot: file(1),
            offset,
        }
    }

    fn chunk(receiver: &mut Receiver, offset: u64, len: usize) -> Option<Action> {
        let data = Bytes::from(vec![7; len]);
        let crc = crc32fast::hash(&data);
        receiver.chunk(FROM, &file(1), offset, data, crc)
    }

    fn receiving() -> Receiver {
        let mut receiver = Receiver::default();
        assert_eq!(
            receiver.offered(FROM, file(1)),
            Some(Action::Open {
                from: FROM,
                snapshot: file(1)
            })
        );
        assert_eq!(receiver.opened(&file(1), 0), Some(want(FROM, 0)));
        receiver
    }

    #[test]
    fn pieces_are_written_in_order_one_at_a_time() {
        let mut receiver = receiving();
        assert!(matches!(
            chunk(&mut receiver, 0, 10),
            Some(Action::Write { offset: 0, .. })
        ));
        assert_eq!(chunk(&mut receiver, 10, 10), None, "one is being written");
        let actions = receiver.written(&file(1), 10);
        assert!(
            matches!(&actions[..], [first, Action::Write { offset: 10, .. }] if *first == want(FROM, 10))
        );
        assert_eq!(receiver.written(&file(1), 20), [want(FROM, 20)]);
        assert!(chunk(&mut receiver, 20, 10).is_some());
        assert_eq!(receiver.written(&file(1), 30), []);
        assert_eq!(receiver.whole(), Some(&file(1)));
        assert_eq!(receiver.install(), Some(file(1)));
        assert_eq!((receiver.install(), receiver.whole()), (None, None));
        assert_eq!(receiver.end(), Some((FROM, file(1))));
    }

    #[test]
    fn pieces_that_do_not_fit_are_dropped() {
        let mut receiver = receiving();
        assert_eq!(chunk(&mut receiver, 10, 10), None, "a gap");
        assert_eq!(chunk(&mut receiver, 0, 31), None, "more than there is");
        assert_eq!(chunk(&mut receiver, 0, 0), None);
        let data = Bytes::from_static(b"0123456789");
        assert_eq!(
            receiver.chunk(FROM, &file(1), 0, data.clone(), 5),
            None,
            "damaged on the way"
        );
        let crc = crc32fast::hash(&data);
        assert_eq!(
            receiver.chunk(MemberId(9), &file(1), 0, data.clone(), crc),
            None,
            "from another"
        );
        assert_eq!(
            receiver.chunk(FROM, &file(2), 0, data, crc),
            None,
            "of another"
        );
    }

    #[test]
    fn another_leader_takes_over_the_same_snapshot_where_it_was() {
        let mut receiver = receiving();
        chunk(&mut receiver, 0, 10);
        assert_eq!(
            receiver.offered(MemberId(2), file(1)),
            None,
            "the piece that is being written answers"
        );
        assert_eq!(receiver.written(&file(1), 10), [want(MemberId(2), 10)]);
        assert_eq!(receiver.offered(FROM, file(1)), Some(want(FROM, 10)));
    }

    #[test]
    fn another_snapshot_takes_its_place_unless_it_is_being_installed() {
        let mut receiver = receiving();
        assert!(matches!(
            receiver.offered(FROM, file(2)),
            Some(Action::Open { .. })
        ));
        assert_eq!(receiver.written(&file(1), 10), []);
        assert_eq!(
            receiver.opened(&file(2), 30),
            None,
            "whole already: received before a restart"
        );
        receiver.failed();
        assert_eq!(
            receiver.install(),
            Some(file(2)),
            "a late failure of the first does not matter"
        );
        assert_eq!(receiver.offered(FROM, file(1)), None);
        receiver.failed();
        assert!(receiver.is_busy());
    }
}
