//! Answers of HTTP/2 that do not flow. A client that opens no window for an answer takes nothing of it, though its
//! connection is alive; what waits for it holds memory and its share of the limits. (Over HTTP/1 the connection itself
//! stands still then: see [`crate::stall`].)

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The answers of one connection that are on their way.
#[derive(Clone, Debug, Default)]
pub struct Flow(Arc<Mutex<UnderWay>>);

#[derive(Debug, Default)]
struct UnderWay {
    next: u64,
    /// Since when each waits for the client.
    waiting: BTreeMap<u64, Instant>,
}

/// An answer on its way, until this is dropped.
#[derive(Debug)]
pub struct Sending {
    flow: Flow,
    id: u64,
}

impl Flow {
    /// An answer begins: it waits for the client.
    pub fn begin(&self) -> Sending {
        let mut under_way = self.lock();
        let id = under_way.next;
        under_way.next += 1;
        under_way.waiting.insert(id, Instant::now());
        Sending {
            flow: self.clone(),
            id,
        }
    }

    /// Waits until the client has taken nothing of some answer for so long.
    pub async fn stalled(&self, patience: Duration) {
        loop {
            tokio::time::sleep(patience / 4).await;
            let now = Instant::now();
            let under_way = self.lock();
            let mut waiting = under_way.waiting.values();
            if waiting.any(|since| now.duration_since(*since) >= patience) {
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, UnderWay> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sending {
    /// The client took what there was: it is its turn again.
    pub fn taken(&self) {
        self.flow.lock().waiting.insert(self.id, Instant::now());
    }

    /// There is nothing to take yet: it is our turn.
    pub fn waits_for_us(&self) {
        self.flow.lock().waiting.remove(&self.id);
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.flow.lock().waiting.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(400);

    #[tokio::test]
    async fn only_an_answer_that_waits_for_its_client_stalls() {
        let flow = Flow::default();
        let within = |time: Duration| tokio::time::timeout(time, flow.stalled(PATIENCE));
        assert!(within(PATIENCE * 3).await.is_err(), "nothing is under way");
        let ours = flow.begin();
        ours.waits_for_us();
        drop(flow.begin());
        assert!(within(PATIENCE * 3).await.is_err(), "it is our turn");
        for _ in 0..4 {
            ours.taken();
            assert!(within(PATIENCE / 2).await.is_err(), "it moves");
        }
        let (_other, begun) = (flow.begin(), Instant::now());
        flow.stalled(PATIENCE).await;
        assert!(begun.elapsed() < PATIENCE, "the first of them counts");
    }
}
