//! How much clients may have waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bounds requests and their bytes from the moment they are taken until they are answered.
#[derive(Debug)]
pub(crate) struct Budget {
    max_requests: usize,
    max_bytes: usize,
    requests: AtomicUsize,
    bytes: AtomicUsize,
}

/// A share of the budget, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    pub(crate) fn new(max_requests: usize, max_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            max_requests,
            max_bytes,
            requests: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
        })
    }

    /// A share for a request of so many bytes, or which limit stands against it.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> Result<Share, String> {
        // Taken first and given back if too much: two callers can refuse each other, never both pass the limit.
        let share = Share {
            budget: Arc::clone(self),
            bytes,
        };
        let requests = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let total = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if requests > self.max_requests {
            return Err(format!(
                "{} requests (max-pending-requests)",
                self.max_requests
            ));
        }
        if total > self.max_bytes {
            return Err(format!(
                "{} bytes of requests (max-pending-bytes)",
                total - bytes
            ));
        }
        Ok(share)
    }

    /// How many requests wait.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// How many bytes they have.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.requests.fetch_sub(1, Ordering::Relaxed);
        self.budget.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_limits_hold_and_shares_come_back() {
        let budget = Budget::new(2, 100);
        let (a, b) = (budget.take(50).unwrap(), budget.take(50).unwrap());
        assert!(budget.take(0).unwrap_err().contains("max-pending-requests"));
        drop(a);
        assert!(
            budget
                .take(51)
                .unwrap_err()
                .contains("50 bytes of requests (max-pending-bytes)")
        );
        drop(b);
        assert_eq!((budget.requests(), budget.bytes()), (0, 0));
        assert!(budget.take(100).is_ok());
    }
}
