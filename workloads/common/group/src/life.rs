//! The groups as the life of their process: that they move is its sign of life, and their end is its end.

use std::time::Duration;

use quorate_group_core::{GroupId, Refused, Reply, Request};
use quorate_node::faces::Faces;
use quorate_node::health::Heartbeat;
use quorate_node::shutdown::drain;
use tokio_util::sync::CancellationToken;

use crate::handle::Handle;
use crate::start::Running;

/// How often the main loop must show that it moves.
const PULSE: Duration = Duration::from_secs(1);

/// Asks the groups' main loop for something, for ever; its answers are the sign of life. That the queue is full says
/// nothing about the loop, and neither does whether the member belongs to `group`.
pub async fn pulse(handle: Handle, group: GroupId, heartbeat: Heartbeat) {
    loop {
        if !matches!(
            handle.request(group, Request::StaleRead).await,
            Reply::Refused(Refused::Busy(_))
        ) {
            heartbeat.touch();
        }
        tokio::time::sleep(PULSE).await;
    }
}

/// Waits for the end of the groups, or for `stop`: then hands leadership over while what is under way ends, each within
/// `patience`.
pub async fn until_stopped(
    handle: Handle,
    mut running: Running,
    faces: &Faces,
    stop: &CancellationToken,
    patience: Duration,
) -> anyhow::Result<()> {
    let mut ended = std::pin::pin!(running.wait());
    tokio::select! {
        result = &mut ended => {
            result?;
            anyhow::bail!("the group ended by itself");
        }
        () = stop.cancelled() => {}
    }
    tokio::join!(
        handle.shutdown(patience),
        drain("requests", patience, faces.drained())
    );
    ended.await?;
    tracing::info!("stopped");
    Ok(())
}
