//! Nodes and pods that take next to nothing: a kubelet that says of every pod what a kubelet would say, and members that serve
//! their documents and are bootstrapped, added, promoted and removed, without a log, a disk or a vote.

mod group;
mod kubelet;
mod members;
mod server;

pub use kubelet::{CLASS, Kubelet, SCHEDULER};
