//! A connection that does not wait for ever for a client that takes nothing: what is on its way to it holds memory
//! and its share of the limits.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Fails once the other side has taken nothing for so long although there was something to take.
#[derive(Debug)]
pub struct Impatient<C> {
    conn: C,
    patience: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<C> Impatient<C> {
    /// Wraps a connection.
    pub fn new(conn: C, patience: Duration) -> Self {
        Self {
            conn,
            patience,
            stalled: None,
        }
    }

    /// Passes on what came of a write; lets the time run while it waits.
    fn judge<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let patience = self.patience;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep(patience)));
        stalled
            .as_mut()
            .poll(cx)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Impatient<C> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().conn).poll_read(cx, buf)
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Impatient<C> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.conn).poll_write(cx, buf);
        this.judge(written, cx)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.conn).poll_flush(cx);
        this.judge(flushed, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let closed = Pin::new(&mut this.conn).poll_shutdown(cx);
        this.judge(closed, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.conn).poll_write_vectored(cx, bufs);
        this.judge(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.conn.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(400);

    #[tokio::test]
    async fn who_takes_nothing_is_given_up() {
        let (near, _far) = duplex(64);
        let mut conn = Impatient::new(near, PATIENCE);
        let error = conn.write_all(&[0; 100]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn who_takes_a_little_now_and_then_is_served() {
        let (near, mut far) = duplex(64);
        let slow = tokio::spawn(async move {
            let mut taken = [0; 64];
            for _ in 0..4 {
                sleep(PATIENCE / 4).await;
                far.read_exact(&mut taken).await.unwrap();
            }
        });
        let mut conn = Impatient::new(near, PATIENCE);
        conn.write_all(&[0; 256]).await.unwrap();
        // Nothing was to be taken meanwhile: silence alone is no stall.
        sleep(PATIENCE * 2).await;
        slow.await.unwrap();
    }
}
