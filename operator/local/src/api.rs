//! The control socket: the paths, bodies and errors of a Kubernetes API server, as far as this host has them.
//!
//! Whoever can open the socket may do everything: it lies in a folder of mode 0700.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use crate::admission::{Applied, Outcome, apply, scale};
use crate::logs;
use crate::node::Node;
use crate::resources::{ResourceType, Writers, resource_types};
use crate::store::{ObjectKey, StoreError};

/// More than an object may have, so that a larger one is refused in our words.
const MAX_BODY_BYTES: usize = 8 << 20;

/// Serves the control socket until it is dropped.
pub(crate) async fn serve(listener: UnixListener, node: Arc<Node>) {
    let router = Router::new()
        .fallback(answer)
        .layer(axum::extract::DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn_with_state(Arc::clone(&node), warn))
        .with_state(node);
    // It ends only by being dropped: accepting from a socket of our own does not fail for good.
    let _ = axum::serve(listener, router).await;
}

/// As an API server does, with a header that the command shows as a warning.
async fn warn(State(node): State<Arc<Node>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if let Some(trouble) = node.store.trouble() {
        let text = format!(
            "299 - \"what is shown may be old: {}\"",
            trouble.escape_default()
        );
        if let Ok(value) = HeaderValue::try_from(text) {
            response.headers_mut().insert(header::WARNING, value);
        }
    }
    response
}

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    plural: String,
    namespace: Option<String>,
    name: Option<String>,
    part: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parameters {
    #[serde(default)]
    follow: bool,
    tail_lines: Option<usize>,
}

async fn answer(
    State(node): State<Arc<Node>>,
    method: Method,
    uri: Uri,
    Query(parameters): Query<Parameters>,
    body: Bytes,
) -> Response {
    let found = resource_types()
        .iter()
        .find_map(|resource| Some((resource, target(resource, uri.path())?)));
    let Some((resource, target)) = found else {
        return refuse(
            StatusCode::NOT_FOUND,
            "NotFound",
            format!("{} names no resource of this host", uri.path()),
        );
    };
    match (method, target) {
        (
            Method::GET,
            Target {
                name: Some(name),
                namespace: Some(namespace),
                part: Some(part),
                ..
            },
        ) if part == "log" && resource.plural == "pods" => log(
            &node,
            &ObjectKey::new("pods", &namespace, &name),
            &parameters,
        ),
        (Method::GET, target) => read(&node, resource, &target),
        (Method::PATCH, target) => change(&node, resource, &target, &body),
        (Method::DELETE, target) => delete(&node, resource, &target, &body),
        (method, _) => refuse(
            StatusCode::METHOD_NOT_ALLOWED,
            "MethodNotAllowed",
            format!("{method}: this host knows GET, PATCH (apply) and DELETE"),
        ),
    }
}

fn target(resource: &ResourceType, path: &str) -> Option<Target> {
    let base = resource.path(None);
    let version = base.strip_suffix(&resource.plural)?;
    let mut steps = path
        .strip_prefix(version)?
        .trim_end_matches('/')
        .split('/')
        .map(str::to_owned);
    let first = steps.next()?;
    let (namespace, plural) = if first == "namespaces" {
        (Some(steps.next()?), steps.next()?)
    } else {
        (None, first)
    };
    let target = Target {
        plural,
        namespace,
        name: steps.next(),
        part: steps.next(),
    };
    (target.plural == resource.plural && steps.next().is_none()).then_some(target)
}

fn key(target: &Target) -> Result<ObjectKey, StoreError> {
    match (&target.namespace, &target.name) {
        (Some(namespace), Some(name)) => Ok(ObjectKey::new(&target.plural, namespace, name)),
        _ => Err(StoreError::Invalid(
            "name one object: .../namespaces/NAMESPACE/PLURAL/NAME".to_owned(),
        )),
    }
}

fn read(node: &Node, resource: &ResourceType, target: &Target) -> Response {
    if target.name.is_none() {
        let items = node
            .store
            .list(&resource.plural, target.namespace.as_deref());
        let metadata = json!({ "resourceVersion": node.store.version().to_string() });
        let list = json!({ "apiVersion": resource.api_version, "kind": format!("{}List", resource.kind), "metadata": metadata, "items": items });
        return axum::Json(list).into_response();
    }
    match key(target).and_then(|key| node.store.get(&key).ok_or(StoreError::NotFound(key))) {
        Ok(object) => axum::Json(object).into_response(),
        Err(error) => refusal(&error),
    }
}

