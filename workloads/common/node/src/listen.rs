//! Opening a listener, with messages that say what to do.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::config::Names;

/// A listener could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("the {name} listener cannot listen on {address}: {why}")]
pub struct BindError {
    name: &'static str,
    address: SocketAddr,
    why: String,
    source: io::Error,
}

/// Opens a listener. `port_field` and `address_field` are the settings (field names) that it comes from.
pub async fn bind(
    name: &'static str,
    address: SocketAddr,
    address_field: &str,
    port_field: &str,
) -> Result<TcpListener, BindError> {
    let explain = |source: io::Error| {
        let (port, host) = (Names::of(port_field), Names::of(address_field));
        let why = match source.kind() {
            io::ErrorKind::AddrInUse => format!(
                "the port is in use; stop the program that has it (`ss -ltnp 'sport = :{}'` names it) or choose another with {port}",
                address.port()
            ),
            io::ErrorKind::AddrNotAvailable => format!(
                "{} is no address of this machine; correct {host}",
                address.ip()
            ),
            io::ErrorKind::PermissionDenied => {
                format!("ports below 1024 need a privilege; choose a higher one with {port}")
            }
            _ => source.to_string(),
        };
        BindError {
            name,
            address,
            why,
            source,
        }
    };
    TcpListener::bind(address).await.map_err(explain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_told_with_the_way_out() {
        let first = bind(
            "client",
            "127.0.0.1:0".parse().unwrap(),
            "bind_address",
            "client_port",
        )
        .await
        .unwrap();
        let taken = first.local_addr().unwrap();
        let error = bind("client", taken, "bind_address", "client_port")
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("the port is in use") && error.contains("--client-port"),
            "{error}"
        );
        assert!(
            error.contains(&format!("ss -ltnp 'sport = :{}'", taken.port())),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_foreign_address_is_told_with_the_way_out() {
        // 192.0.2.0/24 is for documentation (RFC 5737): no machine has it.
        let error = bind(
            "client",
            "192.0.2.1:0".parse().unwrap(),
            "bind_address",
            "client_port",
        )
        .await
        .unwrap_err()
        .to_string();
        assert!(
            error.contains("no address of this machine") && error.contains("--bind-address"),
            "{error}"
        );
    }
}
