//! The one writer of the one log: whatever waits is written and made durable with one fsync.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use quorate_group_core::{LogWriter, Record};
use quorate_raft::WriteId;
use quorate_store::LogError;

use crate::events::{Event, Events};
use crate::fatal::Fatal;
use crate::lanes::Alarm;
use crate::metrics::Metrics;

/// So many rounds share one fsync at most, so that the first of them does not wait for ever.
const MAX_ROUNDS: usize = 256;

/// What the writer is asked for, in order.
#[derive(Debug)]
pub(crate) enum Job {
    /// Append, and make durable.
    Append(WriteId, Vec<Record>),
    /// Drop segments below this one.
    DropBelow(u64),
}

/// The writer's thread; it ends, with the log closed, when the sender is dropped.
pub(crate) struct Writer {
    pub(crate) jobs: Sender<Job>,
    thread: JoinHandle<()>,
}

impl Writer {
    pub(crate) fn start(
        log: LogWriter,
        events: Events,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = channel();
        let thread = std::thread::Builder::new()
            .name("log-writer".into())
            .spawn(move || {
                let _alarm = Alarm::new("the log writer", &events);
                if let Err(error) = write(log, &queue, &events, &metrics) {
                    events.send(Event::Fatal(Fatal::Log(error)));
                }
            })?;
        Ok(Self { jobs, thread })
    }

    /// Ends the thread once all that is queued is durable; join it where one may block.
    pub(crate) fn close(self) -> JoinHandle<()> {
        self.thread
    }
}

fn write(
    mut log: LogWriter,
    queue: &Receiver<Job>,
    events: &Events,
    metrics: &Metrics,
) -> Result<(), LogError> {
    let measure = |log: &LogWriter| {
        let bytes = i64::try_from(log.bytes()).unwrap_or(i64::MAX);
        metrics.log_bytes.set(bytes);
    };
    measure(&log);
    while let Ok(first) = queue.recv() {
        let mut below = None;
        let mut rounds = 0;
        let mut next = Some(first);
        while let Some(job) = next {
            match job {
                Job::Append(id, records) => {
                    log.append(id, &records)?;
                    rounds += 1;
                }
                Job::DropBelow(segment) => below = Some(segment),
            }
            next = if rounds < MAX_ROUNDS {
                queue.try_recv().ok()
            } else {
                None
            };
        }
        let begun = Instant::now();
        if let Some(written) = log.sync()? {
            events.send(Event::Input(written));
            metrics.fsync_seconds.observe(begun.elapsed().as_secs_f64());
            metrics.fsync_rounds.observe(rounds as f64);
        }
        // After the answer: nobody waits for old segments to go.
        if let Some(segment) = below {
            log.drop_below(segment)?;
        }
        measure(&log);
    }
    log.close()
}
