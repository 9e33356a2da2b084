//! The network between slots: it loses, repeats, delays and thereby reorders, and is cut, also in one direction.

use std::collections::BTreeSet;

use fastrand::Rng;

use super::counters::{Counters, Reached};
use super::queue::{Time, ms};
use super::swarm::Swarm;

/// The links between all slots.
#[derive(Debug)]
pub struct Network {
    /// From, to.
    cut: BTreeSet<(usize, usize)>,
    lose: u64,
    repeat: u64,
    delay: u64,
    /// When the latest message on a link comes, to count those that overtake it.
    latest: Vec<Time>,
    slots: usize,
}

impl Network {
    /// A network with the faults of a swarm.
    pub fn new(slots: usize, swarm: &Swarm) -> Self {
        Network {
            cut: BTreeSet::new(),
            lose: swarm.lose,
            repeat: swarm.repeat,
            delay: swarm.delay,
            latest: vec![0; slots * slots],
            slots,
        }
    }

    /// When a message sent now comes: never, once or twice.
    pub fn arrivals(
        &mut self,
        from: usize,
        to: usize,
        now: Time,
        rng: &mut Rng,
        counters: &mut Counters,
    ) -> Vec<Time> {
        if self.cut.contains(&(from, to)) || rng.u64(..1000) < self.lose {
            counters.hit(Reached::MessageLost);
            return Vec::new();
        }
        let mut arrivals = vec![now + self.delay(rng)];
        if rng.u64(..1000) < self.repeat {
            counters.hit(Reached::MessageTwice);
            arrivals.push(now + self.delay(rng) + rng.u64(..ms(20)));
        }
        let latest = &mut self.latest[from * self.slots + to];
        for arrival in &arrivals {
            if *arrival < *latest {
                counters.hit(Reached::MessageLate);
            }
            *latest = (*latest).max(*arrival);
        }
        arrivals
    }

    /// Cuts all links between a side and the rest, in both directions or only out of it.
    pub fn split(&mut self, side: &BTreeSet<usize>, both: bool) {
        for from in 0..self.slots {
            for to in 0..self.slots {
                let out = side.contains(&from) && !side.contains(&to);
                let into = !side.contains(&from) && side.contains(&to);
                if out || (both && into) {
                    self.cut.insert((from, to));
                }
            }
        }
    }

    /// Cuts one link in one direction.
    pub fn cut_link(&mut self, from: usize, to: usize) {
        self.cut.insert((from, to));
    }

    /// Mends all cuts.
    pub fn mend(&mut self) {
        self.cut.clear();
    }

    /// From now on it is a good network.
    pub fn heal(&mut self) {
        self.mend();
        (self.lose, self.repeat, self.delay) = (0, 0, 0);
    }

    fn delay(&self, rng: &mut Rng) -> Time {
        let usual = 200 + rng.u64(..2000);
        if rng.u64(..1000) < self.delay {
            usual + rng.u64(..ms(400))
        } else {
            usual
        }
    }
}
