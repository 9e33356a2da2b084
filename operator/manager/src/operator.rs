//! The operator as a whole: holds the lease, and calls the engine for each resource of which something changed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures::{FutureExt, Stream, StreamExt, future, stream};
use http::{Request, Response};
use kube::Client;
use kube::api::{ApiResource, DynamicObject};
use kube::client::{Body, ClientBuilder, DynBody};
use kube::runtime::controller::{self, Action, Config, applier};
use kube::runtime::reflector::{ObjectRef, Store};
use quorate_engine::{Failure, Key, Memory, Round, reconcile};
use quorate_plan::{AnyKind, kinds};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::{BoxError, Service};

use crate::caches::{Caches, Touched, resources};
use crate::election::Election;
use crate::events::Reporter;
use crate::health::Health;
use crate::host::{KubeHost, Surroundings};
use crate::lease::Term;
use crate::members::Status;
use crate::metrics::Metrics;
use crate::requests::Counted;
use crate::settings::Settings;

/// What changes at once is looked at once.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// What runs under a spec that is wrong is reported this often, as members tell no event of a new leader.
const REPORT: Duration = Duration::from_secs(5);
/// After the first failure; twice as long after each that follows.
const RETRY: Duration = Duration::from_millis(500);
/// And never longer than this.
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// Names of changed resources that wait; beyond that, watches wait.
const QUEUE: usize = 1024;
/// What a graceful stop may take: a round is a few requests, and one to a member takes ten seconds at most.
const DRAIN: Duration = Duration::from_secs(15);

/// Runs the operator until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot begin, or its watches end.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let config = kube::Config::infer()
        .await
        .context("no cluster: set KUBECONFIG, or run as a pod with a ServiceAccount")?;
    run_with(settings, ClientBuilder::try_from(config)?).await
}

/// As [`run`], on an API server that is reached through layers of the caller's own.
///
/// # Errors
/// As [`run`].
pub async fn run_with<S>(settings: Settings, client: ClientBuilder<S>) -> anyhow::Result<()>
where
    S: Service<Request<Body>, Response = Response<Box<DynBody>>, Error = BoxError> + Send + 'static,
    S::Future: Send + 'static,
{
    let metrics = Metrics::new()?;
    let (alive, looked) = watch::channel(None);
    let health = Health {
        metrics: metrics.clone(),
        alive: looked,
    };
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("--listen {}", settings.listen))?;
    let client = client.with_layer(&Counted(metrics.clone())).build();
    let stop = on_signal()?;
    tokio::select! {
        served = health.serve(listener) => served,
        worked = lead(&settings, client, &metrics, &alive, &stop) => worked,
    }
}

fn on_signal() -> anyhow::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: what is under way is finished first");
        token.cancel();
    });
    Ok(stop)
}

async fn lead(
    settings: &Settings,
    client: Client,
    metrics: &Metrics,
    alive: &watch::Sender<Option<Instant>>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let (namespace, me) = (&settings.lease_namespace, &settings.identity);
    let term = Term::of(settings.lease_seconds);
    let mut election = Election::new(client.clone(), namespace, me, term);
    loop {
        tracing::info!(%namespace, identity = %me, "waiting for the lease");
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = election.win(alive) => {}
        }
        metrics.leads.set(1);
        tracing::info!("holds the lease: working");
        let worked = tokio::select! {
            worked = work(settings, client.clone(), metrics, stop) => Some(worked),
            // At once, with whatever is under way: another may begin soon. What was learnt is forgotten with it.
            () = election.hold(alive) => None,
        };
        metrics.leads.set(0);
        if let Some(worked) = worked {
            worked?;
            return election.release().await.context("cannot release the lease");
        }
        tracing::warn!(
            "lost the lease: another operator works now, or the API server cannot be reached"
        );
    }
}

async fn work(
    settings: &Settings,
    client: Client,
    metrics: &Metrics,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let namespace = settings.namespace.as_deref();
    let (caches, touched) = Caches::keep(&client, namespace);
    let around = Arc::new(Surroundings {
        reporter: Reporter {
            client: client.clone(),
            instance: settings.identity.clone(),
        },
        client: client.clone(),
        caches,
        members: Status::new()?,
        metrics: metrics.clone(),
        env: settings.env(),
    });
    let mut queues = BTreeMap::new();
    let works = kinds().iter().map(|kind| {
        let (queue, names) = mpsc::channel(QUEUE);
        queues.insert(kind.marks().app, queue);
        let (store, resource, changed) = resources(&client, namespace, *kind);
        let names = stream::unfold(names, |mut names| async {
            Some((names.recv().await?, names))
        });
        let work = Arc::new(Work {
            kind: *kind,
            resource,
            store,
            around: Arc::clone(&around),
            resources: Mutex::default(),
        });
        work.run(
            stream::select(changed, names),
            settings.concurrency,
            stop.clone(),
        )
    });
    let works = future::join_all(works.collect::<Vec<_>>());
    let drained = async {
        stop.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        _ = works => {}
        () = spread(touched, queues) => bail!("the watches ended"),
        () = drained => tracing::warn!("did not finish in time: going without; the next operator decides anew"),
    }
    Ok(())
}

