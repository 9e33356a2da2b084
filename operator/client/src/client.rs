//! The calls.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use quorate_wire::{
    AddLearner, Bootstrap, ChangeMember, ConfigurationStatus, MemberRequest, MemberStatus,
    PROBLEM_BASE, Problem, SetAside, TransferLeader,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::chain;
use crate::{Error, Identity, Resolver, TlsError};

/// No document of a member comes near this; whatever is larger is not read on.
const MAX_BODY_BYTES: usize = 4 << 20;

/// How long a call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To connect, for each address.
    pub connect: Duration,
    /// For a read, from the first byte out to the last byte in.
    pub read: Duration,
    /// For a change, which the group must commit.
    pub change: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(1),
            read: Duration::from_secs(2),
            change: Duration::from_secs(10),
        }
    }
}

/// The admin and health listeners of the members of one cluster. Cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: hyper_util::client::legacy::Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>,
    admin_scheme: &'static str,
    timeouts: Timeouts,
}

impl Client {
    /// A client that finds members by `resolver`. With an identity the admin listener is called over TLS with that
    /// certificate; the health listener is always plain.
    ///
    /// # Errors
    /// When the identity is not usable.
    pub fn new(
        resolver: Resolver,
        identity: Option<&Identity>,
        timeouts: Timeouts,
    ) -> Result<Self, TlsError> {
        let mut connector = HttpConnector::new_with_resolver(resolver);
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(timeouts.connect));
        let tls = match identity {
            Some(identity) => identity.client_config()?,
            None => rustls::ClientConfig::builder_with_provider(
                rustls::crypto::ring::default_provider().into(),
            )
            .with_safe_default_protocol_versions()?
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth(),
        };
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            // A paused or replaced member must not be talked to over a connection to its predecessor for long.
            .pool_idle_timeout(Duration::from_secs(10))
            .pool_max_idle_per_host(2)
            .build(connector);
        Ok(Self {
            http,
            admin_scheme: if identity.is_some() { "https" } else { "http" },
            timeouts,
        })
    }

    /// `GET /status` of a health listener, given as `HOST:PORT`.
    ///
    /// # Errors
    /// When no such document came within the read timeout.
    pub async fn status(&self, health: &str) -> Result<MemberStatus, Error> {
        self.call(
            Method::GET,
            format!("http://{health}/status"),
            None::<&()>,
            self.timeouts.read,
        )
        .await
    }

    /// Any change, see the methods of each.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn ask(
        &self,
        admin: &str,
        request: &MemberRequest,
    ) -> Result<ConfigurationStatus, Error> {
        match request {
            MemberRequest::Bootstrap(body) => self.bootstrap(admin, body).await,
            MemberRequest::AddLearner(body) => self.add_learner(admin, body).await,
            MemberRequest::Promote { id, change } => self.promote(admin, id, change).await,
            MemberRequest::Remove { id, change } => self.remove(admin, id, change).await,
            MemberRequest::TransferLeader(body) => self.transfer_leader(admin, body).await,
            MemberRequest::SetAside(body) => self.set_aside(admin, body).await,
        }
    }

    /// `POST /admin/bootstrap`: makes a group of this one member; idempotent.
    ///
    /// # Errors
    /// See [`Error`]; 409 when the disk is another than `body` names, or knows another group.
    pub async fn bootstrap(
        &self,
        admin: &str,
        body: &Bootstrap,
    ) -> Result<ConfigurationStatus, Error> {
        self.change(admin, "bootstrap", body).await
    }

    /// `GET /admin/members`: the configuration as the member sees it.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn members(&self, admin: &str) -> Result<ConfigurationStatus, Error> {
        self.call(
            Method::GET,
            self.admin_url(admin, "members"),
            None::<&()>,
            self.timeouts.read,
        )
        .await
    }

    /// `POST /admin/members`: adds a learner.
    ///
    /// # Errors
    /// See [`Error`]; 409 when another configuration is in force, 503 when the member does not lead.
    pub async fn add_learner(
        &self,
        admin: &str,
        body: &AddLearner,
    ) -> Result<ConfigurationStatus, Error> {
        self.change(admin, "members", body).await
    }

    /// `POST /admin/members/{id}/promote`: makes a caught-up learner a voter.
    ///
    /// # Errors
    /// See [`Error`]; 409 when another configuration is in force or the learner has not caught up.
    pub async fn promote(
        &self,
        admin: &str,
        id: &str,
        body: &ChangeMember,
    ) -> Result<ConfigurationStatus, Error> {
        self.change(admin, &format!("members/{id}/promote"), body)
            .await
    }

    /// `POST /admin/members/{id}/remove`: takes a member out.
    ///
    /// # Errors
    /// See [`Error`]; 409 when another configuration is in force or the quorum would be lost.
    pub async fn remove(
        &self,
        admin: &str,
        id: &str,
        body: &ChangeMember,
    ) -> Result<ConfigurationStatus, Error> {
        self.change(admin, &format!("members/{id}/remove"), body)
            .await
    }

    /// `POST /admin/leader`: hands leadership over.
    ///
    /// # Errors
    /// See [`Error`]; 503 when the member does not lead or the successor did not catch up in time, 504 when it was told
    /// to stand and did not win in time: it may yet.
    pub async fn transfer_leader(
        &self,
        admin: &str,
        body: &TransferLeader,
    ) -> Result<ConfigurationStatus, Error> {
        self.change(admin, "leader", body).await
    }

    /// `POST /admin/set-aside`: has a damaged member set its data aside at its next start; idempotent.
    ///
    /// # Errors
    /// See [`Error`]; 409 when the member is sound, when another identity is on its disk, or without room for another.
    pub async fn set_aside(
        &self,
        admin: &str,
        body: &SetAside,
    ) -> Result<ConfigurationStatus, Error> {
        self.change(admin, "set-aside", body).await
    }

    async fn change<T: DeserializeOwned>(
        &self,
        admin: &str,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        self.call(
            Method::POST,
            self.admin_url(admin, path),
            Some(body),
            self.timeouts.change,
        )
        .await
    }

    fn admin_url(&self, admin: &str, path: &str) -> String {
        format!("{}://{admin}/admin/{path}", self.admin_scheme)
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        url: String,
        body: Option<&impl Serialize>,
        timeout: Duration,
    ) -> Result<T, Error> {
        let mut request = Request::builder()
            .method(method)
            .uri(&url)
            .header(header::ACCEPT, "application/json");
        let body = match body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Bytes::from(serde_json::to_vec(body).map_err(|_| Error::BadUrl(url.clone()))?)
            }
            None => Bytes::new(),
        };
        let request = request
            .body(Full::new(body))
            .map_err(|_| Error::BadUrl(url.clone()))?;
        match tokio::time::timeout(timeout, self.exchange(request, &url)).await {
            Ok(Ok((status, body))) => decode(url, status, &body),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Error::TimedOut {
                url,
                after: timeout,
            }),
        }
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        url: &str,
    ) -> Result<(StatusCode, Bytes), Error> {
        let response = self
            .http
            .request(request)
            .await
            .map_err(|error| Error::Unreachable {
                url: url.to_owned(),
                reason: chain(&error),
            })?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_BODY_BYTES)
            .collect()
            .await
            .map_err(|error| Error::Foreign {
                url: url.to_owned(),
                status: status.as_u16(),
                reason: chain(error.as_ref()),
            })?;
        Ok((status, body.to_bytes()))
    }
}

fn decode<T: DeserializeOwned>(url: String, status: StatusCode, body: &[u8]) -> Result<T, Error> {
    let foreign = |reason: String| Error::Foreign {
        url: url.clone(),
        status: status.as_u16(),
        reason,
    };
    if status.is_success() {
        return serde_json::from_slice(body).map_err(|error| foreign(error.to_string()));
    }
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) if problem.kind.starts_with(PROBLEM_BASE) => Err(Error::Refused {
            url,
            problem: Box::new(problem),
        }),
        Ok(problem) => Err(foreign(format!("problem type `{}`", problem.kind))),
        Err(_) => Err(foreign(
            String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned(),
        )),
    }
}
