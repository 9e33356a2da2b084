//! When a process that ended is started again.

use std::time::Duration;

/// Whoever lived this long did not fail at its start.
const LONG_ENOUGH: Duration = Duration::from_secs(5);
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);

/// The delays between starts: none after a life of 5 s, else doubling from 0.5 s to 30 s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The delay before the next start, after a process that lived for `lived` (zero when it could not be started).
    pub fn after(&mut self, lived: Duration) -> Duration {
        if lived >= LONG_ENOUGH {
            self.failures = 0;
            return Duration::ZERO;
        }
        let delay = FIRST
            .saturating_mul(1 << self.failures.min(10))
            .min(LONGEST);
        self.failures += 1;
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_life_restarts_at_once_and_forgives() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.after(LONG_ENOUGH), Duration::ZERO);
        let delays: Vec<_> = (0..9)
            .map(|_| backoff.after(Duration::from_millis(4999)).as_millis())
            .collect();
        assert_eq!(
            delays,
            [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]
        );
        assert_eq!(backoff.after(LONG_ENOUGH), Duration::ZERO);
        assert_eq!(backoff.after(Duration::ZERO), FIRST);
    }
}
