//! One key: PUT, GET (HEAD), DELETE.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG};
use http::{HeaderMap, StatusCode, Uri};
use quorate_group::GroupAccess;
use quorate_group_core::{Request, Write};
use quorate_node::http::admission::Held;
use quorate_node::http::parameters::Parameters;
use quorate_node::http::problem::Refusal;
use quorate_raft_cluster_core::{Command, Condition, Operation};

use super::conditions::{self, Judgement, ReadConditions, tag};
use super::outcome::{self, Asked, Done};
use super::problems::{condition_failed, no_such_key};
use super::uri;
use super::{Api, REVISION, read, session};

type Answer = Result<Response, Refusal>;

/// `PUT /kv/{key}`
pub async fn put<G: GroupAccess>(
    State(api): State<Arc<Api<G>>>,
    uri: Uri,
    headers: HeaderMap,
    held: Held,
    body: Body,
) -> Answer {
    let key = uri::key(&uri, api.settings.max_key_bytes)?;
    Parameters::of(&uri, &[])?;
    let (names, conditions) = conditions_of(&key, &headers)?;
    let session = session::of_write(&headers)?;
    let (limit, limit_name) = (api.settings.max_value_bytes, "max-value-bytes");
    let mut admitted = api
        .admission
        .admit(&held, &headers, limit, "body", limit_name)?;
    let value = api.body(body, limit, limit_name).await?;
    admitted.shrink(value.len());
    let command = Command::single(conditions, Operation::Put { key, value });
    let done = api.write(&Asked::Put(names), &command, session).await?;
    Ok((
        done.status,
        [
            (ETAG, tag(done.revision)),
            (REVISION, done.revision.to_string()),
        ],
    )
        .into_response())
}

/// `DELETE /kv/{key}`
pub async fn delete<G: GroupAccess>(
    State(api): State<Arc<Api<G>>>,
    uri: Uri,
    headers: HeaderMap,
    held: Held,
) -> Answer {
    let key = uri::key(&uri, api.settings.max_key_bytes)?;
    Parameters::of(&uri, &[])?;
    let (names, conditions) = conditions_of(&key, &headers)?;
    let session = session::of_write(&headers)?;
    let _admitted = api
        .admission
        .admit(&held, &HeaderMap::new(), 0, "body", "max-value-bytes")?;
    let command = Command::single(conditions, Operation::Delete { key });
    let done = api.write(&Asked::Delete(names), &command, session).await?;
    Ok((done.status, [(REVISION, done.revision.to_string())]).into_response())
}

/// `GET /kv/{key}`; axum makes HEAD of it.
pub async fn get<G: GroupAccess>(
    State(api): State<Arc<Api<G>>>,
    uri: Uri,
    headers: HeaderMap,
    held: Held,
) -> Answer {
    let key = uri::key(&uri, api.settings.max_key_bytes)?;
    let consistency = read::Consistency::of(&Parameters::of(&uri, &[read::CONSISTENCY])?)?;
    let conditions = ReadConditions::of(&headers)?;
    let read = api
        .read(&held, consistency, |view| {
            Ok((view.revision()?, view.get(&key)?))
        })
        .await?;
    let (revision, record) = read.value;
    // A refusal tells of the same state, so of a stale one it says how old that may be, as an answer does.
    let refused = |age: HeaderMap, why: Refusal| (age, why).into_response();
    let Some(record) = record else {
        return Ok(refused(read.age, no_such_key()));
    };
    let described = [
        (ETAG, tag(record.mod_revision)),
        (REVISION, revision.to_string()),
        (CACHE_CONTROL, "no-cache".into()),
    ];
    Ok(match conditions.judge(record.mod_revision) {
        Judgement::Send => (
            read.age,
            described,
            [(CONTENT_TYPE, "application/octet-stream")],
            api.admission.answer(&held, record.value)?,
        )
            .into_response(),
        Judgement::NotModified => (StatusCode::NOT_MODIFIED, read.age, described).into_response(),
        Judgement::Failed => refused(read.age, condition_failed("if-match", record.mod_revision)),
    })
}

fn conditions_of(
    key: &Bytes,
    headers: &HeaderMap,
) -> Result<(Vec<&'static str>, Vec<Condition>), Refusal> {
    let condition = |(name, expect)| {
        (
            name,
            Condition {
                key: key.clone(),
                expect,
            },
        )
    };
    Ok(conditions::of_write(headers)?
        .into_iter()
        .map(condition)
        .unzip())
}

impl<G: GroupAccess> Api<G> {
    /// Has a command applied once.
    pub(super) async fn write(
        &self,
        asked: &Asked,
        command: &Command,
        session: Option<(u64, u64)>,
    ) -> Result<Done, Refusal> {
        let write = Write {
            session,
            command: command.encode(),
        };
        let (reply, leader) = self.ask(Request::Write(write)).await;
        outcome::of_write(asked, reply, leader)
    }
}
