//! What hyper refuses before it asks the service (a head that is malformed, or too large) it answers itself, with an
//! empty body. Here such an answer becomes a problem, as every other refusal is (but to HEAD, whose answers have none).
//!
//! hyper asks the service for every request that it can read, and reads the next head only after it has flushed the
//! answer to the last. So what it writes while nobody has been asked since the last flush is its own.

use std::io::{self, Write as _};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::StatusCode;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::flow::Sending;
use crate::http::problem::Refusal;

/// Whoever is still sending when the connection closes loses the answer, so the rest is read; so long, and no longer.
const LINGER: Duration = Duration::from_secs(2);
const EMPTY: &[u8] = b"content-length: 0\r\n";
const HEAD: &[u8] = b"HEAD ";

/// Whose turn it is on one connection: the service's, or hyper's.
#[derive(Clone, Debug, Default)]
pub struct Turn(Arc<Asked>);

#[derive(Debug, Default)]
struct Asked {
    /// The service is at work, or its answer is not yet handed over whole.
    now: AtomicBool,
    since_flush: AtomicBool,
}

/// The service was asked; it is answering until this is dropped.
#[derive(Debug)]
pub struct Answering(Turn);

impl Turn {
    /// The service is asked.
    pub fn begin(&self) -> Answering {
        self.0.now.store(true, SeqCst);
        self.0.since_flush.store(true, SeqCst);
        Answering(self.clone())
    }

    /// Whether an answer of the service's was just finished.
    fn flushed(&self) -> bool {
        !self.0.now.load(SeqCst) && self.0.since_flush.swap(false, SeqCst)
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.0.now.store(false, SeqCst);
    }
}

/// A body that the service answers with.
#[derive(Debug)]
pub struct Answered<B> {
    body: B,
    /// Over HTTP/2: what tells whether the client takes it.
    sending: Option<Sending>,
    begun: bool,
    _until_sent: Answering,
}

impl<B> Answered<B> {
    /// The turn ends with the body.
    pub fn new(body: B, answering: Answering, sending: Option<Sending>) -> Self {
        Self {
            body,
            sending,
            begun: false,
            _until_sent: answering,
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Answered<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Some(sending) = &self.sending {
            match frame {
                Poll::Pending => sending.waits_for_us(),
                Poll::Ready(_) => sending.taken(),
            }
        }
        self.begun |= frame.is_ready();
        frame
    }

    /// Over HTTP/2 the end is one more thing to take: hyper asks for it only when all before has gone out.
    fn is_end_stream(&self) -> bool {
        let is_ended = self.body.is_end_stream();
        is_ended && !(self.begun && self.sending.is_some())
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection on which hyper's own answers say what is wrong.
#[derive(Debug)]
pub struct Explained<C> {
    conn: C,
    turn: Turn,
    /// How the next head begins, as far as [`HEAD`] is long: an answer to HEAD has no body, whoever gives it.
    begins: Vec<u8>,
    /// What is still to be written in place of an answer of hyper's.
    instead: Vec<u8>,
    lingering: Option<Pin<Box<Sleep>>>,
}

impl<C> Explained<C> {
    /// Wraps a connection.
    pub fn new(conn: C, turn: Turn) -> Self {
        Self {
            conn,
            turn,
            begins: Vec::new(),
            instead: Vec::new(),
            lingering: None,
        }
    }

    /// Takes the bytes over if they are an answer of hyper's own.
    fn take(&mut self, bytes: &[u8]) -> bool {
        // Of a request that came in one piece with the last it is not known what it was: hyper's own answer fits any.
        let may_have_body = self.begins.len() == HEAD.len() && self.begins != HEAD;
        if self.turn.0.since_flush.load(SeqCst) || !may_have_body {
            return false;
        }
        let Some(instead) = explain(bytes) else {
            return false;
        };
        self.instead = instead;
        self.lingering = Some(Box::pin(sleep(LINGER)));
        true
    }
}

impl<C: AsyncWrite + Unpin> Explained<C> {
    fn poll_instead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.instead.is_empty() {
            let written = ready!(Pin::new(&mut self.conn).poll_write(cx, &self.instead))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.instead.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

/// The answer with a body, if `bytes` are the head of one without that says that a request cannot be read.
fn explain(bytes: &[u8]) -> Option<Vec<u8>> {
    let status = bytes.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    let (kind, title, detail) = match status {
        b"400" => (
            "malformed",
            "The request cannot be read",
            "The head of this request is not HTTP/1.1: look for a raw space or control byte in the URL (percent-encode \
             it), a header without a name or with a line break in it, or a wrong or doubled Content-Length.",
        ),
        b"414" => (
            "url-too-long",
            "The URL is too long",
            "A URL has less than 64 KiB here. Send a shorter key, prefix or start.",
        ),
        b"431" => (
            "head-too-large",
            "The head is too large",
            "The head of a request has at most 100 headers and 400 KiB here. Send fewer or shorter headers.",
        ),
        _ => return None,
    };
    let at = bytes
        .windows(EMPTY.len())
        .position(|window| window == EMPTY)?;
    let status = StatusCode::from_bytes(status).ok()?;
    let body = serde_json::to_vec(&Refusal::new(status, kind, title, detail).problem).ok()?;
    let mut answer = bytes[..at].to_vec();
    write!(
        answer,
        "content-type: application/problem+json\r\ncontent-length: {}\r\n",
        body.len()
    )
    .ok()?;
    answer.extend_from_slice(&bytes[at + EMPTY.len()..]);
    answer.extend_from_slice(&body);
    Some(answer)
}

impl<C: AsyncRead + Unpin> AsyncRead for Explained<C> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.conn).poll_read(cx, buf))?;
        let missing = HEAD.len() - this.begins.len();
        let begins = buf.filled()[before..].iter();
        // hyper passes over empty lines before a head.
        let begins = begins.skip_while(|byte| this.begins.is_empty() && b"\r\n".contains(byte));
        let begins: Vec<u8> = begins.take(missing).copied().collect();
        this.begins.extend(begins);
        Poll::Ready(Ok(()))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Explained<C> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_instead(cx))?;
        if this.take(buf) {
            return Poll::Ready(Ok(buf.len()));
        }
        Pin::new(&mut this.conn).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_instead(cx))?;
        if let [head] = bufs
            && this.take(head)
        {
            return Poll::Ready(Ok(head.len()));
        }
        Pin::new(&mut this.conn).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.conn.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_instead(cx))?;
        ready!(Pin::new(&mut this.conn).poll_flush(cx))?;
        if this.turn.flushed() {
            this.begins.clear();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_instead(cx))?;
        ready!(Pin::new(&mut this.conn).poll_shutdown(cx))?;
        let Some(lingering) = &mut this.lingering else {
            return Poll::Ready(Ok(()));
        };
        let mut rest = [0; 4096];
        while lingering.as_mut().poll(cx).is_pending() {
            let mut rest = ReadBuf::new(&mut rest);
            ready!(Pin::new(&mut this.conn).poll_read(cx, &mut rest))?;
            if rest.filled().is_empty() {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}
