//! Client sessions: a retried write is applied once (thesis, section 6.3). The table is part of the replicated
//! state; whether a session has expired is decided by the log alone, so that every member decides alike.

use bytes::Bytes;
use prost::Message as _;
use quorate_store::StateError;

use crate::command::InSession;
use crate::keys::{self, Space};
use crate::meta::{Meta, damaged};
use crate::overlay::Overlay;
use crate::planted::planted;
use crate::proto::{self, CodecError};
use crate::types::GroupId;
use crate::types::Outcome;

/// How many expired sessions one command removes: bounds what a command costs after a long silence.
const MAX_EXPIRED: usize = 64;

/// What is to become of a session's write.
pub(crate) enum Verdict {
    /// It is new: apply it, then [`Sessions::keep`] its outcome.
    Apply(Session),
    /// It is not to be applied; this is the answer.
    Answered(Outcome),
}

/// A session as it is stored, by id.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Session {
    #[prost(uint64, tag = "1")]
    lifetime_ms: u64,
    #[prost(uint64, tag = "2")]
    deadline_ms: u64,
    #[prost(message, optional, tag = "3")]
    kept: Option<Kept>,
}

/// The outcome of a session's latest write.
#[derive(Clone, PartialEq, prost::Message)]
struct Kept {
    #[prost(uint64, tag = "1")]
    sequence: u64,
    #[prost(bytes = "bytes", tag = "2")]
    digest: Bytes,
    #[prost(message, optional, tag = "3")]
    outcome: Option<proto::Outcome>,
}

/// The session table of a group, inside one task.
pub(crate) struct Sessions<'t, 'b> {
    pub group: GroupId,
    pub meta: &'t mut Meta,
    pub overlay: &'t mut Overlay<'b>,
}

impl Sessions<'_, '_> {
    /// Moves the session clock on to a command's time and removes what has expired by then, oldest deadline first.
    /// The time is counted from where the clock stood when the leader's term began: every entry of an earlier term
    /// was made before that leader was elected, so the clock is never ahead of the time that has really passed.
    pub(crate) fn advance(&mut self, led_ms: u64) -> Result<(), StateError> {
        let time = self.meta.term_began_ms.saturating_add(led_ms);
        self.meta.clock_ms = self.meta.clock_ms.max(time);
        let start = keys::prefix(self.group, Space::Deadline);
        // Deadlines before the clock have passed.
        let end = keys::number(self.group, Space::Deadline, self.meta.clock_ms);
        let mut expired: Vec<Bytes> = Vec::new();
        self.overlay.scan(&start, &end, &mut |key, _| {
            expired.push(Bytes::copy_from_slice(key));
            expired.len() < MAX_EXPIRED
        })?;
        for key in expired {
            let id = key.last_chunk::<8>().filter(|_| key.len() == 25);
            let id =
                id.ok_or_else(|| damaged(self.group, "a session's deadline has a wrong key"))?;
            self.overlay
                .delete(keys::key(self.group, Space::Session, id));
            self.overlay.delete(key);
            self.meta.sessions = self.meta.sessions.saturating_sub(1);
        }
        Ok(())
    }

    /// Opens a session whose id is the index of the entry that opens it: never used twice.
    pub(crate) fn open(&mut self, index: u64, lifetime_ms: u64, max_sessions: u64) -> Outcome {
        if self.meta.sessions >= max_sessions {
            return Outcome::SessionsFull;
        }
        self.meta.sessions += 1;
        self.store(
            index,
            Session {
                lifetime_ms,
                deadline_ms: 0,
                kept: None,
            },
        );
        Outcome::Opened {
            session: index,
            lifetime_ms,
        }
    }

    /// Closes a session.
    pub(crate) fn close(&mut self, id: u64) -> Result<Outcome, StateError> {
        let Some(session) = self.live(id)? else {
            return Ok(Outcome::SessionGone);
        };
        self.overlay
            .delete(keys::number(self.group, Space::Session, id));
        self.overlay.delete(self.deadline(session.deadline_ms, id));
        self.meta.sessions = self.meta.sessions.saturating_sub(1);
        Ok(Outcome::Closed)
    }

