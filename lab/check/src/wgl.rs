//! Linearizability by search: the algorithm of Wing and Gong (1993) with Lowe's cache of configurations already
//! tried (2017), as Porcupine does it. Deciding it is NP-complete, so the search is bounded and may give up.

use std::collections::HashSet;
use std::hash::Hash;

/// A sequential object: what a call may answer, and what it leaves behind.
pub trait Model {
    /// The object's state.
    type State: Clone + Eq + Hash;
    /// What is asked.
    type Input;
    /// What is answered.
    type Output;
    /// The state before the first call.
    fn init(&self) -> Self::State;
    /// The state after `input`, if the object may answer `output` to it; with no output known, any answer will do.
    fn step(
        &self,
        state: &Self::State,
        input: &Self::Input,
        output: Option<&Self::Output>,
    ) -> Option<Self::State>;
}

/// One call in a history.
#[derive(Clone, Debug)]
pub struct Call<I, O> {
    /// When it was made.
    pub invoked: u64,
    /// When it was answered; of no meaning without an output.
    pub returned: u64,
    /// What was asked.
    pub input: I,
    /// What was answered. `None`: it may take effect at any time from `invoked` on, or never.
    pub output: Option<O>,
}

/// How much the search may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Configurations remembered, which bounds memory.
    pub configurations: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            configurations: 2_000_000,
        }
    }
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is an order that explains every answer; these are the calls in one such order.
    Linearizable(Vec<usize>),
    /// There is none. The longest explained prefix, and the call that could not be explained after it.
    Violation {
        /// Calls in the order that explains most.
        explained: Vec<usize>,
        /// A call that had returned by then and fits nowhere.
        unexplained: usize,
    },
    /// The limits were reached first.
    GaveUp,
}

/// A doubly linked list over invocation and response events, in time order, from which calls are lifted as they
/// are linearized and put back on backtracking. Slot 0 is the head.
struct Events {
    /// (call, is it the response)
    what: Vec<(usize, bool)>,
    next: Vec<usize>,
    previous: Vec<usize>,
    /// The response's slot of each call, 0 for none.
    response: Vec<usize>,
}

const END: usize = usize::MAX;

impl Events {
    fn new<I, O>(calls: &[Call<I, O>]) -> Self {
        // At the same instant invocations come first: the calls then overlap, which forbids nothing.
        let mut events: Vec<(u64, bool, usize)> = Vec::new();
        for (i, call) in calls.iter().enumerate() {
            events.push((call.invoked, false, i));
            if call.output.is_some() {
                events.push((call.returned.max(call.invoked), true, i));
            }
        }
        events.sort_unstable();
        let mut what = vec![(END, false)];
        let mut response = vec![0; calls.len()];
        for (_, is_response, call) in events {
            if is_response {
                response[call] = what.len();
            }
            what.push((call, is_response));
        }
        let len = what.len();
        let next = (1..len).chain([END]).collect();
        let previous = [END].into_iter().chain(0..len - 1).collect();
        Self {
            what,
            next,
            previous,
            response,
        }
    }

    fn unlink(&mut self, slot: usize) {
        let (before, after) = (self.previous[slot], self.next[slot]);
        self.next[before] = after;
        if after != END {
            self.previous[after] = before;
        }
    }

    fn relink(&mut self, slot: usize) {
        let (before, after) = (self.previous[slot], self.next[slot]);
        self.next[before] = slot;
        if after != END {
            self.previous[after] = slot;
        }
    }

    fn lift(&mut self, slot: usize) {
        self.unlink(slot);
        let response = self.response[self.what[slot].0];
        if response != 0 {
            self.unlink(response);
        }
    }

    fn put_back(&mut self, slot: usize) {
        let response = self.response[self.what[slot].0];
        if response != 0 {
            self.relink(response);
        }
        self.relink(slot);
    }
}

/// Judges a history against a model.
pub fn check<M: Model>(model: &M, calls: &[Call<M::Input, M::Output>], limits: Limits) -> Verdict {
    let mut events = Events::new(calls);
    let mut state = model.init();
    let mut done = vec![0u64; calls.len().div_ceil(64)];
    let mut tried: HashSet<(Vec<u64>, M::State)> = HashSet::new();
    let mut stack: Vec<(usize, M::State)> = Vec::new();
    let mut best: Vec<usize> = Vec::new();
    let mut stuck_at = 0;
    let mut answered_left = calls.iter().filter(|c| c.output.is_some()).count();
    let mut slot = events.next[0];
    // Calls without an answer need not happen: the history is explained once every answered call is.
    while answered_left > 0 {
        // An answered call's response lies ahead while any is left, so the list cannot end here.
        let (call, is_response) = events.what[slot];
        if !is_response {
            let next = model.step(&state, &calls[call].input, calls[call].output.as_ref());
            if let Some(next) = next {
                done[call / 64] |= 1 << (call % 64);
                if tried.insert((done.clone(), next.clone())) {
                    if tried.len() > limits.configurations {
                        return Verdict::GaveUp;
                    }
                    answered_left -= usize::from(calls[call].output.is_some());
                    events.lift(slot);
                    stack.push((slot, std::mem::replace(&mut state, next)));
                    slot = events.next[0];
                    continue;
                }
                done[call / 64] &= !(1 << (call % 64));
            }
            slot = events.next[slot];
            continue;
        }
        // A response whose call has not been placed: nothing later may be placed before it.
        if stack.len() >= best.len() {
            best = stack.iter().map(|(slot, _)| events.what[*slot].0).collect();
            stuck_at = call;
        }
        let Some((last, before)) = stack.pop() else {
            return Verdict::Violation {
                explained: best,
                unexplained: stuck_at,
            };
        };
        state = before;
        let call = events.what[last].0;
        done[call / 64] &= !(1 << (call % 64));
        answered_left += usize::from(calls[call].output.is_some());
        events.put_back(last);
        slot = events.next[last];
    }
    Verdict::Linearizable(stack.iter().map(|(slot, _)| events.what[*slot].0).collect())
}
