//! Simulated time: what happens next, and nothing else, moves the clock.

use std::collections::BTreeMap;

/// Microseconds since the simulation began.
pub type Time = u64;

/// Milliseconds as [`Time`].
pub const fn ms(milliseconds: u64) -> Time {
    milliseconds * 1000
}

/// Events in the order of their time, and of their making where times are equal.
#[derive(Debug)]
pub struct Queue<E> {
    now: Time,
    made: u64,
    events: BTreeMap<(Time, u64), E>,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Queue {
            now: 0,
            made: 0,
            events: BTreeMap::new(),
        }
    }
}

impl<E> Queue<E> {
    /// The time of the latest event taken.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Puts an event at a time, now at the earliest.
    pub fn at(&mut self, time: Time, event: E) {
        self.made += 1;
        self.events.insert((time.max(self.now), self.made), event);
    }

    /// Puts an event so much later than now.
    pub fn after(&mut self, delay: Time, event: E) {
        self.at(self.now + delay, event);
    }

    /// Takes the next event and moves the clock to it.
    pub fn next(&mut self) -> Option<E> {
        let ((time, _), event) = self.events.pop_first()?;
        self.now = time;
        Some(event)
    }
}
