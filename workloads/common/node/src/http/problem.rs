//! Problem details (RFC 9457) as an HTTP answer, and those that any API has. The rule behind the numbers: 503 and 429
//! say that the request has had no effect and will have none; 504 says that nobody knows.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use quorate_wire::{PROBLEM_BASE, Problem};

/// Queues empty quickly.
const AFTER_QUEUE: Duration = Duration::from_secs(1);

/// A refusal on its way to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The body; boxed, since most requests are not refused.
    pub problem: Box<Problem>,
    /// When to try again.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// A refusal of the type [`PROBLEM_BASE`]`kind`; `detail` says what happened and what to do next.
    pub fn new(status: StatusCode, kind: &str, title: &str, detail: impl Into<String>) -> Self {
        let problem = Problem {
            kind: format!("{PROBLEM_BASE}{kind}"),
            title: title.into(),
            status: status.as_u16(),
            detail: detail.into(),
            field: None,
            leader: None,
        };
        Self {
            problem: Box::new(problem),
            retry_after: None,
        }
    }

    /// Names the field, parameter or header that is wrong.
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.problem.field = Some(field.into());
        self
    }

    /// Names the leader.
    pub fn leader(mut self, leader: Option<String>) -> Self {
        self.problem.leader = leader;
        self
    }

    /// Says when to try again.
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(&self.problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(after) = self.retry_after {
            // Whole seconds, rounded up: 0 would be an invitation to hammer.
            headers.insert(
                header::RETRY_AFTER,
                HeaderValue::from(after.as_millis().div_ceil(1000).max(1) as u64),
            );
        }
        response
    }
}

/// 400: `field` is wrong.
pub fn bad_request(field: &str, detail: impl Into<String>) -> Refusal {
    Refusal::new(
        StatusCode::BAD_REQUEST,
        "bad-request",
        "Bad request",
        detail,
    )
    .field(field)
}

/// 408: the body did not come in time; nothing was done.
pub fn slow_body() -> Refusal {
    let detail = "The request's body did not come in time. Nothing was done; send it again.";
    Refusal::new(
        StatusCode::REQUEST_TIMEOUT,
        "slow-request",
        "Request too slow",
        detail,
    )
}

/// 413: more than the limit of that name.
pub fn too_large(field: &str, limit_name: &str, limit: usize) -> Refusal {
    let detail =
        format!("It is larger than {limit_name} allows ({limit} bytes). Nothing was done.");
    Refusal::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too-large",
        "Too large",
        detail,
    )
    .field(field)
}

/// 429: a queue is full.
pub fn busy(what: &str) -> Refusal {
    let detail = format!("No more is taken on now: {what}. Nothing was done; try again later.");
    Refusal::new(StatusCode::TOO_MANY_REQUESTS, "busy", "Busy", detail).retry_after(AFTER_QUEUE)
}

/// 500: should not happen.
pub fn internal(detail: impl Into<String>) -> Refusal {
    Refusal::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
        "Internal error",
        detail,
    )
}

/// 404: no such path; `api` is what there is.
pub fn no_such_path(path: &str, api: &str) -> Refusal {
    let detail = format!("There is nothing at {path}. The API is {api}.");
    Refusal::new(
        StatusCode::NOT_FOUND,
        "no-such-path",
        "No such path",
        detail,
    )
}

/// 405.
pub fn no_such_method(method: &str) -> Refusal {
    let detail = format!("{method} is not possible here.");
    Refusal::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "no-such-method",
        "No such method",
        detail,
    )
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_refusal_is_problem_details() {
        let refusal = Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "no-leader",
            "No leader",
            "Try again.",
        )
        .leader(Some("http://a:7070".into()))
        .retry_after(Duration::from_millis(200));
        let response = refusal.clone().into_response();
        assert_eq!(response.status(), 503);
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
        assert_eq!(response.headers()["retry-after"], "1");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let problem: Problem = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem, *refusal.problem);
        assert_eq!(problem.kind, "https://quorate.dev/problems/no-leader");
    }
}
