//! How many requests, and how many bytes of them, this member holds at a time.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::FromRequestParts;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http_body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::{Refusal, busy, too_large};

/// A larger answer is sent in pieces of so many bytes.
const PIECE_BYTES: usize = 64 << 10;

/// No connection holds more than one part of so many. One request or answer it may always have, whatever its size.
const PARTS: usize = 8;

/// What is left. Requests and answers have as many bytes each: whoever reads slowly keeps nobody from writing.
#[derive(Debug)]
pub struct Admission {
    requests: Budget,
    bytes: Budget,
    answers: Budget,
}

/// A request that was let in; dropped when it is answered.
#[derive(Debug)]
pub struct Admitted {
    _request: Part,
    bytes: Part,
}

impl Admission {
    /// Room for so many requests of so many bytes together, and for answers of as many.
    pub fn new(requests: usize, bytes: usize) -> Self {
        Self {
            requests: Budget::new("max-pending-requests", requests, |held| &held.requests),
            bytes: Budget::new("max-pending-bytes", bytes, |held| &held.bytes),
            answers: Budget::new("max-pending-bytes of answers", bytes, |held| &held.answers),
        }
    }

    /// Lets a request in, before its body is read: with the length that it names, else with the most that it may have.
    pub fn admit(
        &self,
        held: &Held,
        headers: &HeaderMap,
        limit: usize,
        field: &str,
        limit_name: &str,
    ) -> Result<Admitted, Refusal> {
        let length = headers
            .get(CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.parse::<u64>().ok());
        if length.is_some_and(|length| length > limit as u64) {
            return Err(too_large(field, limit_name, limit));
        }
        let need = length.and_then(|length| usize::try_from(length).ok());
        Ok(Admitted {
            _request: self.requests.take(held, 1)?,
            bytes: self.bytes.take(held, need.unwrap_or(limit))?,
        })
    }

    /// The body of an answer. A large one counts until it is sent: many clients that read slowly must not fill the
    /// memory. It leaves in pieces, since a piece that was handed over counts no more.
    pub fn answer(&self, held: &Held, bytes: Bytes) -> Result<Body, Refusal> {
        if bytes.len() <= PIECE_BYTES {
            return Ok(bytes.into());
        }
        let part = self.answers.take(held, bytes.len())?;
        Ok(Body::new(Pieces {
            rest: bytes,
            _part: part,
        }))
    }
}

/// What the requests of one connection hold. The shell puts it into each of them.
#[derive(Clone, Debug, Default)]
pub struct Held(Arc<Amounts>);

#[derive(Debug, Default)]
struct Amounts {
    requests: AtomicUsize,
    bytes: AtomicUsize,
    answers: AtomicUsize,
}

impl<S: Send + Sync> FromRequestParts<S> for Held {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

/// So much of one thing, for all and for each.
#[derive(Debug)]
struct Budget {
    name: &'static str,
    all: Arc<Semaphore>,
    each: usize,
    of: fn(&Amounts) -> &AtomicUsize,
}

/// A part of a budget, until it is dropped.
#[derive(Debug)]
struct Part {
    permit: OwnedSemaphorePermit,
    held: Held,
    of: fn(&Amounts) -> &AtomicUsize,
}

impl Budget {
    fn new(name: &'static str, all: usize, of: fn(&Amounts) -> &AtomicUsize) -> Self {
        Self {
            name,
            all: Arc::new(Semaphore::new(all)),
            each: all / PARTS,
            of,
        }
    }

