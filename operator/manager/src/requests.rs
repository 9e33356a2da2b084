//! Counts the requests to the API server, beneath everything that makes them.

use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Method, Request, Response};
use tower::{Layer, Service};

use crate::metrics::Metrics;

/// A layer of the API client.
#[derive(Clone, Debug)]
pub(crate) struct Counted(pub Metrics);

impl<S> Layer<S> for Counted {
    type Service = Counting<S>;

    fn layer(&self, inner: S) -> Counting<S> {
        Counting {
            inner,
            metrics: self.0.clone(),
        }
    }
}

/// See [`Counted`].
#[derive(Clone, Debug)]
pub(crate) struct Counting<S> {
    inner: S,
    metrics: Metrics,
}

impl<S, B, R> Service<Request<B>> for Counting<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    R: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let metrics = self.metrics.clone();
        let watches = request
            .uri()
            .query()
            .is_some_and(|query| query.contains("watch=true"));
        let verb = verb(request.method(), watches);
        let resource = resource(request.uri().path()).to_owned();
        let answer = self.inner.call(request);
        async move {
            let answer = answer.await;
            let code = answer.as_ref().map_or_else(
                |_| "none".to_owned(),
                |answer| answer.status().as_u16().to_string(),
            );
            metrics.requested(verb, &resource, &code);
            answer
        }
        .boxed()
    }
}

fn verb(method: &Method, watches: bool) -> &'static str {
    match *method {
        Method::GET if watches => "watch",
        Method::GET => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "other",
    }
}

/// The plural in a path of the API, with its subresource: few enough to be a label.
fn resource(path: &str) -> &str {
    let rest = match path.strip_prefix("/api/v1/") {
        Some(rest) => rest,
        // The group and its version come first.
        None => path
            .strip_prefix("/apis/")
            .and_then(|rest| rest.splitn(3, '/').nth(2))
            .unwrap_or_default(),
    };
    let rest = match rest.strip_prefix("namespaces/") {
        Some(named) => named.split_once('/').map_or("namespaces", |(_, rest)| rest),
        None => rest,
    };
    match rest.split('/').collect::<Vec<_>>()[..] {
        [_, _, "status"] => &rest[rest.len() - "status".len()..],
        [plural, ..] => plural,
        [] => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_counted_under_its_resource() {
        let is = |path, expected| assert_eq!(resource(path), expected, "{path}");
        is("/api/v1/namespaces/a/pods/db-0", "pods");
        is("/api/v1/pods", "pods");
        is("/apis/apps/v1/namespaces/a/statefulsets/db", "statefulsets");
        is("/apis/quorate.dev/v1alpha1/raftclusters", "raftclusters");
        is(
            "/apis/quorate.dev/v1alpha1/namespaces/a/raftclusters/db/status",
            "status",
        );
        is("/version", "");
    }
}
