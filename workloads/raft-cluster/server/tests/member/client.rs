//! A tiny HTTP client: one connection for each request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use quorate_node::conn::Conn;
use quorate_node::tls::Tls;
use quorate_wire::Problem;
use tokio::net::TcpStream;

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub fn revision(&self) -> u64 {
        self.header("quorate-revision")
            .parse()
            .unwrap_or_else(|_| panic!("no revision: {self:?}"))
    }

    /// The end of the problem's type.
    pub fn problem(&self) -> String {
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{self:?}"
        );
        let problem: Problem = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem.status, self.status.as_u16());
        problem
            .kind
            .strip_prefix(quorate_wire::PROBLEM_BASE)
            .unwrap()
            .to_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Status and body, for a short comparison.
    pub fn told(&self) -> (u16, &str) {
        (
            self.status.as_u16(),
            std::str::from_utf8(&self.body).unwrap(),
        )
    }
}

/// Sends one request.
pub async fn send(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> std::io::Result<Answer> {
    send_over(to, None, method, path, headers, body).await
}

/// As [`send`], over TLS to a server of this name when certificates are given.
pub async fn send_over(
    to: SocketAddr,
    tls: Option<(&Arc<Tls>, &str)>,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> std::io::Result<Answer> {
    let mut request = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", to.to_string());
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.into())).unwrap();
    let exchange = async {
        let stream = TcpStream::connect(to).await?;
        let conn = Conn::connect(
            stream,
            tls.map(|(tls, _)| tls),
            tls.map_or("", |(_, name)| name),
        )
        .await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(conn))
            .await
            .map_err(std::io::Error::other)?;
        let connection = tokio::spawn(connection);
        let (head, body) = sender
            .send_request(request)
            .await
            .map_err(std::io::Error::other)?
            .into_parts();
        let body = body
            .collect()
            .await
            .map_err(std::io::Error::other)?
            .to_bytes();
        connection.abort();
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body,
        })
    };
    tokio::time::timeout(PATIENCE, exchange).await?
}
