//! Opens connections to peers: from the member's own address, to wherever the peer's name leads now.

use std::io;
use std::net::{IpAddr, SocketAddr};

use quorate_node::conn::Conn;
use quorate_node::resolve::{ResolveError, split};
use tokio::net::{TcpSocket, TcpStream};

use crate::options::Options;

/// Why no connection was made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error("{address} has no address that can be reached from bind-address {from}")]
    Family { address: String, from: IpAddr },
    #[error("no connection from {from} to {to}: {source}")]
    Connect {
        from: IpAddr,
        to: SocketAddr,
        source: io::Error,
    },
    #[error(
        "no TLS with {address}: {source} (both sides need certificates of one authority, the other's for that name)"
    )]
    Tls { address: String, source: io::Error },
}

/// Opens a connection to `HOST:PORT`.
pub(crate) async fn dial(options: &Options, address: &str) -> Result<Conn, DialError> {
    let (host, _) = split(address)?;
    let from = options.bind_address;
    let mut error = DialError::Family {
        address: address.to_owned(),
        from,
    };
    for to in options.resolver.resolve(address).await? {
        if to.is_ipv4() != from.is_ipv4() {
            continue;
        }
        match tokio::time::timeout(options.silence(), connect(from, to))
            .await
            .unwrap_or_else(|late| Err(late.into()))
        {
            Ok(tcp) => {
                let tls = |source| DialError::Tls {
                    address: address.to_owned(),
                    source,
                };
                return Conn::connect(tcp, options.tls.as_ref(), host)
                    .await
                    .map_err(tls);
            }
            Err(source) => error = DialError::Connect { from, to, source },
        }
    }
    Err(error)
}

async fn connect(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    socket.set_nodelay(true)?;
    if !from.is_unspecified() {
        socket.bind(SocketAddr::new(from, 0))?;
    }
    socket.connect(to).await
}

#[cfg(test)]
mod tests {
    use quorate_raft::Contact;
    use tokio::net::TcpListener;

    use super::*;

    fn options(from: &str) -> Options {
        Options::new(
            "c",
            quorate_group_core::Config::new(Contact::default(), 1),
            from.parse().unwrap(),
        )
    }

    #[tokio::test]
    async fn connections_leave_from_the_bind_address() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap().to_string();
        let conn = dial(&options("127.9.8.7"), &to).await.unwrap();
        let (_, seen) = listener.accept().await.unwrap();
        assert_eq!(seen.ip(), "127.9.8.7".parse::<IpAddr>().unwrap());
        drop(conn);
    }

    #[tokio::test]
    async fn errors_name_both_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap().to_string();
        drop(listener);
        let error = dial(&options("127.0.0.1"), &to)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(&to) && error.contains("from 127.0.0.1"),
            "{error}"
        );
        let error = dial(&options("::1"), &to).await.unwrap_err().to_string();
        assert!(error.contains("bind-address ::1"), "{error}");
    }
}