    /// Judges a write by its number. Every write of a living session renews it.
    pub(crate) fn judge(&mut self, write: &InSession) -> Result<Verdict, StateError> {
        let Some(session) = self.live(write.id)? else {
            return Ok(Verdict::Answered(Outcome::SessionGone));
        };
        let outcome = match &session.kept {
            Some(kept) if write.sequence < kept.sequence => Outcome::SequenceTooLow {
                last: kept.sequence,
            },
            Some(kept) if write.sequence == kept.sequence && write.digest != kept.digest => {
                Outcome::SequenceReused
            }
            Some(kept)
                if write.sequence == kept.sequence && !planted!(SessionRetryAppliedTwice) =>
            {
                let outcome = kept
                    .outcome
                    .clone()
                    .ok_or_else(|| damaged(self.group, "a kept answer is missing"))?;
                Outcome::try_from(outcome).map_err(|error| damaged(self.group, error))?
            }
            _ => return Ok(Verdict::Apply(session)),
        };
        self.renew(write.id, session);
        Ok(Verdict::Answered(outcome))
    }

    /// Keeps the outcome of a write that was applied, for its retry.
    pub(crate) fn keep(&mut self, write: &InSession, mut session: Session, outcome: &Outcome) {
        let digest = write.digest.clone();
        session.kept = Some(Kept {
            sequence: write.sequence,
            digest,
            outcome: Some(outcome.into()),
        });
        self.renew(write.id, session);
    }

    /// A session that exists and has not expired by the session clock (whether or not it has been removed yet).
    fn live(&self, id: u64) -> Result<Option<Session>, StateError> {
        let Some(bytes) = self
            .overlay
            .get(&keys::number(self.group, Space::Session, id))?
        else {
            return Ok(None);
        };
        let session =
            Session::decode(bytes).map_err(|error| damaged(self.group, CodecError::from(error)))?;
        Ok((session.deadline_ms >= self.meta.clock_ms).then_some(session))
    }

    fn renew(&mut self, id: u64, session: Session) {
        self.overlay.delete(self.deadline(session.deadline_ms, id));
        self.store(id, session);
    }

    fn store(&mut self, id: u64, mut session: Session) {
        session.deadline_ms = self.meta.clock_ms.saturating_add(session.lifetime_ms);
        self.overlay
            .put(self.deadline(session.deadline_ms, id), Bytes::new());
        self.overlay.put(
            keys::number(self.group, Space::Session, id),
            session.encode_to_vec().into(),
        );
    }

    fn deadline(&self, deadline_ms: u64, id: u64) -> Bytes {
        let mut rest = [0; 16];
        rest[..8].copy_from_slice(&deadline_ms.to_be_bytes());
        rest[8..].copy_from_slice(&id.to_be_bytes());
        keys::key(self.group, Space::Deadline, &rest)
    }
}

#[cfg(test)]
mod tests {
    use quorate_store::{MapStore, Read as _, StateStore as _};

    use super::*;

    /// A table over a store; each call is one task of its own.
    #[derive(Default)]
    struct Table {
        store: MapStore,
        meta: Meta,
    }

    impl Table {
        fn with<T>(&mut self, at_ms: u64, act: impl FnOnce(&mut Sessions<'_, '_>) -> T) -> T {
            let view = self.store.view().unwrap();
            let mut overlay = Overlay::new(&*view);
            let mut sessions = Sessions {
                group: 1,
                meta: &mut self.meta,
                overlay: &mut overlay,
            };
            sessions.advance(at_ms).unwrap();
            let result = act(&mut sessions);
            self.store.write(overlay.into_batch()).unwrap();
            result
        }

        fn open(&mut self, at_ms: u64, index: u64, lifetime_ms: u64) -> Outcome {
            self.with(at_ms, |sessions| sessions.open(index, lifetime_ms, 100))
        }

        fn write(&mut self, at_ms: u64, id: u64, sequence: u64, digest: &'static str) -> Outcome {
            let write = InSession {
                id,
                sequence,
                digest: Bytes::from_static(digest.as_bytes()),
            };
            self.with(at_ms, |sessions| match sessions.judge(&write).unwrap() {
                Verdict::Answered(outcome) => outcome,
                Verdict::Apply(session) => {
                    let outcome =
                        Outcome::Answer(Bytes::from(format!("{sequence}{digest}@{at_ms}")));
                    sessions.keep(&write, session, &outcome);
                    outcome
                }
            })
        }

