//! `GET /kv`: keys in order, a page at a time. Each page is a read of its own.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::Uri;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use quorate_group::GroupAccess;
use quorate_node::http::admission::Held;
use quorate_node::http::base64::Base64;
use quorate_node::http::parameters::Parameters;
use quorate_node::http::problem::{Refusal, bad_request, internal};
use quorate_raft_cluster_core::{Entry, Page, PageQuery};
use serde::Serialize;

use super::read::{CONSISTENCY, Consistency};
use super::uri::key_parameter;
use super::{Api, REVISION};

/// Entries of a page that does not say how many.
const DEFAULT_LIMIT: usize = 100;
/// Bytes of keys and values after which a page ends early.
const MAX_PAGE_BYTES: usize = 4 << 20;

/// A page as JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PageBody {
    revision: u64,
    entries: Vec<EntryBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Base64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EntryBody {
    key: Base64,
    value: Base64,
    revision: u64,
    create_revision: u64,
    version: u64,
}

impl From<Page> for PageBody {
    fn from(page: Page) -> Self {
        let entry = |Entry { key, record }| EntryBody {
            key: Base64(key),
            value: Base64(record.value),
            revision: record.mod_revision,
            create_revision: record.create_revision,
            version: record.version,
        };
        Self {
            revision: page.revision,
            entries: page.entries.into_iter().map(entry).collect(),
            next: page.next.map(Base64),
        }
    }
}

/// `GET /kv?prefix=&start=&limit=`
pub async fn page<G: GroupAccess>(
    State(api): State<Arc<Api<G>>>,
    uri: Uri,
    held: Held,
) -> Result<Response, Refusal> {
    let parameters = Parameters::of(&uri, &["prefix", "start", "limit", CONSISTENCY])?;
    let consistency = Consistency::of(&parameters)?;
    let query = PageQuery {
        prefix: key_parameter(&parameters, "prefix", api.settings.max_key_bytes)?,
        start: key_parameter(&parameters, "start", api.settings.max_key_bytes)?,
        limit: limit(&parameters, api.settings.max_page_entries)?,
        bytes: MAX_PAGE_BYTES,
    };
    let read = api
        .walk(&held, consistency, move |view| view.page(&query))
        .await?;
    let described = [
        (REVISION, read.value.revision.to_string()),
        (CACHE_CONTROL, "no-cache".into()),
        (CONTENT_TYPE, "application/json".into()),
    ];
    let json = serde_json::to_vec(&PageBody::from(read.value))
        .map_err(|error| internal(error.to_string()))?;
    Ok((
        read.age,
        described,
        api.admission.answer(&held, json.into())?,
    )
        .into_response())
}

fn limit(parameters: &Parameters, most: usize) -> Result<usize, Refusal> {
    match parameters.number("limit")? {
        None => Ok(DEFAULT_LIMIT.min(most)),
        Some(limit) if (1..=most).contains(&limit) => Ok(limit),
        Some(_) => Err(bad_request(
            "limit",
            format!("It is 1 to {most} (max-page-entries)."),
        )),
    }
}