    fn take(&self, held: &Held, need: usize) -> Result<Part, Refusal> {
        let own = (self.of)(&held.0);
        let fits = |had: usize| (had == 0 || had + need <= self.each).then_some(had + need);
        own.fetch_update(SeqCst, SeqCst, fits).map_err(|_| {
            busy(&format!(
                "this connection has its part of {} ({}); use several",
                self.name, self.each
            ))
        })?;
        let permits = u32::try_from(need).unwrap_or(u32::MAX);
        match self.all.clone().try_acquire_many_owned(permits) {
            Ok(permit) => Ok(Part {
                permit,
                held: held.clone(),
                of: self.of,
            }),
            Err(_) => {
                own.fetch_sub(need, SeqCst);
                Err(busy(&format!("{} is reached", self.name)))
            }
        }
    }
}

impl Part {
    fn shrink(&mut self, to: usize) {
        let over = self.permit.num_permits().saturating_sub(to);
        if let Some(over) = self.permit.split(over) {
            (self.of)(&self.held.0).fetch_sub(over.num_permits(), SeqCst);
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        (self.of)(&self.held.0).fetch_sub(self.permit.num_permits(), SeqCst);
    }
}

/// A body in pieces.
struct Pieces {
    rest: Bytes,
    _part: Part,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let length = self.rest.len().min(PIECE_BYTES);
        let piece = self.rest.split_to(length);
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

impl Admitted {
    /// Gives back what the body did not need.
    pub fn shrink(&mut self, length: usize) {
        self.bytes.shrink(length);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of_length(length: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from_static(length))])
    }

    #[test]
    fn what_does_not_fit_waits_outside() {
        let admission = Admission::new(2, 10);
        // Each on a connection of its own.
        let admit = |headers: HeaderMap| {
            admission.admit(&Held::default(), &headers, 6, "body", "max-value-bytes")
        };
        let status = |result: Result<Admitted, Refusal>| {
            result.map(|_| ()).map_err(|refusal| refusal.problem.status)
        };
        assert_eq!(status(admit(of_length("7"))), Err(413));
        assert_eq!(
            status(admit(of_length("99999999999999999999"))),
            Ok(()),
            "no length that counts: hyper judges it"
        );
        let mut first = admit(HeaderMap::new()).unwrap();
        assert_eq!(
            status(admit(of_length("5"))),
            Err(429),
            "without a length the most is set aside"
        );
        first.shrink(1);
        let second = admit(of_length("5")).unwrap();
        assert_eq!(
            status(admit(of_length("0"))),
            Err(429),
            "two requests at a time"
        );
        drop(second);
        assert_eq!(status(admit(of_length("5"))), Ok(()));
    }

    #[tokio::test]
    async fn a_large_answer_counts_until_it_is_sent() {
        let admission = Admission::new(1, 300_000);
        let answer = |bytes| admission.answer(&Held::default(), bytes);
        let large = Bytes::from((0..200_000u32).map(|at| at as u8).collect::<Vec<_>>());
        let body = answer(large.clone()).unwrap();
        assert_eq!(answer(large.clone()).unwrap_err().problem.status, 429);
        assert!(answer(Bytes::from_static(b"small")).is_ok());
        assert_eq!(axum::body::to_bytes(body, usize::MAX).await.unwrap(), large);
        assert!(answer(large).is_ok());
    }

    #[test]
    fn no_connection_takes_the_others_part() {
        let admission = Admission::new(16, 8 << 20);
        let admit = |held: &Held, length| {
            admission.admit(held, &of_length(length), 8 << 20, "body", "max-value-bytes")
        };
        let (one, other) = (Held::default(), Held::default());
        // Whatever its size, one is taken; then its part is full.
        let large = admit(&one, "4194304").unwrap();
        let refusal = admit(&one, "1").unwrap_err();
        assert_eq!(refusal.problem.status, 429);
        assert!(
            refusal
                .problem
                .detail
                .contains("max-pending-bytes (1048576)"),
            "{refusal:?}"
        );
        let mut second = admit(&other, "1048576").unwrap();
        assert!(admit(&other, "1").is_err());
        second.shrink(10);
        let third = admit(&other, "1048566").unwrap();
        let refusal = admit(&other, "0").unwrap_err();
        assert!(
            refusal.problem.detail.contains("max-pending-requests (2)"),
            "{refusal:?}"
        );
        drop((large, second, third));
        assert!(admit(&one, "1048576").is_ok() && admit(&other, "1048576").is_ok());
        // Answers that nobody reads keep nobody from writing.
        let answers: Vec<_> = (0..8)
            .map(|_| {
                admission
                    .answer(&Held::default(), vec![0; 1 << 20].into())
                    .unwrap()
            })
            .collect();
        assert!(admission.answer(&other, vec![0; 1 << 20].into()).is_err());
        assert!(admit(&other, "8388608").is_ok());
        drop(answers);
    }
}
