//! `POST /sessions`, `DELETE /sessions/{id}`.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::header::LOCATION;
use http::{HeaderMap, StatusCode, Uri};
use quorate_group::GroupAccess;
use quorate_group_core::Request;
use quorate_node::http::admission::Held;
use quorate_node::http::body::object;
use quorate_node::http::parameters::Parameters;
use quorate_node::http::problem::{Refusal, bad_request};
use serde::{Deserialize, Serialize};

use super::{Api, REVISION, outcome, session};
use crate::settings::SESSION_LIFETIMES_MS;

/// A body that says how long a session shall live has at most so many bytes.
const MAX_BODY_BYTES: usize = 1024;

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OpenBody {
    lifetime_ms: Option<u64>,
}

/// The id is a text: numbers in JSON are not always 64 bits wide.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OpenAnswer {
    id: String,
    lifetime_ms: u64,
}

/// `POST /sessions`
pub async fn open<G: GroupAccess>(
    State(api): State<Arc<Api<G>>>,
    uri: Uri,
    headers: HeaderMap,
    held: Held,
    body: Body,
) -> Result<Response, Refusal> {
    Parameters::of(&uri, &[])?;
    let _admitted = api.admission.admit(
        &held,
        &headers,
        MAX_BODY_BYTES,
        "body",
        "the size of such a body",
    )?;
    let bytes = api
        .body(body, MAX_BODY_BYTES, "the size of such a body")
        .await?;
    let lifetime_ms = lifetime(&bytes)?.unwrap_or(api.settings.session_lifetime_ms);
    let (reply, leader) = api.ask(Request::OpenSession { lifetime_ms }).await;
    let (id, lifetime_ms) = outcome::of_open(reply, leader)?;
    let id = id.to_string();
    let described = [
        (LOCATION, format!("/sessions/{id}")),
        (REVISION, api.revision()?),
    ];
    Ok((
        StatusCode::CREATED,
        described,
        Json(OpenAnswer { id, lifetime_ms }),
    )
        .into_response())
}

/// `DELETE /sessions/{id}`
pub async fn close<G: GroupAccess>(
    State(api): State<Arc<Api<G>>>,
    uri: Uri,
    id: Result<Path<String>, PathRejection>,
    held: Held,
) -> Result<Response, Refusal> {
    Parameters::of(&uri, &[])?;
    // What is not UTF-8 is no number either.
    let session = session::id(&id.map(|Path(id)| id).unwrap_or_default())?;
    let _admitted = api.admission.admit(
        &held,
        &HeaderMap::new(),
        0,
        "body",
        "the size of such a body",
    )?;
    let (reply, leader) = api.ask(Request::CloseSession { session }).await;
    outcome::of_close(reply, leader)?;
    Ok((StatusCode::NO_CONTENT, [(REVISION, api.revision()?)]).into_response())
}

fn lifetime(bytes: &[u8]) -> Result<Option<u64>, Refusal> {
    if bytes.is_empty() {
        return Ok(None);
    }
    match object::<OpenBody>(bytes)?.lifetime_ms {
        Some(lifetime) if !SESSION_LIFETIMES_MS.contains(&lifetime) => {
            let detail = format!(
                "It is {} to {} milliseconds.",
                SESSION_LIFETIMES_MS.start(),
                SESSION_LIFETIMES_MS.end()
            );
            Err(bad_request("lifetimeMs", detail))
        }
        lifetime => Ok(lifetime),
    }
}

impl<G: GroupAccess> Api<G> {
    /// The revision of this member's state: sessions have none of their own.
    fn revision(&self) -> Result<String, Refusal> {
        Ok(self.look(|view| view.revision())?.to_string())
    }
}
