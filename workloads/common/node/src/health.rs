//! The health listener: `/livez`, `/readyz`, `/metrics`, `/status`. Read-only and plain, for the kubelet and for people.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::{Method, StatusCode, Uri, header};
use prometheus::Registry;
use quorate_wire::MemberStatus;

use crate::http::problem::{no_such_method, no_such_path};

/// A sign of life: the loop that must not stand still touches it, the health listener looks at its age.
#[derive(Clone, Debug)]
pub struct Heartbeat(Arc<Beat>);

#[derive(Debug)]
struct Beat {
    origin: Instant,
    last_ms: AtomicU64,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self(Arc::new(Beat {
            origin: Instant::now(),
            last_ms: AtomicU64::new(0),
        }))
    }
}

impl Heartbeat {
    /// Says: still moving.
    pub fn touch(&self) {
        self.0.last_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// How long ago it was touched.
    pub fn age(&self) -> Duration {
        Duration::from_millis(
            self.now_ms()
                .saturating_sub(self.0.last_ms.load(Ordering::Relaxed)),
        )
    }

    fn now_ms(&self) -> u64 {
        self.0.origin.elapsed().as_millis() as u64
    }
}

/// What a member tells of itself.
pub trait Vitals: Send + Sync + 'static {
    /// The document at `/status`.
    fn status(&self) -> MemberStatus;
    /// `Err` says why it cannot serve.
    fn readiness(&self) -> Result<(), String>;
}

/// What the health listener serves.
pub struct Health<M> {
    /// The member.
    pub member: M,
    /// Touched by the member's main loop, idle or not.
    pub heartbeat: Heartbeat,
    /// The age of the heartbeat at which the process counts as wedged: longer than any disk stall that it shall sit out.
    pub stalled_after: Duration,
    /// The process's metrics.
    pub registry: Registry,
}

impl<M: Vitals> Health<M> {
    /// The routes.
    pub fn router(self) -> Router {
        Router::new()
            .route("/livez", get(live))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .route("/status", get(status))
            .fallback(|uri: Uri| async move {
                no_such_path(uri.path(), "/livez, /readyz, /metrics and /status")
            })
            .method_not_allowed_fallback(
                |method: Method| async move { no_such_method(method.as_str()) },
            )
            .with_state(Arc::new(self))
    }
}

async fn live<M: Vitals>(State(health): State<Arc<Health<M>>>) -> Response {
    let age = health.heartbeat.age();
    match age <= health.stalled_after {
        true => "ok\n".into_response(),
        false => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("the main loop has not moved for {} s\n", age.as_secs()),
        )
            .into_response(),
    }
}

async fn ready<M: Vitals>(State(health): State<Arc<Health<M>>>) -> Response {
    match health.member.readiness() {
        Ok(()) => "ok\n".into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why + "\n").into_response(),
    }
}

async fn metrics<M: Vitals>(State(health): State<Arc<Health<M>>>) -> Response {
    match crate::metrics::text(&health.registry) {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn status<M: Vitals>(State(health): State<Arc<Health<M>>>) -> Json<MemberStatus> {
    Json(health.member.status())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    struct Sick;

    impl Vitals for Sick {
        fn status(&self) -> MemberStatus {
            MemberStatus {
                schema: quorate_wire::STATUS_VERSION.into(),
                kind: "RaftCluster".into(),
                name: "a-0".into(),
                version: "1".into(),
                feature_level: 1,
                cluster: "c".into(),
                incarnation: "0000000000000001".into(),
                state: quorate_wire::MemberState::Empty,
                reason: None,
                ready: false,
                insecure: true,
                can_set_aside: false,
                problems: vec![],
                restart_blockers: vec![],
                groups: vec![],
                summary: vec![],
                own: None,
            }
        }

        fn readiness(&self) -> Result<(), String> {
            Err("no leader is known".into())
        }
    }

    async fn get(stalled_after: Duration, path: &str) -> (StatusCode, String) {
        send("GET", stalled_after, path).await
    }

    async fn send(method: &str, stalled_after: Duration, path: &str) -> (StatusCode, String) {
        let health = Health {
            member: Sick,
            heartbeat: Heartbeat::default(),
            stalled_after,
            registry: crate::metrics::registry("K", "1").unwrap(),
        };
        tokio::time::sleep(Duration::from_millis(5)).await;
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .body(Body::empty())
            .unwrap();
        let response = health.router().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_loop_that_stands_still_is_not_alive() {
        assert_eq!(get(Duration::from_secs(60), "/livez").await.0, 200);
        assert_eq!(get(Duration::ZERO, "/livez").await.0, 503);
    }

    #[tokio::test]
    async fn readiness_says_why_not() {
        assert_eq!(
            get(Duration::ZERO, "/readyz").await,
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "no leader is known\n".into()
            )
        );
    }

    #[tokio::test]
    async fn status_and_metrics_are_served() {
        let (code, body) = get(Duration::ZERO, "/status").await;
        assert_eq!(
            (code, serde_json::from_str::<MemberStatus>(&body).unwrap()),
            (StatusCode::OK, Sick.status())
        );
        assert!(
            get(Duration::ZERO, "/metrics")
                .await
                .1
                .contains("quorate_build_info")
        );
    }

    #[tokio::test]
    async fn it_says_what_there_is() {
        let (code, body) = get(Duration::ZERO, "/health").await;
        assert!(code == 404 && body.contains("/livez, /readyz"), "{body}");
        let (code, body) = send("POST", Duration::ZERO, "/status").await;
        assert!(
            code == 405 && body.contains("POST is not possible"),
            "{body}"
        );
    }

    #[test]
    fn a_touch_makes_it_young() {
        let heartbeat = Heartbeat::default();
        std::thread::sleep(Duration::from_millis(20));
        assert!(heartbeat.age() >= Duration::from_millis(15));
        heartbeat.touch();
        assert!(heartbeat.age() < Duration::from_millis(15));
    }
}
