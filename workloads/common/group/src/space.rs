//! Watches the free space of the disk: below the reserve client writes are refused, while votes, compaction and
//! reads go on, so that a full disk never stops the group's own work.

use std::sync::Arc;
use std::time::Duration;

use quorate_group_core::Input;
use quorate_store::Disk;

use crate::events::{Event, Events};
use crate::metrics::Metrics;

const POLL: Duration = Duration::from_secs(1);

/// Runs until it is aborted.
pub(crate) async fn watch(disk: Disk, reserve: u64, events: Events, metrics: Arc<Metrics>) {
    let mut below = false;
    let mut failed = false;
    loop {
        let asked = Arc::clone(&disk);
        match tokio::task::spawn_blocking(move || asked.available()).await {
            Ok(Ok(free)) => {
                failed = false;
                metrics
                    .free_bytes
                    .set(i64::try_from(free).unwrap_or(i64::MAX));
                let now = is_below(below, free, reserve);
                if now != below {
                    below = now;
                    tell(below, free, reserve);
                    events.send(Event::Input(Input::ReadOnly(below)));
                }
            }
            Ok(Err(error)) if !failed => {
                failed = true;
                tracing::warn!(%error, "the free space of the data folder cannot be read");
            }
            _ => {}
        }
        tokio::time::sleep(POLL).await;
    }
}

/// A little more than the reserve must be free before writes are taken again, or each second would change it.
fn is_below(was: bool, free: u64, reserve: u64) -> bool {
    if was {
        free < reserve.saturating_add(reserve / 8)
    } else {
        free < reserve
    }
}

fn tell(below: bool, free: u64, reserve: u64) {
    if below {
        tracing::warn!(
            free,
            reserve,
            "free space is below free-space-reserve-bytes: client writes are refused until space returns; enlarge the volume or remove data"
        );
    } else {
        tracing::info!(
            free,
            reserve,
            "free space is back: client writes are taken again"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_border_does_not_flutter() {
        assert!(!is_below(false, 800, 800));
        assert!(is_below(false, 799, 800));
        assert!(is_below(true, 899, 800));
        assert!(!is_below(true, 900, 800));
        assert!(
            !is_below(false, 0, 0) && !is_below(true, 0, 0),
            "no reserve, no refusal"
        );
    }
}
