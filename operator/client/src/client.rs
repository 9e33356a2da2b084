//! The calls.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use quorate_wire::{MemberRequest, MemberStatus, PROBLEM_BASE, Problem};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

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

    /// `POST /admin/{path}`: whatever the request asks for. Returns what the member answers.
    ///
    /// # Errors
    /// See [`Error`]; what a member refuses a request for stands with the request.
    pub async fn ask(&self, admin: &str, request: &MemberRequest) -> Result<Value, Error> {
        let url = format!("{}://{admin}/admin/{}", self.admin_scheme, request.path);
        let timeout = self.timeouts.change;
        self.call(Method::POST, url, Some(&request.body), timeout)
            .await
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
