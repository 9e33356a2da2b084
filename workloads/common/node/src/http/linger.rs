//! Answers that come before the request's body has been read: 413, 400, 429.
//!
//! Closing a connection on which the client still sends makes TCP reset it, and a reset can take the answer away
//! before the client has read it. So the rest of the body is read and thrown away first, within bounds.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http::header::EXPECT;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;

/// Whoever sends more than this, or more slowly, is cut off.
const MOST_BYTES: usize = 16 << 20;
const LONGEST: Duration = Duration::from_secs(2);

/// Middleware: reads what the handler left of the body.
pub async fn linger(request: Request, next: Next) -> Response {
    // Who waits to be told to send has sent nothing yet, and reading would tell it to.
    if request.body().is_end_stream() || request.headers().contains_key(EXPECT) {
        return next.run(request).await;
    }
    let (head, body) = request.into_parts();
    let mut rest = Shared(Arc::new(Mutex::new(body)));
    let lent = Body::new(Shared(Arc::clone(&rest.0)));
    let response = next.run(Request::from_parts(head, lent)).await;
    if !rest.is_end_stream() {
        let _ = tokio::time::timeout(LONGEST, discard(&mut rest)).await;
    }
    response
}

async fn discard(body: &mut Shared) {
    let mut left = MOST_BYTES;
    while let Some(Ok(frame)) = body.frame().await {
        let read = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(read) {
            Some(less) => left = less,
            None => return,
        }
    }
}

/// A body that the handler reads from, and that outlives the handler's interest in it.
struct Shared(Arc<Mutex<Body>>);

impl Shared {
    /// Never contended: the handler is done with it when its rest is read.
    fn body(&self) -> MutexGuard<'_, Body> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl http_body::Body for Shared {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut *self.body()).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body().size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Router;
    use axum::middleware::from_fn;
    use axum::routing::put;
    use http::StatusCode;
    use tower::ServiceExt;

    use super::*;

    /// A body of so many pieces that counts how many were read.
    struct Counted {
        left: usize,
        read: Arc<AtomicUsize>,
    }

    impl http_body::Body for Counted {
        type Data = Bytes;
        type Error = axum::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
            if self.left == 0 {
                return Poll::Ready(None);
            }
            self.left -= 1;
            self.read.fetch_add(1, Ordering::Relaxed);
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; 1 << 20])))))
        }

        fn is_end_stream(&self) -> bool {
            self.left == 0
        }
    }

    /// How many of `pieces` pieces of a MiB are read although the handler reads none.
    async fn read_of(pieces: usize, expect: bool) -> usize {
        let read = Arc::new(AtomicUsize::new(0));
        let body = Body::new(Counted {
            left: pieces,
            read: Arc::clone(&read),
        });
        let routes = Router::new()
            .route("/", put(|| async { StatusCode::PAYLOAD_TOO_LARGE }))
            .layer(from_fn(linger));
        let mut request = Request::put("/");
        if expect {
            request = request.header(EXPECT, "100-continue");
        }
        let answer = routes.oneshot(request.body(body).unwrap()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
        read.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn what_the_handler_leaves_is_read_within_bounds() {
        assert_eq!(read_of(3, false).await, 3);
        assert_eq!(read_of(100, false).await, 17, "the bound, and one more");
        assert_eq!(read_of(3, true).await, 0, "it was not told to send");
    }

    #[tokio::test]
    async fn the_handler_reads_the_body_as_it_is() {
        let echo = put(|body: Bytes| async { body });
        let routes = Router::new().route("/", echo).layer(from_fn(linger));
        let request = Request::put("/").body(Body::from("value")).unwrap();
        let answer = routes.oneshot(request).await.unwrap().into_body();
        assert_eq!(answer.collect().await.unwrap().to_bytes(), "value");
    }
}
