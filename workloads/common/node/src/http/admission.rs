//! How many requests, and how many bytes of them, this member holds at a time.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::{Refusal, busy, too_large};

/// A larger answer is sent in pieces of so many bytes.
const PIECE_BYTES: usize = 64 << 10;

/// What is left.
#[derive(Debug)]
pub struct Admission {
    requests: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

/// A request that was let in; dropped when it is answered.
#[derive(Debug)]
pub struct Admitted {
    _request: OwnedSemaphorePermit,
    bytes: OwnedSemaphorePermit,
}

impl Admission {
    /// Room for so many requests of so many bytes together.
    pub fn new(requests: usize, bytes: usize) -> Self {
        Self {
            requests: Arc::new(Semaphore::new(requests)),
            bytes: Arc::new(Semaphore::new(bytes)),
        }
    }

    /// Lets a request in, before its body is read: with the length that it names, else with the most that it may have.
    pub fn admit(
        &self,
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
        let need = length
            .and_then(|length| u32::try_from(length).ok())
            .unwrap_or(u32::try_from(limit).unwrap_or(u32::MAX));
        let request = self
            .requests
            .clone()
            .try_acquire_owned()
            .map_err(|_| busy("max-pending-requests is reached"))?;
        let bytes = self
            .bytes
            .clone()
            .try_acquire_many_owned(need)
            .map_err(|_| busy("max-pending-bytes is reached"))?;
        Ok(Admitted {
            _request: request,
            bytes,
        })
    }
}

impl Admission {
    /// The body of an answer. A large one counts until it is sent: many clients that read slowly must not fill the
    /// memory. It leaves in pieces, since a piece that was handed over counts no more.
    pub fn answer(&self, bytes: Bytes) -> Result<Body, Refusal> {
        if bytes.len() <= PIECE_BYTES {
            return Ok(bytes.into());
        }
        let need = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let permit = self.bytes.clone().try_acquire_many_owned(need);
        let permit = permit.map_err(|_| busy("max-pending-bytes of answers are being sent"))?;
        Ok(Body::new(Pieces {
            rest: bytes,
            _permit: permit,
        }))
    }
}

/// A body in pieces.
struct Pieces {
    rest: Bytes,
    _permit: OwnedSemaphorePermit,
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
        drop(
            self.bytes
                .split(self.bytes.num_permits().saturating_sub(length)),
        );
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
        let admit = |headers: HeaderMap| admission.admit(&headers, 6, "body", "max-value-bytes");
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
        let large = Bytes::from((0..200_000u32).map(|at| at as u8).collect::<Vec<_>>());
        let body = admission.answer(large.clone()).unwrap();
        assert_eq!(
            admission.answer(large.clone()).unwrap_err().problem.status,
            429
        );
        assert!(admission.answer(Bytes::from_static(b"small")).is_ok());
        assert_eq!(axum::body::to_bytes(body, usize::MAX).await.unwrap(), large);
        assert!(admission.answer(large).is_ok());
    }
}