/// `PATCH` of an object is an apply of the whole document; of its part `scale`, of `spec.replicas`.
fn change(node: &Node, resource: &ResourceType, target: &Target, body: &[u8]) -> Response {
    let changed = key(target).and_then(|key| {
        let document: Value = serde_json::from_slice(body)
            .map_err(|error| StoreError::Invalid(format!("the body is no JSON: {error}")))?;
        match target.part.as_deref() {
            None if ObjectKey::of(&resource.plural, &document)? == key => {
                let Outcome {
                    applied, object, ..
                } = apply(node, &document)?;
                Ok((applied, object))
            }
            None => Err(StoreError::Invalid(
                "the document and the path name different objects".to_owned(),
            )),
            Some("scale") => {
                let replicas = document["spec"]["replicas"].as_i64();
                let replicas = replicas.ok_or_else(|| {
                    StoreError::Invalid("spec.replicas must be a number".to_owned())
                })?;
                let version = document["metadata"]["resourceVersion"].as_str();
                scale(node, resource, &key, replicas, version)
                    .map(|object| (Applied::Configured, object))
            }
            Some(part) => Err(StoreError::Invalid(format!(
                "an object of this host has no part `{part}`"
            ))),
        }
    });
    match changed {
        Ok((Applied::Created, object)) => (StatusCode::CREATED, axum::Json(object)).into_response(),
        Ok((_, object)) => axum::Json(object).into_response(),
        Err(error) => refusal(&error),
    }
}

fn delete(node: &Node, resource: &ResourceType, target: &Target, body: &[u8]) -> Response {
    if resource.writers == Writers::Host {
        return refuse(
            StatusCode::FORBIDDEN,
            "Forbidden",
            format!(
                "a {} is the host's own; change or delete the resource that it belongs to",
                resource.kind
            ),
        );
    }
    let options: Value = serde_json::from_slice(body).unwrap_or_default();
    let deleted = key(target).and_then(|key| {
        node.store
            .delete(&key, options["preconditions"]["uid"].as_str())?;
        Ok(key)
    });
    match deleted {
        Ok(key) => axum::Json(json!({ "apiVersion": "v1", "kind": "Status", "status": "Success", "details": { "name": key.name, "kind": key.plural } })).into_response(),
        Err(error) => refusal(&error),
    }
}

fn log(node: &Node, key: &ObjectKey, parameters: &Parameters) -> Response {
    let files = node.pod_files(key);
    // The log of a pod that is gone may be just what one wants to read.
    if !files.log().exists() {
        return refusal(&StoreError::NotFound(key.clone()));
    }
    let (to, from) = mpsc::channel(4);
    let (file, tail, follow) = (
        files.log().to_owned(),
        parameters.tail_lines,
        parameters.follow,
    );
    tokio::spawn(async move { logs::send(file, tail, follow, to).await });
    let chunks = ReceiverStream::new(from)
        .map(|chunk| Ok::<_, std::convert::Infallible>(Bytes::from(chunk)));
    (
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8")],
        Body::from_stream(chunks),
    )
        .into_response()
}

fn refusal(error: &StoreError) -> Response {
    let (status, reason) = match error {
        StoreError::NotFound(_) => (StatusCode::NOT_FOUND, "NotFound"),
        StoreError::Exists(_) => (StatusCode::CONFLICT, "AlreadyExists"),
        StoreError::Conflict(_) | StoreError::SetAside { .. } => (StatusCode::CONFLICT, "Conflict"),
        StoreError::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "Invalid"),
        StoreError::State(_) => (StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
    };
    refuse(status, reason, error.to_string())
}

fn refuse(code: StatusCode, reason: &str, message: String) -> Response {
    let status = json!({ "apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": code.as_u16() });
    (code, axum::Json(status)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::resource_type;

    #[test]
    fn paths_are_kubectls() {
        let of = |name: &str, path: &str| target(resource_type(name).unwrap(), path);
        let expected = |namespace: Option<&str>, name: Option<&str>, part: Option<&str>| {
            let text = |text: Option<&str>| text.map(str::to_owned);
            Some(Target {
                plural: "pods".into(),
                namespace: text(namespace),
                name: text(name),
                part: text(part),
            })
        };
        assert_eq!(of("pods", "/api/v1/pods"), expected(None, None, None));
        assert_eq!(
            of("pods", "/api/v1/namespaces/a/pods/"),
            expected(Some("a"), None, None)
        );
        assert_eq!(
            of("pods", "/api/v1/namespaces/a/pods/b/log"),
            expected(Some("a"), Some("b"), Some("log"))
        );
        for other in [
            "/api/v1/namespaces/a/secrets",
            "/apis/apps/v1/pods",
            "/api/v1/namespaces/a/pods/b/log/x",
            "/",
            "/api/v1/namespaces",
        ] {
            assert_eq!(of("pods", other), None, "{other}");
        }
    }
}
