//! Where tasks run: one thread for what changes the state, in order; a few for files, beside it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use quorate_group_core::{
    Context, GroupId, Input, Lane, StateMachine, Task, TaskKind, TaskResult, run,
};
use quorate_store::{Disk, StateStore};
use tokio::sync::Semaphore;

use crate::events::{Event, Events};
use crate::fatal::Fatal;
use crate::metrics::Metrics;

/// How many file tasks (snapshots, their pieces) run at once.
const FILE_TASKS: usize = 4;

/// What tasks work on.
#[derive(Clone)]
pub(crate) struct Workbench {
    pub(crate) disk: Disk,
    pub(crate) store: Arc<dyn StateStore>,
    pub(crate) machine: Arc<dyn StateMachine>,
    pub(crate) events: Events,
    pub(crate) metrics: Arc<Metrics>,
}

impl Workbench {
    fn work(&self, group: GroupId, task: Task) {
        let kind = task.kind();
        let begun = Instant::now();
        let context = Context {
            disk: &self.disk,
            store: &*self.store,
            machine: &*self.machine,
            group,
        };
        let result = run(task, &context);
        let seconds = begun.elapsed().as_secs_f64();
        match &result {
            TaskResult::Fatal(why) => {
                tracing::error!(group, ?kind, why, "the state cannot be trusted any more")
            }
            TaskResult::Unusable(why) => {
                return self.events.send(Event::Fatal(Fatal::State(why.clone())));
            }
            TaskResult::Failed { why, .. } => {
                tracing::warn!(group, ?kind, why, "a task failed; it is tried again later")
            }
            TaskResult::NotSetAside(why) => {
                tracing::warn!(why, "the damaged data cannot be set aside")
            }
            TaskResult::BadSnapshot { why, .. } => {
                tracing::warn!(group, why, "a received snapshot was thrown away")
            }
            TaskResult::Installed { meta, .. } => {
                self.metrics.snapshots_received.inc();
                tracing::info!(group, index = meta.index, seconds, "snapshot installed");
            }
            TaskResult::SnapshotTaken(file) => {
                tracing::info!(
                    group,
                    index = file.meta.index,
                    bytes = file.size,
                    seconds,
                    "snapshot taken"
                );
            }
            _ => {}
        }
        match kind {
            TaskKind::Apply => self.metrics.apply_batch_seconds.observe(seconds),
            TaskKind::Flush => self.metrics.flush_seconds.observe(seconds),
            _ => {}
        }
        self.events
            .send(Event::Input(Input::Done { group, result }));
    }
}

/// The two lanes.
pub(crate) struct Lanes {
    state: Sender<(GroupId, Task)>,
    thread: JoinHandle<()>,
    files: Arc<Semaphore>,
    bench: Arc<Workbench>,
}

impl Lanes {
    pub(crate) fn start(bench: Workbench) -> std::io::Result<Self> {
        let (state, tasks) = channel();
        let bench = Arc::new(bench);
        let worker = Arc::clone(&bench);
        let thread = std::thread::Builder::new()
            .name("state".into())
            .spawn(move || work_in_order(&worker, &tasks))?;
        Ok(Self {
            state,
            thread,
            files: Arc::new(Semaphore::new(FILE_TASKS)),
            bench,
        })
    }

    /// Queues a task; its result comes as an event.
    pub(crate) fn run(&self, group: GroupId, task: Task) -> Result<(), Fatal> {
        match task.lane() {
            Lane::State => self
                .state
                .send((group, task))
                .map_err(|_| Fatal::Ended("the state thread")),
            Lane::File => {
                let (files, bench) = (Arc::clone(&self.files), Arc::clone(&self.bench));
                tokio::spawn(async move {
                    let Ok(_place) = files.acquire().await else {
                        return;
                    };
                    let events = bench.events.clone();
                    if tokio::task::spawn_blocking(move || bench.work(group, task))
                        .await
                        .is_err()
                    {
                        events.send(Event::Fatal(Fatal::Ended("a file task")));
                    }
                });
                Ok(())
            }
        }
    }

    /// Ends the state thread once all that is queued is done; hand the result to a blocking join.
    pub(crate) fn close(self) -> JoinHandle<()> {
        self.thread
    }
}

fn work_in_order(bench: &Workbench, tasks: &Receiver<(GroupId, Task)>) {
    let _alarm = Alarm::new("the state thread", &bench.events);
    while let Ok((group, task)) = tasks.recv() {
        bench.work(group, task);
    }
    // So that the next start has nothing to apply again.
    if let Err(error) = bench.store.flush() {
        tracing::warn!(%error, "the state was not flushed; the next start applies it again from the log");
    }
}

/// Tells the driver when a thread ends by a panic: the process must not go on without it.
pub(crate) struct Alarm {
    name: &'static str,
    events: Events,
}

impl Alarm {
    pub(crate) fn new(name: &'static str, events: &Events) -> Self {
        Self {
            name,
            events: events.clone(),
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.events.send(Event::Fatal(Fatal::Ended(self.name)));
        }
    }
}
