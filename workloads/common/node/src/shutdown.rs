//! Stopping: the first SIGTERM or SIGINT asks the process to drain, a second one ends it at once.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The exit code of a process that was told twice to stop.
const EXIT_AT_ONCE: i32 = 1;

/// Listens for signals from now on; the token is cancelled by the first. Within a tokio runtime.
pub fn on_signal() -> io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        for second in [false, true] {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            if second {
                tracing::warn!(
                    signal = name,
                    "told to stop a second time: ending at once, without draining"
                );
                std::process::exit(EXIT_AT_ONCE);
            }
            tracing::info!(
                signal = name,
                "stopping: draining first; a second signal ends the process at once"
            );
            token.cancel();
        }
    });
    Ok(stop)
}

/// Waits for what drains, no longer than the deadline. Whether it was done in time.
pub async fn drain(what: &str, deadline: Duration, work: impl Future<Output = ()>) -> bool {
    let done = tokio::time::timeout(deadline, work).await.is_ok();
    if !done {
        tracing::warn!(
            what,
            deadline_ms = deadline.as_millis() as u64,
            "did not drain in time: going on without"
        );
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn draining_ends_at_the_deadline() {
        assert!(drain("quick", Duration::from_secs(5), async {}).await);
        assert!(!drain("slow", Duration::from_millis(5), std::future::pending()).await);
    }
}
