//! A hash of everything that happened, to show that a seed determines it, and the same in words when asked for.

use super::queue::Time;

/// The trace of one simulation.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    events: u64,
    print: bool,
}

impl Trace {
    /// A trace that prints what happens, or does not.
    pub fn new(print: bool) -> Self {
        Trace {
            hash: 0xcbf2_9ce4_8422_2325,
            events: 0,
            print,
        }
    }

    /// Takes down what happened: `what` are its numbers, `words` are only made when they are printed.
    pub fn event(&mut self, at: Time, what: &[u64], words: impl FnOnce() -> String) {
        self.events += 1;
        self.mix(at);
        for number in what {
            self.mix(*number);
        }
        if self.print {
            println!("{:>10.3} ms  {}", at as f64 / 1000.0, words());
        }
    }

    /// The hash so far.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How many events there were.
    pub fn events(&self) -> u64 {
        self.events
    }

    fn mix(&mut self, number: u64) {
        self.hash = (self.hash ^ number)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29);
    }
}

/// A hash of bytes, for [`Trace::event`] and for comparing entries.
pub fn fingerprint(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64 ^ bytes.len() as u64;
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let number = chunk
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte));
        hash = (hash ^ number)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29);
    }
    for byte in chunks.remainder() {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^ hash >> 32
}
