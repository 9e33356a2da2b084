//! What a call brings before its sender has said who it is: a hello, and nothing larger. The announced length is
//! judged too, since the decoder sets aside room for all of it.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// A hello is two names, an address and some numbers: less than a KiB. The rest is for later versions.
const MAX_HELLO_BYTES: usize = 4 << 10;
/// What gRPC puts before a message: a flag and the length.
const PREFIX_BYTES: usize = 5;

/// The body of a call, guarded until its sender was let in.
pub(super) struct Guarded<B> {
    body: B,
    greeted: Arc<AtomicBool>,
    prefix: [u8; PREFIX_BYTES],
    read: usize,
}

impl<B> Guarded<B> {
    pub(super) fn new(body: B, greeted: Arc<AtomicBool>) -> Self {
        Self {
            body,
            greeted,
            prefix: [0; PREFIX_BYTES],
            read: 0,
        }
    }

    fn judge(&mut self, data: &[u8]) -> Result<(), String> {
        let rest = self.prefix.iter_mut().skip(self.read);
        rest.zip(data).for_each(|(place, byte)| *place = *byte);
        self.read = self.read.saturating_add(data.len());
        let [_, length @ ..] = self.prefix;
        // Until the prefix is whole the places that are missing count as 0.
        let announced = u32::from_be_bytes(length) as usize;
        if self.read.max(announced) > MAX_HELLO_BYTES + PREFIX_BYTES {
            return Err(format!("a hello has at most {MAX_HELLO_BYTES} bytes"));
        }
        Ok(())
    }
}

impl<B> Body for Guarded<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        let frame = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
            None => return Poll::Ready(None),
            Some(frame) => frame.map_err(Into::into),
        };
        Poll::Ready(Some(frame.and_then(|frame| {
            if let Some(data) = frame.data_ref()
                && !this.greeted.load(Ordering::Relaxed)
            {
                this.judge(data)?;
            }
            Ok(frame)
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;

    use super::*;

    /// A body of these pieces.
    struct Pieces(VecDeque<Vec<u8>>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let piece = self.0.pop_front();
            Poll::Ready(piece.map(|piece| Ok(Frame::data(piece.into()))))
        }
    }

    async fn let_in(greeted: bool, pieces: &[&[u8]]) -> bool {
        let pieces = Pieces(pieces.iter().map(|piece| piece.to_vec()).collect());
        let mut body = Guarded::new(pieces, Arc::new(AtomicBool::new(greeted)));
        loop {
            match std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                None => return true,
                Some(Ok(_)) => {}
                Some(Err(_)) => return false,
            }
        }
    }

    #[tokio::test]
    async fn only_a_hello_comes_before_the_welcome() {
        let hello = [&[0, 0, 0, 0x10, 0][..], &[7; 4096]].concat();
        let announced = [0, 0, 0, 0x10, 6];
        let table: [(&[&[u8]], bool); 6] = [
            (&[&hello], true),
            (&[&hello[..2], &hello[2..7], &hello[7..]], true),
            (&[&hello, &[0]], false),
            (&[&announced], false),
            (&[&announced[..4], &announced[4..]], false),
            (&[&[0, 0xff]], false),
        ];
        for (pieces, good) in table {
            assert_eq!(let_in(false, pieces).await, good, "{pieces:?}");
            assert!(let_in(true, pieces).await, "frames may be larger");
        }
    }
}
