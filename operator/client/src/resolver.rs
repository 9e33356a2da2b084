//! Names to addresses: DNS, or a table that the host keeps.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::dns::Name;

/// A table of names that a host keeps: `None` for one that it does not have.
pub type Lookup = dyn Fn(&str) -> Option<IpAddr> + Send + Sync;

/// How a member's DNS name becomes an address. It is asked at every new connection and nothing is remembered, so a
/// pod that moved is found.
#[derive(Clone)]
pub enum Resolver {
    /// The system's resolver.
    System,
    /// A table of the host's own.
    Table(Arc<Lookup>),
}

impl Resolver {
    /// A resolver over a function.
    pub fn table(lookup: impl Fn(&str) -> Option<IpAddr> + Send + Sync + 'static) -> Self {
        Resolver::Table(Arc::new(lookup))
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Resolver::System => "Resolver::System",
            Resolver::Table(_) => "Resolver::Table(..)",
        })
    }
}

impl tower_service::Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolver = self.clone();
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = match resolver {
                // The port is the URL's; hyper puts it in.
                Resolver::System => tokio::net::lookup_host((name.as_str(), 0)).await?.collect(),
                Resolver::Table(lookup) => {
                    let ip = lookup(name.as_str()).ok_or_else(|| {
                        io::Error::new(
                            io::ErrorKind::NotFound,
                            format!("no pod has the name {}", name.as_str()),
                        )
                    })?;
                    vec![SocketAddr::new(ip, 0)]
                }
            };
            Ok(addresses.into_iter())
        })
    }
}
