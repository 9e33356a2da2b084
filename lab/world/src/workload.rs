//! What a kind supplies so that its resources can be tested under faults: clients, and a judge of what they saw.

use anyhow::Result;
use tokio::runtime::Runtime;

/// A kind's clients before they start.
pub trait Workload {
    /// Lets them loose on these base URLs, each with an operation under way all the time.
    ///
    /// # Errors
    /// When they cannot start.
    fn start(self, endpoints: Vec<String>, runtime: &Runtime) -> Result<Box<dyn AtWork>>;
}

/// A kind's clients at work, and what they have seen so far. Times are microseconds since they started.
pub trait AtWork: Send + Sync {
    /// Sends later operations to these base URLs.
    fn set_endpoints(&self, endpoints: Vec<String>);

    /// The time.
    fn now(&self) -> u64;

    /// How many operations were acknowledged in this time, and how many of them were writes.
    fn acknowledged(&self, from: u64, to: u64) -> (usize, usize);

    /// The longest part of this time in which no write was acknowledged.
    fn longest_without_writes(&self, from: u64, to: u64) -> u64;

    /// Ends them, reads what is there through each of these base URLs, and judges all of it; answers the verdict in
    /// words.
    ///
    /// # Errors
    /// When something cannot be read, or what was promised was not kept; or when the judge would not have noticed.
    fn judge(self: Box<Self>, endpoints: &[String], runtime: &Runtime) -> Result<String>;
}