        fn keys(&self) -> usize {
            let mut keys = 0;
            self.store
                .scan(&[0; 9], &[0xff; 9], &mut |_, _| {
                    keys += 1;
                    true
                })
                .unwrap();
            keys
        }
    }

    fn answer(text: &'static str) -> Outcome {
        Outcome::Answer(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn each_number_is_applied_once_and_answered_as_the_first_time() {
        let mut table = Table::default();
        assert_eq!(
            table.open(10, 7, 100),
            Outcome::Opened {
                session: 7,
                lifetime_ms: 100
            }
        );
        assert_eq!(table.write(20, 7, 4, "a"), answer("4a@20"));
        assert_eq!(table.write(30, 7, 4, "a"), answer("4a@20"));
        assert_eq!(table.write(30, 7, 4, "b"), Outcome::SequenceReused);
        assert_eq!(
            table.write(30, 7, 3, "a"),
            Outcome::SequenceTooLow { last: 4 }
        );
        assert_eq!(table.write(40, 7, 9, "a"), answer("9a@40"));
        assert_eq!(table.write(40, 8, 1, "a"), Outcome::SessionGone);
        assert_eq!(
            table.with(40, |sessions| sessions.close(7)).unwrap(),
            Outcome::Closed
        );
        assert_eq!(
            table.with(40, |sessions| sessions.close(7)).unwrap(),
            Outcome::SessionGone
        );
        assert_eq!((table.keys(), table.meta.sessions), (0, 0));
    }

    #[test]
    fn number_zero_is_a_number() {
        let mut table = Table::default();
        table.open(10, 7, 100);
        assert_eq!(table.write(20, 7, 0, "a"), answer("0a@20"));
        assert_eq!(table.write(21, 7, 0, "a"), answer("0a@20"));
    }

    #[test]
    fn a_session_lives_its_lifetime_from_its_last_write_on_by_the_logs_clock() {
        let mut table = Table::default();
        table.open(1000, 7, 100);
        assert_eq!(table.write(1100, 7, 1, "a"), answer("1a@1100"));
        // A clock that goes back ages nothing and renews nothing.
        assert_eq!(table.write(5, 7, 2, "a"), answer("2a@5"));
        assert_eq!(table.write(1200, 7, 2, "a"), answer("2a@5"));
        assert_eq!(table.write(1301, 7, 2, "a"), Outcome::SessionGone);
        assert_eq!((table.keys(), table.meta.sessions), (0, 0));
    }

    #[test]
    fn each_term_counts_on_from_where_the_clock_stood() {
        let mut table = Table::default();
        table.open(5000, 7, 100);
        table.meta.term_began_ms = table.meta.clock_ms;
        assert_eq!(table.write(100, 7, 1, "a"), answer("1a@100"));
        assert_eq!(table.meta.clock_ms, 5100);
        table.meta.term_began_ms = table.meta.clock_ms;
        assert_eq!(table.write(101, 7, 2, "a"), Outcome::SessionGone);
        table.open(u64::MAX, 8, u64::MAX);
        assert_eq!(table.meta.clock_ms, u64::MAX);
    }

    #[test]
    fn the_table_is_bounded_and_expired_sessions_leave_it_a_bounded_number_at_a_time() {
        let mut table = Table::default();
        for index in 1..=100 {
            assert!(
                matches!(table.open(1, index, 10), Outcome::Opened { .. }),
                "{index}"
            );
        }
        assert_eq!(table.open(10, 101, 10), Outcome::SessionsFull);
        let last = InSession {
            id: 100,
            sequence: 1,
            digest: Bytes::new(),
        };
        let verdict = table.with(1000, |sessions| sessions.judge(&last)).unwrap();
        assert!(
            matches!(verdict, Verdict::Answered(Outcome::SessionGone)),
            "expired, if not removed yet"
        );
        assert_eq!(table.meta.sessions, 100 - MAX_EXPIRED as u64);
        assert!(matches!(table.open(1000, 102, 10), Outcome::Opened { .. }));
        assert_eq!((table.keys(), table.meta.sessions), (2, 1));
    }
}
