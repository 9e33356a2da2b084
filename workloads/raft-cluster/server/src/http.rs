//! The client API over HTTP.

mod batch;
mod conditions;
mod keys;
mod outcome;
mod pages;
mod problems;
mod read;
mod session;
mod sessions;
#[cfg(test)]
mod tests;
mod uri;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderName, Method, Uri};
use axum::Router;
use axum::routing::{get, post};
use bytes::Bytes;
use quorate_group::GroupAccess;
use quorate_group_core::{Refused, Reply, Request};
use quorate_node::http::admission::Admission;
use quorate_node::http::body;
use quorate_node::http::problem::{Refusal, no_such_method, no_such_path};
use quorate_node::resolve::{Resolver, split};
use tokio::sync::Semaphore;

use crate::settings::MemberSettings;

/// The store's revision, on every answer that is a success.
pub const REVISION: HeaderName = HeaderName::from_static("quorate-revision");
/// How old the state behind a stale answer may be, in milliseconds.
pub const MAX_AGE: HeaderName = HeaderName::from_static("quorate-max-age-ms");

/// The group answers within the request timeout by itself; this is how much longer it is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the handlers share.
pub struct Api<G> {
    group: G,
    settings: MemberSettings,
    admission: Admission,
    /// The turns of reads of many keys.
    walks: Arc<Semaphore>,
    names: Resolver,
}

impl<G: GroupAccess> Api<G> {
    /// The API of a group.
    pub fn new(group: G, settings: MemberSettings) -> Self {
        let admission = Admission::new(settings.max_pending_requests, settings.max_pending_bytes);
        let names = Resolver::new(settings.hosts_file.clone());
        Self {
            group,
            settings,
            admission,
            walks: Arc::new(Semaphore::new(walks())),
            names,
        }
    }

    /// The routes of the client listener.
    pub fn routes(self) -> Router {
        let keys = || {
            get(keys::get::<G>)
                .put(keys::put::<G>)
                .delete(keys::delete::<G>)
                .fallback(method_fallback)
        };
        Router::new()
            .route("/kv", get(pages::page::<G>).fallback(method_fallback))
            .route("/kv/", keys())
            .route("/kv/{*key}", keys())
            .route(
                "/kv:batch",
                post(batch::batch::<G>).fallback(method_fallback),
            )
            .route(
                "/sessions",
                post(sessions::open::<G>).fallback(method_fallback),
            )
            .route(
                "/sessions/{id}",
                axum::routing::delete(sessions::close::<G>).fallback(method_fallback),
            )
            .fallback(path_fallback)
            .with_state(Arc::new(self))
    }

    /// Asks the group; what it does not answer in time is unknown.
    async fn ask(&self, request: Request) -> (Reply, Option<String>) {
        let patience = self.settings.request_timeout() + PATIENCE;
        let reply = tokio::time::timeout(patience, self.group.request(request))
            .await
            .unwrap_or(Reply::Unknown);
        let leader = match &reply {
            Reply::Refused(why) => self.leader_url(why),
            Reply::Unknown => self.leader_url(&Refused::NoLeader { hint: None }),
            _ => None,
        };
        (reply, leader)
    }

    /// Where the leader's clients are served: the host of its peer address, and the port that is ours too, since
    /// all members of a cluster are configured alike. Of a name from the hosts file clients know nothing: they get
    /// its address.
    fn leader_url(&self, why: &Refused) -> Option<String> {
        let member = self.group.leader(why)?;
        let port = self.settings.client_port;
        let (name, _) = split(&member.address).ok()?;
        let host = match self.names.in_hosts_file(name) {
            Some(address) => SocketAddr::new(address, port).to_string(),
            None => format!("{name}:{port}"),
        };
        let scheme = if self.settings.tls_dir.is_some() {
            "https"
        } else {
            "http"
        };
        Some(format!("{scheme}://{host}"))
    }

    /// Reads a body of at most `limit` bytes, in time.
    async fn body(
        &self,
        body: axum::body::Body,
        limit: usize,
        limit_name: &str,
    ) -> Result<Bytes, Refusal> {
        body::read(body, self.settings.request_timeout(), limit, limit_name).await
    }
}

/// How many pages are read at a time: half of the processors stay for the group.
fn walks() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    (processors / 2).max(1)
}

async fn path_fallback(uri: Uri) -> Refusal {
    no_such_path(uri.path(), "/kv/{key}, /kv, /kv:batch and /sessions")
}

async fn method_fallback(method: Method) -> Refusal {
    no_such_method(method.as_str())
}
