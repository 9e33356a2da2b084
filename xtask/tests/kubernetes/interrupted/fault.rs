//! A layer of the operator's client that fails its n-th mutating request.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use anyhow::Result;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{HeaderValue, Method, Request, Response, header};
use kube::client::Body;
use serde::{Deserialize, Serialize};
use tower::{BoxError, Layer, Service};

/// What becomes of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Fault {
    /// It is carried out, and the operator hears of an error.
    Unanswered,
    /// It is not sent, since the operator's process ends before it.
    Exit,
}

/// Which request is hit, and by whom it is made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    pub fault: Fault,
    /// From 1; 0 for none.
    pub at: usize,
    /// What the API server's audit log calls the operator.
    pub agent: String,
    /// Each mutating request adds a line to this file before it is sent: it outlives the process.
    pub tally: PathBuf,
}

impl Plan {
    /// How many mutating requests were made, and how many were sent.
    pub fn counted(&self) -> Result<(usize, usize)> {
        let made = tally(&self.tally)?;
        let is_held_back = self.at > 0 && made >= self.at && self.fault == Fault::Exit;
        Ok((made, made - usize::from(is_held_back)))
    }
}

fn tally(file: &Path) -> Result<usize> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(text.lines().count()),
        // Nothing was asked for yet.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// Every request that changes something counts but for those of the lease, which are made by the clock, and for events,
/// which are for people: nothing is decided by them.
fn counts<B>(request: &Request<B>) -> bool {
    let path = request.uri().path();
    request.method() != Method::GET && !path.contains("/leases") && !path.contains("/events")
}

#[derive(Clone, Debug)]
pub struct Faults(Arc<(Plan, AtomicUsize)>);

impl Faults {
    pub fn new(plan: Plan) -> Self {
        Self(Arc::new((plan, AtomicUsize::new(0))))
    }
}

impl<S> Layer<S> for Faults {
    type Service = Faulty<S>;

    fn layer(&self, inner: S) -> Faulty<S> {
        let faults = self.clone();
        Faulty { inner, faults }
    }
}

#[derive(Clone, Debug)]
pub struct Faulty<S> {
    inner: S,
    faults: Faults,
}

impl<S, R> Service<Request<Body>> for Faulty<S>
where
    S: Service<Request<Body>, Response = Response<R>, Error = BoxError>,
    S::Future: Send + 'static,
    R: Send + 'static,
{
    type Response = Response<R>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<R>, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let (plan, count) = &*self.faults.0;
        let agent = HeaderValue::from_str(&plan.agent).unwrap();
        request.headers_mut().insert(header::USER_AGENT, agent);
        if !counts(&request) {
            return self.inner.call(request).boxed();
        }
        let mut file = std::fs::OpenOptions::new();
        let mut file = file.create(true).append(true).open(&plan.tally).unwrap();
        writeln!(file, "{} {}", request.method(), request.uri().path()).unwrap();
        if count.fetch_add(1, Ordering::Relaxed) + 1 != plan.at {
            return self.inner.call(request).boxed();
        }
        match plan.fault {
            Fault::Exit => std::process::exit(0),
            Fault::Unanswered => {
                let answer = self.inner.call(request);
                async move {
                    answer.await?;
                    Err("cut off before the answer".into())
                }
                .boxed()
            }
        }
    }
}
