//! Clients of a RaftCluster that write and read all the time and keep the history of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use quorate_history::{Action, Outcome, Recorder};
use tokio::task::JoinHandle;

use crate::trust::{Trust, connector};

/// How the clients behave.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// How many of them, each with one operation under way.
    pub clients: u64,
    /// How many keys they share.
    pub keys: u64,
    /// How long each rests between operations.
    pub rest: Duration,
    /// How long they wait for an answer before its outcome counts as unknown.
    pub timeout: Duration,
    /// Where their choices come from.
    pub seed: u64,
    /// Whom they trust, where the members have certificates.
    pub trust: Option<Trust>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        let (rest, timeout) = (Duration::from_millis(4), Duration::from_secs(2));
        Self {
            clients: 8,
            keys: 40,
            rest,
            timeout,
            seed: 1,
            trust: None,
        }
    }
}

/// Running clients.
pub struct Clients {
    recorder: Arc<Recorder>,
    endpoints: Arc<RwLock<Vec<String>>>,
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

struct One {
    number: u64,
    options: ClientOptions,
    http: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    recorder: Arc<Recorder>,
    endpoints: Arc<RwLock<Vec<String>>>,
    values: Arc<AtomicU64>,
    rng: fastrand::Rng,
}

impl Clients {
    /// Starts them against these base URLs; each operation goes to any of them.
    ///
    /// # Errors
    /// When whom they are to trust cannot be read.
    pub fn start(endpoints: Vec<String>, options: ClientOptions) -> Result<Self> {
        let recorder = Arc::new(Recorder::default());
        let endpoints = Arc::new(RwLock::new(endpoints));
        let stop = Arc::new(AtomicBool::new(false));
        let values = Arc::new(AtomicU64::new(0));
        let mut tcp = HttpConnector::new();
        tcp.set_connect_timeout(Some(Duration::from_secs(1)));
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        let connector = connector(tcp, options.trust.as_ref())?;
        let http = Client::builder(TokioExecutor::new()).build(connector);
        let tasks = (0..options.clients)
            .map(|number| {
                let mut one = One {
                    number,
                    options: options.clone(),
                    http: http.clone(),
                    recorder: recorder.clone(),
                    endpoints: endpoints.clone(),
                    values: values.clone(),
                    rng: fastrand::Rng::with_seed(
                        options.seed.wrapping_mul(1_000_003).wrapping_add(number),
                    ),
                };
                let stop = stop.clone();
                tokio::spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        one.operate().await;
                        tokio::time::sleep(one.options.rest).await;
                    }
                })
            })
            .collect();
        Ok(Self {
            recorder,
            endpoints,
            stop,
            tasks,
        })
    }

    /// Sends later operations to these base URLs.
    pub fn set_endpoints(&self, endpoints: Vec<String>) {
        *self
            .endpoints
            .write()
            .unwrap_or_else(|poisoned| poisoned.into_inner()) = endpoints;
    }

    /// The history so far.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Lets every operation under way end, and hands the history over.
    pub async fn stop(self) -> Arc<Recorder> {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            if let Err(error) = task.await {
                // A client that died would make the history look emptier, and so better, than it was.
                std::panic::resume_unwind(error.into_panic());
            }
        }
        self.recorder
    }
}

impl One {
    async fn operate(&mut self) {
        let endpoint = {
            let all = self
                .endpoints
                .read()
                .unwrap_or_else(|poisoned| poisoned.into_inner());
            all.get(self.rng.usize(..all.len().max(1))).cloned()
        };
        let Some(endpoint) = endpoint else { return };
        let key = super::key(self.rng.u64(..self.options.keys));
        let (method, action, body) = match self.rng.u8(..20) {
            0..10 => (Method::GET, Action::Read, String::new()),
            10 => (Method::DELETE, Action::Delete, String::new()),
            _ => {
                let value = format!("v{}", self.values.fetch_add(1, Ordering::Relaxed));
                (Method::PUT, Action::Write(value.clone()), value)
            }
        };
        let Ok(uri) = format!("{endpoint}/kv/{key}").parse::<Uri>() else {
            return;
        };
        let member = uri.host().map(str::to_owned);
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        let invoked = self.recorder.now();
        let outcome = match tokio::time::timeout(self.options.timeout, self.exchange(request)).await
        {
            Ok(outcome) => outcome,
            Err(_) => Outcome::Unknown,
        };
        self.recorder
            .record(self.number, member, &key, action, invoked, outcome);
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Outcome {
        let reads = request.method() == Method::GET;
        let response = match self.http.request(request).await {
            Ok(response) => response,
            Err(error) if error.is_connect() => return Outcome::Refused,
            Err(_) => return Outcome::Unknown,
        };
        let status = response.status();
        let Ok(body) = response.into_body().collect().await else {
            return Outcome::Unknown;
        };
        match status {
            StatusCode::OK if reads => match String::from_utf8(body.to_bytes().into()) {
                Ok(value) => Outcome::Done(Some(value)),
                Err(_) => Outcome::Unknown,
            },
            StatusCode::OK
            | StatusCode::CREATED
            | StatusCode::NO_CONTENT
            | StatusCode::NOT_FOUND => Outcome::Done(None),
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => Outcome::Refused,
            _ => Outcome::Unknown,
        }
    }
}
