//! `POST /kv:batch`: conditions and writes, all or nothing, with one revision.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, Uri};
use quorate_group::GroupAccess;
use quorate_node::http::admission::Held;
use quorate_node::http::base64::Base64;
use quorate_node::http::body::{Object, object};
use quorate_node::http::parameters::Parameters;
use quorate_node::http::problem::{Refusal, bad_request, too_large};
use quorate_raft_cluster_core::{Command, Condition, Expect, Invalid, Operation, OperationResult};
use serde::{Deserialize, Serialize};

use super::outcome::Asked;
use super::uri::check_key;
use super::{Api, REVISION, session};
use crate::settings::MemberSettings;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct BatchBody {
    #[serde(default)]
    conditions: Vec<Object<ConditionBody>>,
    #[serde(default)]
    operations: Vec<OperationBody>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ConditionBody {
    key: Base64,
    revision: Option<u64>,
    exists: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum OperationBody {
    Put(Object<PutBody>),
    Delete(Object<DeleteBody>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PutBody {
    key: Base64,
    value: Base64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeleteBody {
    key: Base64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BatchAnswer {
    revision: u64,
    results: Vec<ResultBody>,
}

/// What an operation found: whether the key existed, and at which revision it was last changed before.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResultBody {
    existed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_revision: Option<u64>,
}

impl From<OperationResult> for ResultBody {
    fn from(result: OperationResult) -> Self {
        let existed = result.previous > 0;
        Self {
            existed,
            previous_revision: existed.then_some(result.previous),
        }
    }
}

/// `POST /kv:batch`
pub async fn batch<G: GroupAccess>(
    State(api): State<Arc<Api<G>>>,
    uri: Uri,
    headers: HeaderMap,
    held: Held,
    body: Body,
) -> Result<Response, Refusal> {
    Parameters::of(&uri, &[])?;
    for name in [IF_MATCH, IF_NONE_MATCH] {
        if headers.contains_key(&name) {
            return Err(bad_request(
                name.as_str(),
                "A batch has its conditions in its body.",
            ));
        }
    }
    let session = session::of_write(&headers)?;
    let (limit, limit_name) = (api.settings.max_batch_bytes, "max-batch-bytes");
    let mut admitted = api
        .admission
        .admit(&held, &headers, limit, "body", limit_name)?;
    let bytes = api.body(body, limit, limit_name).await?;
    admitted.shrink(bytes.len());
    let command = command(&bytes, &api.settings)?;
    drop(bytes);
    let done = api.write(&Asked::Batch, &command, session).await?;
    let results = done.results.into_iter().map(ResultBody::from).collect();
    let answer = BatchAnswer {
        revision: done.revision,
        results,
    };
    Ok((
        done.status,
        [(REVISION, done.revision.to_string())],
        Json(answer),
    )
        .into_response())
}

/// Reads a batch; whatever is wrong is named by its place in the body.
fn command(bytes: &[u8], settings: &MemberSettings) -> Result<Command, Refusal> {
    let body: BatchBody = object(bytes)?;
    for (field, length) in [
        ("conditions", body.conditions.len()),
        ("operations", body.operations.len()),
    ] {
        if length > settings.max_batch_operations {
            return Err(bad_request(
                field,
                format!(
                    "There are {length}; max-batch-operations allows {}.",
                    settings.max_batch_operations
                ),
            ));
        }
    }
    let conditions = (0..)
        .zip(body.conditions)
        .map(|(at, Object(body))| condition(at, body, settings))
        .collect::<Result<_, _>>()?;
    let operations = (0..)
        .zip(body.operations)
        .map(|(at, body)| operation(at, body, settings))
        .collect::<Result<_, _>>()?;
    let command = Command {
        conditions,
        operations,
        single: false,
    };
    command.check().map_err(|invalid| match invalid {
        Invalid::WrittenTwice(at) => bad_request(
            &command
                .operations
                .get(at)
                .map_or_else(|| "operations".into(), |operation| key_field(at, operation)),
            "An earlier operation writes the same key. Write each key once.",
        ),
        Invalid::Empty | Invalid::Undecodable(_) => bad_request(
            "operations",
            "The batch has neither conditions nor operations.",
        ),
    })?;
    Ok(command)
}

fn condition(
    at: usize,
    body: ConditionBody,
    settings: &MemberSettings,
) -> Result<Condition, Refusal> {
    check_key(
        &body.key.0,
        &format!("conditions[{at}].key"),
        settings.max_key_bytes,
    )?;
    let expect = match (body.revision, body.exists) {
        (Some(revision), None) => Expect::Revision(revision),
        (None, Some(true)) => Expect::Exists,
        (None, Some(false)) => Expect::Missing,
        _ => {
            return Err(bad_request(
                &format!("conditions[{at}]"),
                "It needs either `revision` or `exists`.",
            ));
        }
    };
    Ok(Condition {
        key: body.key.0,
        expect,
    })
}

fn operation(
    at: usize,
    body: OperationBody,
    settings: &MemberSettings,
) -> Result<Operation, Refusal> {
    let operation = match body {
        OperationBody::Put(Object(put)) if put.value.0.len() > settings.max_value_bytes => {
            return Err(too_large(
                &format!("operations[{at}].put.value"),
                "max-value-bytes",
                settings.max_value_bytes,
            ));
        }
        OperationBody::Put(Object(put)) => Operation::Put {
            key: put.key.0,
            value: put.value.0,
        },
        OperationBody::Delete(Object(delete)) => Operation::Delete { key: delete.key.0 },
    };
    check_key(
        operation.key(),
        &key_field(at, &operation),
        settings.max_key_bytes,
    )?;
    Ok(operation)
}

fn key_field(at: usize, operation: &Operation) -> String {
    let kind = match operation {
        Operation::Put { .. } => "put",
        Operation::Delete { .. } => "delete",
    };
    format!("operations[{at}].{kind}.key")
}
