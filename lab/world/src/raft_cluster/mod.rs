//! Clients of a RaftCluster, and the judge of their history: it must be linearizable.

mod clients;
mod judge;

use anyhow::Result;
use quorate_history::{Action, Outcome};
use tokio::runtime::Runtime;

pub use clients::{ClientOptions, Clients};

use crate::{AtWork, Workload};

/// The clients with what is needed to read everything back.
struct Registers {
    clients: Clients,
    options: ClientOptions,
}

impl Workload for ClientOptions {
    fn start(self, endpoints: Vec<String>, runtime: &Runtime) -> Result<Box<dyn AtWork>> {
        let options = self.clone();
        let clients = runtime.block_on(async { Clients::start(endpoints, self) })?;
        Ok(Box::new(Registers { clients, options }))
    }
}

impl AtWork for Registers {
    fn set_endpoints(&self, endpoints: Vec<String>) {
        self.clients.set_endpoints(endpoints);
    }

    fn now(&self) -> u64 {
        self.clients.recorder().now()
    }

    fn acknowledged(&self, from: u64, to: u64) -> (usize, usize) {
        self.clients.recorder().acknowledged(from, to)
    }

    fn longest_without_writes(&self, from: u64, to: u64) -> u64 {
        self.clients.recorder().longest_without_writes(from, to)
    }

    fn judge(self: Box<Self>, endpoints: &[String], runtime: &Runtime) -> Result<String> {
        let Self { clients, options } = *self;
        let recorder = runtime.block_on(clients.stop());
        for (reader, endpoint) in (1000..).zip(endpoints) {
            for key in (0..options.keys).map(key) {
                let invoked = recorder.now();
                let found = judge::read(endpoint, options.trust.as_ref(), &key)?;
                let (member, outcome) = (Some(endpoint.clone()), Outcome::Done(found));
                recorder.record(reader, member, &key, Action::Read, invoked, outcome);
            }
        }
        judge::judge(&recorder.operations())
    }
}

/// The name of a key.
fn key(number: u64) -> String {
    format!("key-{number}")
}