/// Tells each kind which of its resources had an object that changed.
async fn spread(mut touched: Touched, queues: BTreeMap<&'static str, mpsc::Sender<Key>>) {
    while let Some(owner) = touched.next().await {
        if let Some(queue) = queues.get(owner.app.as_str()) {
            // A queue whose reader is gone has stopped.
            let _ = queue.send(owner.resource).await;
        }
    }
}

/// The work on one kind's resources.
struct Work {
    kind: &'static dyn AnyKind,
    resource: ApiResource,
    store: Store<DynamicObject>,
    around: Arc<Surroundings>,
    resources: Mutex<BTreeMap<Key, Arc<tokio::sync::Mutex<State>>>>,
}

/// What is kept of one resource between rounds.
struct State {
    host: KubeHost,
    memory: Memory,
    failures: u32,
}

/// A failed round, and how long to wait after it.
#[derive(Debug, thiserror::Error)]
#[error("{failure}")]
struct Failed {
    failure: Failure,
    retry: Duration,
}

impl Work {
    /// Works until told to stop, and finishes what is under way.
    async fn run(
        self: Arc<Self>,
        changed: impl Stream<Item = Key> + Send,
        concurrency: u16,
        stop: CancellationToken,
    ) {
        let resource = self.resource.clone();
        let queue = changed.take_until(stop.cancelled_owned()).map(move |key| {
            let named = ObjectRef::<DynamicObject>::new_with(&key.name, resource.clone());
            Ok::<_, std::convert::Infallible>(named.within(&key.namespace))
        });
        let config = Config::default()
            .debounce(DEBOUNCE)
            .concurrency(concurrency);
        let rounds = applier(
            |object, work| Work::round(object, work).boxed(),
            |_, failed: &Failed, _| Action::requeue(failed.retry),
            Arc::clone(&self),
            self.store.clone(),
            queue,
            config,
        );
        rounds
            .for_each(|round| {
                if let Err(controller::Error::ObjectNotFound(gone)) = round {
                    self.forget(&gone.namespace.unwrap_or_default(), &gone.name);
                }
                future::ready(())
            })
            .await;
    }

    async fn round(object: Arc<DynamicObject>, work: Arc<Work>) -> Result<Action, Failed> {
        work.around.caches.filled().await;
        let key = Key {
            namespace: object.metadata.namespace.clone().unwrap_or_default(),
            name: object.metadata.name.clone().unwrap_or_default(),
        };
        let state = work.state(&key);
        let mut state = state.lock().await;
        let State {
            host,
            memory,
            failures,
        } = &mut *state;
        let (begun, metrics) = (Instant::now(), &work.around.metrics);
        let round = reconcile(host, work.kind, &key, memory).await;
        let kind = &work.resource.kind;
        metrics.round(kind, result(&round), begun.elapsed());
        match round {
            Ok(Round::Gone) => Ok(Action::await_change()),
            Ok(Round::Rejected(_)) => {
                *failures = 0;
                Ok(Action::requeue(jittered(REPORT)))
            }
            Ok(Round::Done {
                requeue_after,
                refusals,
                actions,
            }) => {
                *failures = 0;
                for refused in refusals {
                    metrics.refused(kind, refused.refusal.name());
                }
                for action in actions {
                    metrics.acted(kind, action);
                }
                Ok(Action::requeue(jittered(requeue_after)))
            }
            Err(failure) => {
                let retry = (RETRY * 2_u32.saturating_pow(*failures)).min(LONGEST_RETRY);
                *failures = (*failures + 1).min(8);
                if matches!(failure, Failure::Conflict(_)) {
                    tracing::debug!(namespace = key.namespace, name = key.name, "{failure}");
                } else {
                    tracing::warn!(namespace = key.namespace, name = key.name, "{failure}");
                }
                let retry = jittered(retry);
                Err(Failed { failure, retry })
            }
        }
    }

    fn state(&self, key: &Key) -> Arc<tokio::sync::Mutex<State>> {
        let mut resources = self
            .resources
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let state = resources.entry(key.clone()).or_insert_with(|| {
            Arc::new(tokio::sync::Mutex::new(State {
                host: KubeHost::new(&self.around, &self.resource, &self.store),
                memory: Memory::default(),
                failures: 0,
            }))
        });
        Arc::clone(state)
    }

    fn forget(&self, namespace: &str, name: &str) {
        let mut resources = self
            .resources
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        resources.remove(&Key {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        });
    }
}

/// The result of a round, as a label.
fn result(round: &Result<Round, Failure>) -> &'static str {
    match round {
        Ok(Round::Gone) => "gone",
        Ok(Round::Rejected(_)) => "rejected",
        Ok(Round::Done { .. }) => "done",
        Err(Failure::Conflict(_)) => "conflict",
        Err(Failure::Foreign(_)) => "foreign",
        Err(Failure::Denied(_)) => "denied",
        Err(Failure::Refused(_)) => "refused",
        Err(Failure::Unavailable(_)) => "unavailable",
    }
}

/// A tenth more or less, so that resources that began together do not stay together.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.9 + 0.2 * fastrand::f64())
}
