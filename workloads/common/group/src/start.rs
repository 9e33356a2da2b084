//! Starts the groups of a process, and stops them in order.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use prometheus::Registry;
use quorate_group_core::{Identity, RecoverError, Recovered, StateMachine, recover};
use quorate_store::{Disk, StateStore};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::budget::Budget;
use crate::driver::{Driver, Inbox};
use crate::events::Events;
use crate::fatal::Fatal;
use crate::handle::{Call, Handle};
use crate::lanes::{Lanes, Workbench};
use crate::metrics::Metrics;
use crate::options::Options;
use crate::space;
use crate::status::Publisher;
use crate::transport::door::Door;
use crate::transport::peers::Peers;
use crate::writer::Writer;

/// Why the groups could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An option is wrong, or the disk cannot be read.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// A metric of the same name is registered already.
    #[error("metrics cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    /// A thread could not be started, or the disk task failed.
    #[error("the groups cannot be started: {0}")]
    Io(#[from] io::Error),
}

/// What the groups of a process live on.
#[derive(Clone)]
pub struct Disks {
    /// Where identity, log and snapshot files are.
    pub disk: Disk,
    /// The identity on that disk; open it before the state store.
    pub identity: Identity,
    /// The state of all groups.
    pub store: Arc<dyn StateStore>,
}

/// The running groups. Dropping it stops them without handing anything over.
#[derive(Debug)]
pub struct Running {
    supervisor: Option<JoinHandle<Result<(), Fatal>>>,
}

impl Running {
    /// Waits for the end.
    ///
    /// # Errors
    /// The groups could not go on: main should log it and exit with [`crate::EXIT_CODE`].
    pub async fn wait(&mut self) -> Result<(), Fatal> {
        match self.supervisor.take() {
            Some(supervisor) => supervisor.await.unwrap_or(Err(Fatal::Ended("the driver"))),
            None => Ok(()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(supervisor) = &self.supervisor {
            supervisor.abort();
        }
    }
}

/// Reads what the disk holds and runs the groups on it. Peers connect to `listener`.
///
/// # Errors
/// See [`StartError`]. Damage on the disk is none: the member then starts in state `Damaged` and says so.
pub async fn start(
    options: Options,
    disks: Disks,
    machine: Arc<dyn StateMachine>,
    listener: TcpListener,
    registry: &Registry,
) -> Result<(Handle, Running), StartError> {
    let metrics = Arc::new(Metrics::new(registry)?);
    let origin = Instant::now();
    let recovered = read(options.core.clone(), disks.clone(), origin).await?;
    if let Some(torn) = &recovered.torn {
        tracing::info!(
            bytes = torn.bytes,
            segment = torn.at.segment,
            "a crash had torn the end of the log: it was cut"
        );
    }
    let me = recovered.groups.id();
    let options = Arc::new(options);
    let (events, inbox_events) = mpsc::unbounded_channel();
    let events = Events(events);
    let (delivery_sender, deliveries) = mpsc::channel(options.transport.incoming_frames);
    let (calls, inbox_calls) = mpsc::unbounded_channel();
    let budget = Budget::new(
        options.core.max_pending_requests,
        options.core.max_pending_bytes,
    );
    let (publisher, status) = Publisher::new(&recovered.groups, Arc::clone(&metrics));

    let writer = match recovered.log {
        Some(log) => Some(Writer::start(log, events.clone(), Arc::clone(&metrics))?),
        None => None,
    };
    let lanes = Lanes::start(Workbench {
        disk: Arc::clone(&disks.disk),
        store: Arc::clone(&disks.store),
        machine,
        events: events.clone(),
        metrics: Arc::clone(&metrics),
    })?;
    let driver = Driver {
        groups: recovered.groups,
        origin,
        inbox: Inbox {
            events: inbox_events,
            deliveries,
            calls: inbox_calls,
        },
        budget: Arc::clone(&budget),
        writer,
        lanes,
        peers: Peers::new(
            Arc::clone(&options),
            me,
            events.clone(),
            Arc::clone(&metrics),
        ),
        publisher,
        metrics: Arc::clone(&metrics),
        desk: Default::default(),
        timer: Box::pin(tokio::time::sleep(std::time::Duration::ZERO)),
    };
    let door = Door {
        options: Arc::clone(&options),
        me,
        events: events.clone(),
        deliveries: delivery_sender,
        metrics: Arc::clone(&metrics),
        calls: Default::default(),
    };
    let stopped = CancellationToken::new();
    let parts = Parts {
        driver,
        door: Arc::new(door),
        listener,
        options: Arc::clone(&options),
        disk: disks.disk,
        _calls: calls.clone(),
    };
    let supervisor = tokio::spawn(supervise(
        parts,
        events.clone(),
        metrics,
        stopped.clone().drop_guard(),
    ));
    let handle = Handle {
        calls,
        events,
        budget,
        max_command_bytes: options.transport.max_message_bytes() / 2,
        store: disks.store,
        status,
        origin,
        stopped,
    };
    Ok((
        handle,
        Running {
            supervisor: Some(supervisor),
        },
    ))
}

async fn read(
    config: quorate_group_core::Config,
    disks: Disks,
    origin: Instant,
) -> Result<Recovered, StartError> {
    let reading = tokio::task::spawn_blocking(move || {
        recover(
            config,
            &disks.identity,
            &disks.disk,
            &*disks.store,
            origin.elapsed(),
        )
    });
    Ok(reading.await.map_err(io::Error::other)??)
}

struct Parts {
    driver: Driver,
    door: Arc<Door>,
    listener: TcpListener,
    options: Arc<Options>,
    disk: Disk,
    /// Keeps the queue open when the workload has dropped its handles: a closed queue is always ready.
    _calls: mpsc::UnboundedSender<Call>,
}

/// Runs all parts until the driver ends; then ends the others in an order that loses nothing.
async fn supervise(
    parts: Parts,
    events: Events,
    metrics: Arc<Metrics>,
    _stopped: tokio_util::sync::DropGuard,
) -> Result<(), Fatal> {
    let Parts {
        mut driver,
        door,
        listener,
        options,
        disk,
        _calls,
    } = parts;
    let stop = CancellationToken::new();
    let mut beside = tokio::task::JoinSet::new();
    beside.spawn(Arc::clone(&door).serve(listener, stop.clone()));
    if options.free_space_reserve_bytes > 0 {
        beside.spawn(space::watch(
            disk,
            options.free_space_reserve_bytes,
            events,
            metrics,
        ));
    }
    let result = driver.run().await;
    if let Err(fatal) = &result {
        tracing::error!(%fatal, "the groups cannot go on");
    }
    stop.cancel();
    beside.shutdown().await;
    // The threads end when the driver's ends of their queues are gone: first what is queued is done and synced.
    let Driver {
        writer,
        lanes,
        peers,
        ..
    } = driver;
    drop(peers);
    let threads = [writer.map(Writer::close), Some(lanes.close())];
    let joined = tokio::task::spawn_blocking(move || {
        threads
            .into_iter()
            .flatten()
            .try_for_each(|thread| thread.join().map_err(|_| Fatal::Ended("a thread")))
    });
    joined
        .await
        .unwrap_or(Err(Fatal::Ended("a thread")))
        .and(result)
}
