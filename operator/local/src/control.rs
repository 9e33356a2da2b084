//! The other end of the control socket: how the commands speak to a running `up`.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderValue;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::UnixStream;

use crate::admission::{Applied, sort_of};
use crate::difference::Difference;
use crate::resources::ResourceType;
use crate::state_dir::StateDir;
use crate::store::{ObjectKey, StoreError};

/// Why a command got no answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No `up` runs with this folder.
    #[error("nothing supervises {}: no `quorate up` runs with this state folder; start one with `quorate up -f FILE`, or name another folder with --state-dir", .0.display())]
    NothingRuns(PathBuf),
    /// The running `up` refused, in its own words.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        code: u16,
        /// Why.
        message: String,
    },
    /// The document is none that this host knows.
    #[error(transparent)]
    Document(#[from] StoreError),
    /// The conversation broke off.
    #[error("`quorate up` did not answer: {0}; see whether it still runs")]
    Broken(String),
}

/// Every request is answered in much less.
const PATIENCE: Duration = Duration::from_secs(15);

/// Speaks to the `up` of one state folder.
#[derive(Clone, Debug)]
pub struct Control {
    dir: StateDir,
    warn: fn(&str),
}

impl Control {
    /// The control of this folder; nothing is tried yet. `warn` is told what people should hear beside an answer.
    #[must_use]
    pub fn new(dir: StateDir, warn: fn(&str)) -> Self {
        Self { dir, warn }
    }

    /// One object, or the list of all (in a namespace).
    ///
    /// # Errors
    /// See [`ControlError`]; 404 when there is no such object.
    pub async fn get(
        &self,
        resource: &ResourceType,
        namespace: Option<&str>,
        name: Option<&str>,
    ) -> Result<Value, ControlError> {
        let path = match name {
            Some(name) => format!(
                "{}/{name}",
                resource.path(Some(namespace.unwrap_or("default")))
            ),
            None => resource.path(namespace),
        };
        self.json(Method::GET, &path, None)
            .await
            .map(|(_, object)| object)
    }

    /// Makes the object what the document says; says what changed.
    ///
    /// # Errors
    /// See [`ControlError`]; 422 when the document is not valid.
    pub async fn apply(&self, document: &Value) -> Result<(Applied, Difference), ControlError> {
        let resource = sort_of(document)?;
        let key = ObjectKey::of(&resource.plural, document)?;
        let before = match self
            .get(resource, Some(&key.namespace), Some(&key.name))
            .await
        {
            Ok(before) => Some(before),
            Err(ControlError::Refused { code: 404, .. }) => None,
            Err(error) => return Err(error),
        };
        let path = format!("{}/{}", resource.path(Some(&key.namespace)), key.name);
        let (status, after) = self.json(Method::PATCH, &path, Some(document)).await?;
        let difference = before.map_or_else(Difference::default, |before| {
            Difference::between(resource, &before, &after)
        });
        let applied = match status {
            StatusCode::CREATED => Applied::Created,
            _ if difference.is_empty() => Applied::Unchanged,
            _ => Applied::Configured,
        };
        Ok((applied, difference))
    }

    /// Sets how many members a resource wants; says what changed.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub async fn scale(
        &self,
        resource: &ResourceType,
        namespace: &str,
        name: &str,
        replicas: i64,
    ) -> Result<Difference, ControlError> {
        let before = self.get(resource, Some(namespace), Some(name)).await?;
        let path = format!("{}/{name}/scale", resource.path(Some(namespace)));
        let (_, after) = self
            .json(
                Method::PATCH,
                &path,
                Some(&json!({ "spec": { "replicas": replicas } })),
            )
            .await?;
        Ok(Difference::between(resource, &before, &after))
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub async fn delete(
        &self,
        resource: &ResourceType,
        namespace: &str,
        name: &str,
    ) -> Result<(), ControlError> {
        let path = format!("{}/{name}", resource.path(Some(namespace)));
        self.json(Method::DELETE, &path, None).await.map(drop)
    }

    /// Reads a pod's log, chunk by chunk, into `sink`, until its end, or for ever with `follow`.
    ///
    /// # Errors
    /// See [`ControlError`]; an error of `sink` ends it too.
    pub async fn logs(
        &self,
        namespace: &str,
        pod: &str,
        tail: Option<usize>,
        follow: bool,
        mut sink: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), ControlError> {
        let tail = tail.map_or_else(String::new, |lines| format!("&tailLines={lines}"));
        let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/log?follow={follow}{tail}");
        let response = self.send(Method::GET, &path, None).await?;
        if !response.status().is_success() {
            return Err(refused(response).await);
        }
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(broken)?;
            if let Some(chunk) = frame.data_ref() {
                sink(chunk).map_err(broken)?;
            }
        }
        Ok(())
    }

    async fn json(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value), ControlError> {
        let response = self.send(method, path, body).await?;
        let status = response.status();
        if !status.is_success() {
            return Err(refused(response).await);
        }
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(broken)?
            .to_bytes();
        Ok((status, serde_json::from_slice(&body).map_err(broken)?))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Response<Incoming>, ControlError> {
        let stream = match UnixStream::connect(self.dir.control_socket()).await {
            Ok(stream) => stream,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                return Err(ControlError::NothingRuns(self.dir.root().to_owned()));
            }
            Err(error) => return Err(broken(error)),
        };
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        tokio::spawn(connection);
        let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(broken)?;
        let answer = tokio::time::timeout(PATIENCE, sender.send_request(request));
        let response = match answer.await {
            Ok(response) => response.map_err(broken)?,
            Err(_) => {
                let waited = PATIENCE.as_secs();
                return Err(broken(format_args!("nothing came for {waited} s")));
            }
        };
        if let Some(warning) = response.headers().get(header::WARNING).and_then(text_of) {
            (self.warn)(warning);
        }
        Ok(response)
    }
}

/// The text of a warning: `299 - "text"`.
fn text_of(warning: &HeaderValue) -> Option<&str> {
    Some(
        warning
            .to_str()
            .ok()?
            .split_once('"')?
            .1
            .trim_end_matches('"'),
    )
}

fn broken(error: impl std::fmt::Display) -> ControlError {
    ControlError::Broken(error.to_string())
}

async fn refused(response: Response<Incoming>) -> ControlError {
    let code = response.status().as_u16();
    let body = response
        .into_body()
        .collect()
        .await
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    let status: Value = serde_json::from_slice(&body).unwrap_or_default();
    let message = status["message"].as_str().map_or_else(
        || String::from_utf8_lossy(&body).into_owned(),
        str::to_owned,
    );
    ControlError::Refused { code, message }
}
