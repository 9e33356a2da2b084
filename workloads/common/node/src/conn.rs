//! A connection with or without TLS, so that what lies above need not know.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use crate::tls::Tls;

/// A handshake that takes longer is given up: whoever opens a connection and says nothing must not hold it.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// What a listener demands of those who connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// Nothing.
    Nothing,
    /// A certificate of the authority.
    Certificate,
}

/// A connection with or without TLS.
#[derive(Debug)]
pub enum Conn {
    /// Without.
    Plain(TcpStream),
    /// With.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Conn {
    /// Takes an accepted connection; with certificates only after the handshake.
    ///
    /// # Errors
    /// The handshake failed or took longer than five seconds.
    pub async fn accept(
        tcp: TcpStream,
        tls: Option<&Arc<Tls>>,
        demand: Demand,
    ) -> io::Result<Self> {
        let Some(tls) = tls else {
            return Ok(Self::Plain(tcp));
        };
        let config = match demand {
            Demand::Nothing => tls.server(),
            Demand::Certificate => tls.mutual_server(),
        };
        let stream =
            tokio::time::timeout(HANDSHAKE, TlsAcceptor::from(config).accept(tcp)).await??;
        Ok(Self::Tls(Box::new(stream.into())))
    }

    /// Takes a connection that we opened to `host`; with certificates only if the other side proved that name.
    ///
    /// # Errors
    /// The name is none, or the handshake failed or took longer than five seconds.
    pub async fn connect(tcp: TcpStream, tls: Option<&Arc<Tls>>, host: &str) -> io::Result<Self> {
        let Some(tls) = tls else {
            return Ok(Self::Plain(tcp));
        };
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let connect = TlsConnector::from(tls.client()).connect(name, tcp);
        let stream = tokio::time::timeout(HANDSHAKE, connect).await??;
        Ok(Self::Tls(Box::new(stream.into())))
    }
}

impl AsyncRead for Conn {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Conn {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
